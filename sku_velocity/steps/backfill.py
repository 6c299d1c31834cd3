"""A backfill: read each missing window once, and none that is published or being read."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from sku_velocity.errors import ConfigurationError
from sku_velocity.model.reports import RunOutcome, RunsReport
from sku_velocity.model.run import RunReport
from sku_velocity.model.status import Coverage, SkuMappingPolicy
from sku_velocity.model.window import Window, iso
from sku_velocity.model.window_grid import SECONDS, WindowGrid
from sku_velocity.source.digest import mapping_digest
from sku_velocity.source.spec import SourceSpec
from sku_velocity.steps.fan_out import for_each
from sku_velocity.steps.outcome import Outcome, outcome_of_runs, outcome_of_sync, outcome_of_window
from sku_velocity.steps.requests import BackfillRequest, SyncRequest
from sku_velocity.steps.run_context import RunContext, step
from sku_velocity.steps.sync import check_delivery, mapping_of, movements_of, sync
from sku_velocity.steps.window_choice import WindowChoice

MAX_WINDOWS = 10_000  # each is a flow run: over a year of hours


@dataclass(frozen=True)
class Reading:
    """A window to read, and the run to resume if one has landed a part of it.

    `read_by` is another run that is reading it now.
    """

    warehouse: str
    window: Window
    resume: str | None = None
    read_by: str | None = None

    def __str__(self) -> str:
        return f"{self.warehouse} {self.window}"


async def backfill(context: RunContext, request: BackfillRequest) -> Outcome[RunsReport]:
    """Read every window that is not published whole. A wrong setting stops it, and is raised at its end."""
    check_delivery(request)
    readings = await plan_readings(context, request)
    context.log.info("%d windows of %s are missing", len(readings), context.source.spec.name)
    runs, wrong = await _read_all(context, readings, request)
    report = RunsReport(source=context.source.spec.name, runs=runs)
    await context.display.show_runs(report)
    if wrong:
        raise wrong
    return outcome_of_runs(
        report,
        retry="Retry, or the same backfill, reads only those",
        deliver="for each of them, `sync` with --resume and the run's id does only that",
    )


async def plan_readings(context: RunContext, request: BackfillRequest) -> list[Reading]:
    """Return the missing windows and how to read each. Reads only the store."""
    await context.find(
        source=request.source, token_env=request.token_env, store=request.store, engine=request.push
    )
    spec = movements_of(context)
    check_backfill(spec, request.max_parallel if context.shares_nothing else 1)
    choice = WindowChoice(spec, request, context.due, f"{context.program} backfill", request.options())
    choice.check_bounds()
    now, readings = datetime.now(UTC), []
    async with context.store() as store:
        for warehouse in dict.fromkeys(request.warehouses):
            everything = await store.status.coverage(spec.name, warehouse, Window.everything())
            coverage = _as_requested(everything, spec, request)
            start = request.start or everything.start
            windows = plan_backfill(coverage, start, request.end, choice.last.end, choice.grid, spec.grain)
            choice.check(windows)
            readings += [plan_reading(coverage, window, now, mapping_of(request)) for window in windows]
    return sort_readings(readings, request.newest_first)


def _as_requested(coverage: Coverage, spec: SourceSpec, request: BackfillRequest) -> Coverage:
    """Return a coverage in which windows of another spec count as missing, if they are to be read again."""
    return coverage.by_spec(mapping_digest(spec)) if request.older_spec else coverage


async def _read_all(
    context: RunContext, readings: Sequence[Reading], request: BackfillRequest
) -> tuple[list[RunOutcome], ConfigurationError | None]:
    """Read windows, at most `max_parallel` at a time. Return their outcomes in order, and a wrong setting."""
    outcomes: dict[Reading, RunOutcome] = {}
    wrong: list[ConfigurationError] = []
    queue = deque(readings)

    async def read(reading: Reading) -> None:
        try:
            outcomes[reading] = (await context.perform(read_window, reading, request)).report
        except ConfigurationError as error:  # every window would fail the same way
            wrong.append(error)
            queue.clear()
            return
        except Exception as error:
            outcomes[reading] = outcome_of_window(reading, message=f"{type(error).__name__}: {error}")
        context.listener.ended(outcomes[reading])

    await for_each(queue, request.max_parallel, read)
    not_read = "not read: the backfill stopped at a wrong setting"
    runs = [outcomes.get(each) or outcome_of_window(each, message=not_read) for each in readings]
    return runs, wrong[0] if wrong else None


@step("read {reading}", is_retried=False)
async def read_window(context: RunContext, reading: Reading, request: BackfillRequest) -> Outcome[RunOutcome]:
    """Read a window as a run of its own, unless another run has published it since or is reading it.

    A step, because Prefect identifies a flow's subflows by their order: after a crash, a retry, which plans
    other windows, would get the run of another window.
    """
    spec = context.source.spec
    async with context.store() as store:
        coverage = await store.status.coverage(spec.name, reading.warehouse, reading.window)
    coverage = _as_requested(coverage, spec, request)
    if not coverage.gaps(reading.window):
        message = "another run has published it since"
        outcome = outcome_of_window(reading, message=message, published=True, failed=False)
        return Outcome("Published", message, outcome)
    reading = plan_reading(coverage, reading.window, datetime.now(UTC), mapping_of(request))
    if reading.read_by:
        message = f"run {reading.read_by} is reading it"
        return Outcome("Left", message, outcome_of_window(reading, message=message), is_failed=True)
    window = {"warehouse": reading.warehouse, "start": reading.window.start, "end": reading.window.end}
    shared = {name: value for name, value in request.parameters().items() if name in SyncRequest.model_fields}
    ended = await context.run(sync, SyncRequest(**shared | window | {"resume": reading.resume}))
    return _outcome_of_run(reading, ended)


def _outcome_of_run(reading: Reading, ended: Outcome[RunReport]) -> Outcome[RunOutcome]:
    """Return how a window's run ended as the state of its step."""
    outcome = outcome_of_sync(reading, ended)
    name = ended.name if not outcome.failed else "NotHandedOn" if outcome.published else "Left"
    return Outcome(name, ended.message, outcome, is_failed=outcome.failed)


def check_backfill(spec: SourceSpec, max_parallel: int) -> None:
    """Check that a source can be read window by window, at most `max_parallel` in parallel.

    Raises ConfigurationError if its API has no window parameters, or if parallel windows would each use the
    whole pace.
    """
    if not spec.has_window:
        raise ConfigurationError(
            f"source {spec.name} cannot be asked for a window, so it cannot be backfilled: set window.params "
            "in its spec if the API supports it, or read everything with `sku-velocity sync`"
        )
    if max_parallel > 1 and spec.pace.shared_limit is None:
        raise ConfigurationError(
            f"source {spec.name}: {max_parallel} parallel windows would run at {max_parallel} times its "
            "pace: set pace.shared_limit in its spec so that they share it, or set max_parallel to 1"
        )


def plan_backfill(
    coverage: Coverage,
    start: datetime | None,
    end: datetime | None,
    settled: datetime,
    grid: WindowGrid,
    grain: WindowGrid = SECONDS,
) -> list[Window]:
    """Return the missing windows between two instants, oldest first; none ends after `settled`.

    Gaps are widened to the grain of the source's timestamps, then cut at the borders of the grid. `start`
    defaults to the start of the warehouse's first run, `end` to `settled`. Raises ConfigurationError if they
    are not a valid range, or if too many windows are missing.
    """
    place = f"backfill of {coverage.warehouse} from {coverage.source}"
    if start is None and coverage.start is None:
        raise ConfigurationError(f"{place}: nothing was read before, so a start is needed: set --start")
    start = start or coverage.start or settled
    if end is not None and end <= start:
        raise ConfigurationError(f"{place}: end {iso(end)} must be after its start {iso(start)}")
    end = min(end or settled, settled)
    stretches = grain.widen(coverage.gaps(Window(start, end))) if start < end else []
    count = sum(-(-(stretch.end - stretch.start) // grid.step) for stretch in stretches)
    if count > MAX_WINDOWS:
        raise ConfigurationError(
            f"{place}: {count} windows are missing since {iso(start)}, at most {MAX_WINDOWS} are allowed: "
            "use a later start, an earlier end, or longer windows (window_minutes)"
        )
    return [window for stretch in stretches for window in grid.cut(stretch)]


def plan_reading(
    coverage: Coverage, window: Window, now: datetime, mapping: SkuMappingPolicy = None
) -> Reading:
    """Plan how to read a window, given the store's state. Resume only a run with the same SKU mapping."""
    active = [run.id for run in coverage.open_runs if run.is_being_read(now) and run.window.overlaps(window)]
    resumable = [
        run.id
        for run in coverage.open_runs
        if run.is_resumable and (run.window, run.mapping) == (window, mapping)
    ]
    return Reading(
        coverage.warehouse, window, resumable[-1] if resumable else None, active[-1] if active else None
    )


def sort_readings(readings: Iterable[Reading], newest_first: bool) -> list[Reading]:
    """Sort readings of several warehouses by time, then by warehouse."""
    by_warehouse = sorted(readings, key=lambda each: each.warehouse)
    return sorted(by_warehouse, key=lambda each: each.window.start, reverse=newest_first)

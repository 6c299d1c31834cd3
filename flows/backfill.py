"""The backfill flow: read every missing window between two instants, several at a time."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any

from prefect import flow, get_run_logger, task
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State
from prefect.exceptions import ParameterTypeError
from prefect.states import Completed, Failed
from pydantic import AwareDatetime, Field

from blocks.store import find_store
from blocks.wms import find_source
from flows.artifacts.sync_run import publish_backfill
from flows.runtime.connections import RunResources
from flows.runtime.ownership import BACKFILL, our_runs
from flows.runtime.progress import window_listener
from flows.runtime.schedule import scheduled_start
from flows.runtime.task_runner import EventLoopTaskRunner, as_they_complete
from flows.sync_velocity import sync_velocity
from sku_velocity.errors import ConfigurationError
from sku_velocity.model.run import RunReport, UnknownSku, Verdict
from sku_velocity.model.settle_lag import SETTLE_MINUTES
from sku_velocity.model.status import SkuMapping, SkuMappingPolicy
from sku_velocity.model.window import Window
from sku_velocity.source.digest import mapping_digest
from sku_velocity.steps.backfill import (
    BackfillReport,
    Reading,
    WindowOutcome,
    check_backfill,
    plan_backfill,
    plan_reading,
    sort_readings,
)
from sku_velocity.store import Store

NAMED_WINDOWS = 5  # in a state's message; the table has all of them
OURS = frozenset({"source", "warehouse", "start", "end", "store", "token_env", "resume"})
WarehouseName = Annotated[str, Field(min_length=1)]


@flow(
    name=BACKFILL,
    flow_run_name="backfill from {source}",
    task_runner=EventLoopTaskRunner(),
    persist_result=False,
)
async def backfill(
    source: str,
    warehouses: Annotated[list[WarehouseName], Field(min_length=1)],
    start: AwareDatetime | None = None,
    end: AwareDatetime | None = None,
    store: str | None = None,
    token_env: str | None = None,
    window_hours: Annotated[int, Field(ge=1)] = 1,
    newest_first: bool = False,
    max_parallel: Annotated[int, Field(ge=1)] = 1,
    settle_minutes: Annotated[int, Field(ge=0)] = SETTLE_MINUTES,
    older_spec: bool = False,
    options: dict[str, Any] | None = None,
) -> Any:
    """Read every window between two instants that is not published whole, each by a run of sync-velocity.

    A window that fails is left missing, and the others are read. A retry of the run reads what is left, and
    only the rest of a window that has landed in part. A wrong setting ends the run at once.

    Args:
        source: A wms-source block's name, or the path of a spec file (.yaml).
        warehouses: The warehouses, as the API names them.
        start: The start, with its time zone. Omit for the start of each warehouse's first run.
        end: The end, exclusive. Omit for the end of the last hour settled at the scheduled start, which is
            also the latest possible end.
        store: A velocity-store block's name, or a URL without password. Omit for $SKU_VELOCITY_STORE.
        token_env: The worker's environment variable that holds the token, if the block has none.
        window_hours: Hours per window. A shorter gap is read as one window.
        newest_first: Read the newest windows first, instead of the oldest.
        max_parallel: Windows read at the same time. More than 1 needs a shared pace.
        settle_minutes: Minutes to wait after an hour ends before reading it, so that late records are in.
        older_spec: Also read windows again that another spec has read: other fields, filters or request.
        options: Other parameters of sync-velocity for each window, such as {"max_reject_ratio": 0.1}.
    """
    connections = RunResources(await find_source(source, token_env), await find_store(store))
    spec = connections.source.spec
    check_backfill(spec, max_parallel)
    request = {"source": source, "store": store, "token_env": token_env, **check_options(options or {})}
    settled = Window.last_hour(scheduled_start(), timedelta(minutes=settle_minutes)).end
    async with connections.store() as opened:
        span = (start, end, settled)
        mapping = mapping_of(request)
        digest = mapping_digest(spec) if older_spec else None
        readings = await plan(opened, spec.name, warehouses, span, window_hours, mapping, digest)
    readings = sort_readings(readings, newest_first)
    get_run_logger().info("%d windows of %s are missing", len(readings), spec.name)
    windows, wrong = await read_all(connections, readings, request, max_parallel, digest)
    report = BackfillReport(source=spec.name, windows=windows)
    await publish_backfill(report)
    if wrong:
        raise wrong
    return final_state(report)


def check_options(options: dict[str, Any]) -> dict[str, Any]:
    """Check that sync-velocity takes these parameters and that the backfill does not set them itself.

    Raises ConfigurationError otherwise.
    """
    if invalid := sorted(OURS & options.keys() | options.keys() - sync_velocity.parameters.properties.keys()):
        raise ConfigurationError(
            f"options: remove {', '.join(invalid)}: not a parameter that a backfill passes to sync-velocity"
        )
    try:
        sync_velocity.validate_parameters({"source": "x", "warehouse": "x", **options})
    except ParameterTypeError as error:
        raise ConfigurationError(f"options: {error}") from error
    return options


def mapping_of(request: dict[str, Any]) -> SkuMappingPolicy:
    """Return the SKU mapping that sync-velocity uses for this request."""
    master = request.get("master")
    policy = UnknownSku(request.get("unknown_sku", UnknownSku.REJECT))
    return SkuMapping(master, policy) if master else None


async def plan(
    store: Store,
    source: str,
    warehouses: Sequence[str],
    span: tuple[datetime | None, datetime | None, datetime],
    window_hours: int,
    mapping: SkuMappingPolicy = None,
    digest: str | None = None,
) -> list[Reading]:
    """Return the missing windows of these warehouses and how to read each, one warehouse after another.

    `span` is start, end and the end of the last settled hour, as `plan_backfill` takes them. If `digest` is
    given, windows that were read by a spec with another one count as missing.
    """
    now, size = datetime.now(UTC), timedelta(hours=window_hours)
    readings = []
    for warehouse in dict.fromkeys(warehouses):
        everything = await store.status.coverage(source, warehouse, Window.everything())
        coverage = everything.by_spec(digest) if digest else everything
        windows = plan_backfill(coverage, span[0] or everything.start, *span[1:], size)
        readings += [plan_reading(coverage, window, now, mapping) for window in windows]
    return readings


async def read_all(
    connections: RunResources,
    readings: Sequence[Reading],
    request: dict[str, Any],
    max_parallel: int,
    digest: str | None = None,
) -> tuple[list[WindowOutcome], ConfigurationError | None]:
    """Read windows, at most `max_parallel` at a time. Return their outcomes in order, and a wrong setting."""
    outcomes: dict[Reading, WindowOutcome] = {}
    wrong: list[ConfigurationError] = []
    queue = deque(readings)

    async def work() -> None:
        while queue:
            reading = queue.popleft()
            try:
                outcomes[reading] = await read(connections, reading, request, digest)
            except ConfigurationError as error:  # every window would fail the same way
                wrong.append(error)
                queue.clear()
            else:
                window_listener.get()(outcomes[reading])

    async with asyncio.TaskGroup() as workers:
        for _ in range(max_parallel):
            workers.create_task(work())
    not_read = "not read: the backfill stopped at a wrong setting"
    windows = [outcomes.get(each) or outcome_of(each, message=not_read) for each in readings]
    return windows, wrong[0] if wrong else None


async def read(
    connections: RunResources, reading: Reading, request: dict[str, Any], digest: str | None = None
) -> WindowOutcome:
    """Run a window's task and return its outcome. Raises ConfigurationError if a setting is wrong."""
    async for future in as_they_complete([read_window.submit(connections, reading, request, digest)]):
        result = await future.state.aresult(raise_on_failure=False)
        if isinstance(result, WindowOutcome):
            return result
        if isinstance(result, ConfigurationError):
            raise result
        return outcome_of(reading, message=f"{type(result).__name__}: {result}")
    raise AssertionError("a future completes once")


@task(task_run_name="read {reading}", cache_policy=NO_CACHE, persist_result=False)
async def read_window(
    connections: RunResources, reading: Reading, request: dict[str, Any], digest: str | None = None
) -> WindowOutcome | State[WindowOutcome]:
    """Read a window with sync-velocity, unless another run has published it since or is reading it.

    A task, because Prefect identifies a flow's subflows by their order: after a crash, a retry, which plans
    other windows, would get the run of another window.
    """
    async with connections.store() as store:
        coverage = await store.status.coverage(
            connections.source.spec.name, reading.warehouse, reading.window
        )
    coverage = coverage.by_spec(digest) if digest else coverage
    if not coverage.gaps(reading.window):
        message = "another run has published it since"
        return outcome_of(reading, published=True, failed=False, message=message)
    reading = plan_reading(coverage, reading.window, datetime.now(UTC), mapping_of(request))
    if reading.read_by:
        return failed_state(outcome_of(reading, message=f"run {reading.read_by} is reading it"))
    with our_runs():
        state: State[Any] = await sync_velocity(
            **request,
            warehouse=reading.warehouse,
            start=reading.window.start,
            end=reading.window.end,
            resume=reading.resume,
            return_state=True,
        )
    result = await state.aresult(raise_on_failure=False)
    if isinstance(result, ConfigurationError):
        raise result
    run = result.run_id if isinstance(result, RunReport) else None
    published = isinstance(result, RunReport) and result.published
    failed, message = state.is_failed() or not published, state.message or state.name or ""
    outcome = outcome_of(reading, published=published, failed=failed, message=message, run=run)
    if isinstance(result, RunReport) and result.verdict is Verdict.UNPROVEN:
        outcome = outcome.model_copy(update={"unproven": True})
    return failed_state(outcome) if failed else outcome


def failed_state(outcome: WindowOutcome) -> State[WindowOutcome]:
    """Return the state of a task whose window is still missing, or published but not fully delivered."""
    return Failed(name="NotHandedOn" if outcome.published else "Left", message=outcome.message, data=outcome)


def outcome_of(
    reading: Reading, *, message: str, published: bool = False, failed: bool = True, run: str | None = None
) -> WindowOutcome:
    """Return the outcome of a window. By default it has failed and is still missing."""
    window = reading.window
    return WindowOutcome(
        warehouse=reading.warehouse,
        start=window.start,
        end=window.end,
        published=published,
        failed=failed,
        message=message,
        run_id=run,
    )


def final_state(report: BackfillReport) -> State[BackfillReport]:
    """Return the run's final state: the number of windows published, and the first of those that failed."""
    filled = len(report.windows) - len(report.left)
    summary = f"{filled} of {len(report.windows)} missing windows published"
    if unproven := sum(window.unproven for window in report.windows):
        summary += f", {unproven} not proven whole"
    failed = [window for window in report.windows if window.failed]
    if not failed:
        return Completed(name="Complete", message=f"{summary}.", data=report)
    named = " | ".join(map(str, failed[:NAMED_WINDOWS]))
    if not report.left:
        advice = "for each of them, `python -m flows sync` with --resume and the run's id does only that"
        message = f"{summary}, {len(failed)} not fully delivered; {advice}. {named}"
        return Failed(name="NotHandedOn", message=message, data=report)
    message = f"{summary}, {len(report.left)} left; Retry, or the same backfill, reads only those. {named}"
    return Failed(name="Incomplete", message=message, data=report)

"""Many windows: every one that is missing between two instants, so many at a time."""

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
from flows.runtime.progress import window_listener
from flows.runtime.schedule import scheduled_start
from flows.runtime.task_runner import EventLoopTaskRunner, as_they_complete
from flows.sync_velocity import sync_velocity
from sku_velocity.errors import ConfigurationError
from sku_velocity.model.run import RunReport, UnknownSku
from sku_velocity.model.settle_lag import SETTLE_MINUTES
from sku_velocity.model.status import SkuMappingPolicy
from sku_velocity.model.window import Window
from sku_velocity.steps.backfill import (
    BackfillReport,
    Reading,
    WindowOutcome,
    check_backfill,
    in_order,
    plan_backfill,
    reading_of,
)
from sku_velocity.store import Store

NAMED_WINDOWS = 5  # in a state's message; all of them stand in the table
OURS = frozenset({"source", "warehouse", "start", "end", "store", "token_env", "resume"})
WarehouseName = Annotated[str, Field(min_length=1)]


@flow(
    name="backfill",
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
    options: dict[str, Any] | None = None,
) -> Any:
    """Read every window between two instants that is not published whole, each by a run of sync-velocity.

    A window that fails is left, and the others are read. A retry of the run reads what is left, and of a
    window that has landed in part only the rest. A setting that is wrong ends it at once.

    Args:
        source: A wms-source block's name, or the path of a spec file (.yaml).
        warehouses: The warehouses, as the API names them.
        start: Since when, with its zone. Empty: since each warehouse was first read.
        end: Until when, not in it. Empty, or later: the last hour that has settled at the scheduled start.
        store: A velocity-store block's name, or a URL without password. Empty: $SKU_VELOCITY_STORE.
        token_env: The worker's environment variable that holds the token, where the block has none.
        window_hours: How long a window is; a gap that is shorter is read as it is.
        newest_first: Whether the newest windows are read first, rather than the oldest.
        max_parallel: How many windows are read at once; more than 1 needs a shared pace.
        settle_minutes: How long an hour is left to settle before it is read.
        options: Other parameters of sync-velocity, such as {"max_reject_ratio": 0.1}, for each window.
    """
    connections = RunResources(await find_source(source, token_env), await find_store(store))
    spec = connections.source.spec
    check_backfill(spec, max_parallel)
    request = {"source": source, "store": store, "token_env": token_env, **check_options(options or {})}
    settled = Window.last_hour(scheduled_start(), timedelta(minutes=settle_minutes)).end
    async with connections.store() as opened:
        span = (start, end, settled)
        mapping = mapping_of(request)
        readings = await plan(opened, spec.name, warehouses, span, window_hours, mapping)
    readings = in_order(readings, newest_first)
    get_run_logger().info("%d windows of %s are missing", len(readings), spec.name)
    windows, wrong = await read_all(connections, readings, request, max_parallel)
    report = BackfillReport(source=spec.name, windows=windows)
    await publish_backfill(report)
    if wrong:
        raise wrong
    return final_state(report)


def check_options(options: dict[str, Any]) -> dict[str, Any]:
    """See that sync-velocity takes these parameters, and that no other of ours says the same.

    Raises ConfigurationError where it does not.
    """
    if unfit := sorted(OURS & options.keys() | options.keys() - sync_velocity.parameters.properties.keys()):
        raise ConfigurationError(f"options: {', '.join(unfit)}: not a parameter that a backfill hands on")
    try:
        sync_velocity.validate_parameters({"source": "x", "warehouse": "x", **options})
    except ParameterTypeError as error:
        raise ConfigurationError(f"options: {error}") from error
    return options


def mapping_of(request: dict[str, Any]) -> SkuMappingPolicy:
    """How sync-velocity maps SKUs, asked so."""
    master = request.get("master")
    return (master, UnknownSku(request.get("unknown_sku", UnknownSku.REJECT))) if master else None


async def plan(
    store: Store,
    source: str,
    warehouses: Sequence[str],
    span: tuple[datetime | None, datetime | None, datetime],
    window_hours: int,
    mapping: SkuMappingPolicy = None,
) -> list[Reading]:
    """What is missing of these warehouses and how it is read, a warehouse after the other.

    The span is its start, its end and what has settled, as `plan_backfill` takes them.
    """
    now, size = datetime.now(UTC), timedelta(hours=window_hours)
    readings = []
    for warehouse in dict.fromkeys(warehouses):
        coverage = await store.coverage(source, warehouse, Window.everything())
        windows = plan_backfill(coverage, *span, size)
        readings += [reading_of(coverage, window, now, mapping) for window in windows]
    return readings


async def read_all(
    connections: RunResources, readings: Sequence[Reading], request: dict[str, Any], max_parallel: int
) -> tuple[list[WindowOutcome], ConfigurationError | None]:
    """Read windows, so many at a time: their outcomes in their order, and the wrong setting that ended it."""
    outcomes: dict[Reading, WindowOutcome] = {}
    wrong: list[ConfigurationError] = []
    turns = deque(readings)

    async def read_in_turn() -> None:
        while turns:
            reading = turns.popleft()
            try:
                outcomes[reading] = await read(connections, reading, request)
            except ConfigurationError as error:  # every window would fail the same way
                wrong.append(error)
                turns.clear()
            else:
                window_listener.get()(outcomes[reading])

    async with asyncio.TaskGroup() as readers:
        for _ in range(max_parallel):
            readers.create_task(read_in_turn())
    not_read = "not read: a setting is wrong"
    windows = [outcomes.get(each) or outcome_of(each, message=not_read) for each in readings]
    return windows, wrong[0] if wrong else None


async def read(connections: RunResources, reading: Reading, request: dict[str, Any]) -> WindowOutcome:
    """Run a window's task, and tell what became of it. Raises ConfigurationError where a setting is wrong."""
    async for future in as_they_complete([read_window.submit(connections, reading, request)]):
        ended = await future.state.aresult(raise_on_failure=False)
        if isinstance(ended, WindowOutcome):
            return ended
        if isinstance(ended, ConfigurationError):
            raise ended
        return outcome_of(reading, message=f"{type(ended).__name__}: {ended}")
    raise AssertionError("a future completes once")


@task(task_run_name="read {reading}", cache_policy=NO_CACHE, persist_result=False)
async def read_window(
    connections: RunResources, reading: Reading, request: dict[str, Any]
) -> WindowOutcome | State[WindowOutcome]:
    """Have sync-velocity read a window, unless somebody has published it meanwhile or is reading it.

    This is a task since Prefect knows a flow's subflows by their order, and after a crash would give a retry,
    which plans other windows, the run of another one.
    """
    async with connections.store() as store:
        coverage = await store.coverage(connections.source.spec.name, reading.warehouse, reading.window)
    if not coverage.gaps(reading.window):
        told = "another run has published it meanwhile"
        return outcome_of(reading, published=True, failed=False, message=told)
    reading = reading_of(coverage, reading.window, datetime.now(UTC), mapping_of(request))
    if reading.read_by:
        return failed_state(outcome_of(reading, message=f"run {reading.read_by} is reading it"))
    state: State[Any] = await sync_velocity(
        **request,
        warehouse=reading.warehouse,
        start=reading.window.start,
        end=reading.window.end,
        resume=reading.resume,
        return_state=True,
    )
    ended = await state.aresult(raise_on_failure=False)
    if isinstance(ended, ConfigurationError):
        raise ended
    run = ended.flow_run_id if isinstance(ended, RunReport) else None
    published = isinstance(ended, RunReport) and ended.published
    failed, message = state.is_failed() or not published, state.message or state.name or ""
    outcome = outcome_of(reading, published=published, failed=failed, message=message, run=run)
    return failed_state(outcome) if failed else outcome


def failed_state(outcome: WindowOutcome) -> State[WindowOutcome]:
    """The state of a task whose window is left, or was not handed on as asked."""
    return Failed(name="NotHandedOn" if outcome.published else "Left", message=outcome.message, data=outcome)


def outcome_of(
    reading: Reading, *, message: str, published: bool = False, failed: bool = True, run: str | None = None
) -> WindowOutcome:
    """What became of a window: it is left, unless told otherwise."""
    window = reading.window
    return WindowOutcome(
        warehouse=reading.warehouse,
        start=window.start,
        end=window.end,
        published=published,
        failed=failed,
        message=message,
        flow_run_id=run,
    )


def final_state(report: BackfillReport) -> State[BackfillReport]:
    """The run's last state: how many windows it has filled, and the first of those that are left."""
    filled = len(report.windows) - len(report.left)
    told = f"{filled} of {len(report.windows)} missing windows published"
    failed = [window for window in report.windows if window.failed]
    if not failed:
        return Completed(name="Complete", message=f"{told}.", data=report)
    named = " | ".join(map(str, failed[:NAMED_WINDOWS]))
    if not report.left:
        advice = "`python -m flows sync` hands them on, with --resume and the id of each run"
        message = f"{told}, {len(failed)} of them not handed on; {advice}. {named}"
        return Failed(name="NotHandedOn", message=message, data=report)
    message = f"{told}, {len(report.left)} left; Retry, or the same backfill again, reads only those. {named}"
    return Failed(name="Incomplete", message=message, data=report)

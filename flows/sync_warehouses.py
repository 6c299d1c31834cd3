"""Many warehouses, one window: a run of sync-velocity for each, in whichever worker takes it."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Annotated, Any
from uuid import UUID

from prefect import flow, get_run_logger, runtime, task
from prefect.client.orchestration import get_client
from prefect.client.schemas.objects import FlowRun, State
from prefect.client.schemas.responses import DeploymentResponse
from prefect.states import Completed, Failed
from pydantic import AwareDatetime, Field

from blocks.store import find_store
from blocks.wms import find_source
from flows.artifacts.fan_out import publish_fan_out
from flows.runtime.child_runs import ChildRuns, find_deployment
from flows.runtime.connections import RunResources
from flows.runtime.retries import TASK_RETRY, result_of
from flows.runtime.task_runner import EventLoopTaskRunner
from flows.tasks.window import choose_window
from sku_velocity.errors import ConfigurationError
from sku_velocity.model.run import RunStatus, UnknownSku
from sku_velocity.model.settle_lag import SETTLE_MINUTES
from sku_velocity.source.warehouses import list_warehouses
from sku_velocity.steps.export import Destination
from sku_velocity.steps.fan_out import FanOutReport, Shard, ShardOutcome, check_fan_out, plan_shards

NAMED_SHARDS = 5  # in a state's message; all of them stand in the table
MAX_PARALLEL = 4
DEPLOYMENT = "sync-velocity-child"
DELETED = ("Deleted", "its flow run was deleted; Retry begins another")

WarehouseName = Annotated[str, Field(min_length=1)]


@flow(
    name="sync-warehouses",
    flow_run_name="warehouses of {source}",
    task_runner=EventLoopTaskRunner(),
    persist_result=False,
)
async def sync_warehouses(
    source: str,
    warehouses: list[WarehouseName] | None = None,
    start: AwareDatetime | None = None,
    end: AwareDatetime | None = None,
    store: str | None = None,
    token_env: str | None = None,
    max_parallel: Annotated[int, Field(ge=1, le=200)] = MAX_PARALLEL,
    window_hours: Annotated[int, Field(ge=1)] | None = None,
    settle_minutes: Annotated[int, Field(ge=0)] = SETTLE_MINUTES,
    max_reject_ratio: Annotated[float, Field(ge=0, le=1)] | None = None,
    master: str | None = None,
    unknown_sku: UnknownSku | None = None,
    export_to: str | None = None,
    push: str | None = None,
    deployment: str = DEPLOYMENT,
) -> Any:
    """Read one window of many warehouses, each by a run of sync-velocity of its own, so many at a time.

    A Retry leaves alone the runs that are completed, waits for those under way, and has the others go on
    from what they have landed, as the same flow runs; none is started twice. To cancel this run cancels
    those that it has started, and a Retry goes on with them; where it crashes, they go on by themselves.

    Args:
        source: A wms-source block's name, or the path of a spec file (.yaml) that every worker has.
        warehouses: The warehouses, as the API names them. Empty: all that the source lists.
        start: The window's start, with its zone. Empty: an hour before its end.
        end: The window's end, not in it. Empty: the last whole hour that has settled at the scheduled start.
        store: A velocity-store block's name, or a URL without password. Empty: $SKU_VELOCITY_STORE.
        token_env: The workers' environment variable that holds the token, where the block has none.
        max_parallel: How many runs there are at once; more than one only where the source has a shared pace.
        window_hours: Cut the window into parts of at most so many hours, each a run of its own. Empty: whole.
        settle_minutes: How long an hour is left to settle before it is read.
        max_reject_ratio: Publish nothing where a larger share is rejected. Empty: as the deployment says.
        master: The name of the master's source, by which SKUs are mapped. Empty: as the deployment says.
        unknown_sku: What becomes of a movement whose SKU the master lacks. Empty: as the deployment says.
        export_to: A directory or a URL, for each window as Parquet. Empty: as the deployment says.
        push: A slotting-engine block's name, or its file's path. Empty: as the deployment says.
        deployment: The name of the deployment of sync-velocity that the runs are made by.
    """
    if export_to:
        Destination(export_to)  # a wrong one is told before anything is read
    connections = RunResources(await find_source(source, token_env), await find_store(store))
    spec = connections.source.spec
    if spec.items is not None:
        raise ConfigurationError(f"{spec.name} holds items, not movements: read it with sync-master")
    window = choose_window(spec, start, end, timedelta(minutes=settle_minutes))
    extras = {
        "max_reject_ratio": max_reject_ratio,
        "master": master,
        "unknown_sku": unknown_sku,
        "export_to": export_to,
        "push": push,
    }
    shared = {"source": source, "store": store, "token_env": token_env}
    parameters = shared | {name: value for name, value in extras.items() if value is not None}
    parent = UUID(runtime.flow_run.id)
    async with get_client() as api, connections.store():  # a store that cannot be used is told before, too
        found = await find_deployment(api, f"sync-velocity/{deployment}")
        children = ChildRuns(api, found, parent, parameters)
        names = warehouses or [*await children.warehouses(), *await listed(connections)]
        shards = plan_shards(names, window, window_hours)
        check_fan_out(spec, shards, max_parallel)
        warn_about_limit(found, min(max_parallel, len(shards)))
        get_run_logger().info("%d runs for %d warehouses of %s", len(shards), len(set(names)), spec.name)
        runs = await children.run(shards, max_parallel)
    endings = await result_of(
        read_run_statuses.submit(connections, [str(run.id) for run in runs.values() if run])
    )
    report = FanOutReport(
        source=spec.name, shards=[outcome_of(shard, runs[shard], endings) for shard in shards]
    )
    await publish_fan_out(report)
    return final_state(report)


async def listed(connections: RunResources) -> list[str]:
    """The warehouses that the source has, as a task: the source may be away for a while."""
    return await result_of(list_all.submit(connections, connections.source.spec.name))


@task(task_run_name="list the warehouses of {source}", **TASK_RETRY)
async def list_all(connections: RunResources, source: str) -> list[str]:
    """Ask the source which warehouses it has."""
    async with connections.source.get_client() as client:
        return await list_warehouses(client)


@task(task_run_name="read how the runs have ended", **TASK_RETRY)
async def read_run_statuses(connections: RunResources, runs: Sequence[str]) -> dict[str, RunStatus]:
    """Look up in the store what became of these runs."""
    async with connections.store() as store:
        return await store.endings.of(runs)


def warn_about_limit(deployment: DeploymentResponse, wanted: int) -> None:
    """Warn where the deployment lets fewer run at once than are started."""
    limit = deployment.global_concurrency_limit
    if limit and limit.active and limit.limit < wanted:
        get_run_logger().warning(
            "The deployment %s lets %d runs run at once, of %d that are started: the others wait in turn",
            deployment.name,
            limit.limit,
            wanted,
        )


def outcome_of(shard: Shard, run: FlowRun | None, endings: dict[str, RunStatus]) -> ShardOutcome:
    """What became of a shard, by its flow run and by the store; None: its flow run was deleted."""
    ending = endings.get(str(run.id)) if run else None
    published = ending is not None and ending.is_published
    state, message = (run.state.name or "", run.state.message or "") if run and run.state else DELETED
    if run and run.state and run.state.is_completed() and not published:
        message = "its store does not show it: see that the deployment's runs have the store of this one"
    return ShardOutcome(
        warehouse=shard.warehouse,
        start=shard.window.start,
        end=shard.window.end,
        verdict=ending.verdict if ending else None,
        published=published,
        failed=not (published and run and run.state and run.state.is_completed()),
        state=state,
        message=message,
        loaded=ending.loaded if ending else 0,
        rejected=ending.rejected if ending else 0,
        seconds=round(run.total_run_time.total_seconds(), 1) if run else 0.0,
        flow_run_id=str(run.id) if run else None,
    )


def final_state(report: FanOutReport) -> State[FanOutReport]:
    """The run's last state: how many shards are published, and the first of those whose run has failed."""
    published = len(report.shards) - len(report.left)
    rows = sum(shard.loaded for shard in report.shards if shard.published)
    told = f"{published} of {len(report.shards)} runs published, {rows} movements"
    if not report.failed:
        return Completed(name="Complete", message=f"{told}.", data=report)
    named = " | ".join(map(str, report.failed[:NAMED_SHARDS]))
    if not report.left:
        message = f"{told}, {len(report.failed)} of them not handed on; Retry does that alone. {named}"
        return Failed(name="NotHandedOn", message=message, data=report)
    message = f"{told}, {len(report.failed)} failed; Retry goes on with those alone. {named}"
    return Failed(name="Incomplete", message=message, data=report)

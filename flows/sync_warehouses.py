"""The sync-warehouses flow: read one window of many warehouses, each in a flow run on any worker."""

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
from flows.runtime.ownership import SYNC, SYNC_WAREHOUSES
from flows.runtime.retries import TASK_RETRY, result_of
from flows.runtime.task_runner import EventLoopTaskRunner
from flows.tasks.window import choose_window
from sku_velocity.errors import ConfigurationError
from sku_velocity.model.run import RunStatus, UnknownSku, Verdict
from sku_velocity.model.settle_lag import SETTLE_MINUTES
from sku_velocity.source.warehouses import list_warehouses
from sku_velocity.steps.export import Destination
from sku_velocity.steps.fan_out import FanOutReport, Shard, ShardOutcome, check_fan_out, plan_shards

NAMED_SHARDS = 5  # in a state's message; the table has all of them
MAX_PARALLEL = 4
DEPLOYMENT = "sync-velocity-child"
DELETED = ("Deleted", "its flow run was deleted; Retry starts another")

WarehouseName = Annotated[str, Field(min_length=1)]


@flow(
    name=SYNC_WAREHOUSES,
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
    accept_shrunk: bool | None = None,
    require_proof: bool | None = None,
    master: str | None = None,
    unknown_sku: UnknownSku | None = None,
    export_to: str | None = None,
    push: str | None = None,
    deployment: str = DEPLOYMENT,
) -> Any:
    """Read one window of many warehouses, each by its own run of sync-velocity, several at a time.

    A Retry skips the completed runs, waits for those in progress, and resumes the others as the same flow
    runs from what they have landed; none is started twice. Cancelling this run cancels the runs that it has
    started, and a Retry resumes them. If it crashes, they continue by themselves.

    Args:
        source: A wms-source block's name, or the path of a spec file (.yaml) that every worker has.
        warehouses: The warehouses, as the API names them. Omit for all that the source lists.
        start: The window's start, with its time zone. Omit for an hour before its end.
        end: The window's end, exclusive. Omit for the end of the last hour settled at the scheduled start.
        store: A velocity-store block's name, or a URL without password. Omit for $SKU_VELOCITY_STORE.
        token_env: The workers' environment variable that holds the token, if the block has none.
        max_parallel: Runs at the same time. More than 1 needs a source with a shared pace.
        window_hours: Cut the window into parts of at most this many hours, a run each. Omit for one part.
        settle_minutes: Minutes to wait after an hour ends before reading it, so that late records are in.
        max_reject_ratio: Publish nothing if a larger share is rejected. Omit for the deployment's value.
        accept_shrunk: Publish windows even if they lose more than half of the rows published there. Omit for
            the deployment's value.
        require_proof: Publish nothing that cannot be proven whole. Omit for the deployment's value.
        master: The name of the source whose items map the SKUs. Omit for the deployment's value.
        unknown_sku: Reject or pass a movement whose SKU is unknown. Omit for the deployment's value.
        export_to: A directory or URL, for each window as Parquet. Omit for the deployment's value.
        push: A slotting-engine block's name, or its file's path. Omit for the deployment's value.
        deployment: The name of the sync-velocity deployment that runs each warehouse.
    """
    if export_to:
        Destination(export_to)  # reports a wrong one before anything is read
    connections = RunResources(await find_source(source, token_env), await find_store(store))
    spec = connections.source.spec
    if spec.items is not None:
        raise ConfigurationError(f"{spec.name} holds items, not movements: read it with sync-master")
    window = choose_window(spec, start, end, timedelta(minutes=settle_minutes))
    extras = {
        "max_reject_ratio": max_reject_ratio,
        "accept_shrunk": accept_shrunk,
        "require_proof": require_proof,
        "master": master,
        "unknown_sku": unknown_sku,
        "export_to": export_to,
        "push": push,
    }
    shared = {"source": source, "store": store, "token_env": token_env}
    parameters = shared | {name: value for name, value in extras.items() if value is not None}
    parent = UUID(runtime.flow_run.id)
    async with get_client() as api, connections.store():  # an unusable store is reported before too
        found = await find_deployment(api, f"{SYNC}/{deployment}")
        children = ChildRuns(api, found, parent, parameters)
        names = warehouses or [*await children.warehouses(), *await list_from_source(connections)]
        shards = plan_shards(names, window, window_hours)
        check_fan_out(spec, shards, max_parallel)
        warn_about_limit(found, min(max_parallel, len(shards)))
        get_run_logger().info("%d runs for %d warehouses of %s", len(shards), len(set(names)), spec.name)
        runs = await children.run(shards, max_parallel)
    statuses = await result_of(
        read_run_statuses.submit(connections, [str(run.id) for run in runs.values() if run])
    )
    report = FanOutReport(
        source=spec.name, shards=[outcome_of(shard, runs[shard], statuses) for shard in shards]
    )
    await publish_fan_out(report)
    return final_state(report)


async def list_from_source(connections: RunResources) -> list[str]:
    """Return the source's warehouses, in a task: it retries while the source is temporarily unavailable."""
    return await result_of(list_all.submit(connections, connections.source.spec.name))


@task(task_run_name="list the warehouses of {source}", **TASK_RETRY)
async def list_all(connections: RunResources, source: str) -> list[str]:
    """Ask the source for its warehouses."""
    async with connections.source.get_client() as client:
        return await list_warehouses(client)


@task(task_run_name="read run statuses", **TASK_RETRY)
async def read_run_statuses(connections: RunResources, runs: Sequence[str]) -> dict[str, RunStatus]:
    """Read the statuses of these runs from the store."""
    async with connections.store() as store:
        return await store.run_statuses.of(runs)


def warn_about_limit(deployment: DeploymentResponse, parallel: int) -> None:
    """Warn if the deployment allows fewer concurrent runs than are started."""
    limit = deployment.global_concurrency_limit
    if limit and limit.active and limit.limit < parallel:
        get_run_logger().warning(
            "The deployment %s allows %d concurrent runs, but %d are started at once: the others wait",
            deployment.name,
            limit.limit,
            parallel,
        )


def outcome_of(shard: Shard, run: FlowRun | None, statuses: dict[str, RunStatus]) -> ShardOutcome:
    """Return a shard's outcome by its flow run, None if that was deleted, and by the store."""
    status = statuses.get(str(run.id)) if run else None
    published = status is not None and status.is_published
    state, message = (run.state.name or "", run.state.message or "") if run and run.state else DELETED
    if run and run.state and run.state.is_completed() and not published:
        message = "not published in this run's store: check that the deployment's runs use the same store"
    return ShardOutcome(
        warehouse=shard.warehouse,
        start=shard.window.start,
        end=shard.window.end,
        verdict=status.verdict if status else None,
        published=published,
        failed=not (published and run and run.state and run.state.is_completed()),
        state=state,
        message=message,
        loaded=status.loaded if status else 0,
        rejected=status.rejected if status else 0,
        seconds=round(run.total_run_time.total_seconds(), 1) if run else 0.0,
        flow_run_id=str(run.id) if run else None,
    )


def final_state(report: FanOutReport) -> State[FanOutReport]:
    """Return the run's final state: the number of shards published, and the first of those that failed."""
    published = len(report.shards) - len(report.left)
    rows = sum(shard.loaded for shard in report.shards if shard.published)
    summary = f"{published} of {len(report.shards)} runs published, {rows} movements"
    if unproven := sum(shard.verdict is Verdict.UNPROVEN for shard in report.shards):
        summary += f", {unproven} not proven whole"
    if not report.failed:
        return Completed(name="Complete", message=f"{summary}.", data=report)
    named = " | ".join(map(str, report.failed[:NAMED_SHARDS]))
    if not report.left:
        message = f"{summary}, {len(report.failed)} not fully delivered; Retry does only that. {named}"
        return Failed(name="NotHandedOn", message=message, data=report)
    message = f"{summary}, {len(report.failed)} failed; Retry resumes only those. {named}"
    return Failed(name="Incomplete", message=message, data=report)

"""The sync-warehouses flow: read one window of many warehouses, each in a flow run on any worker."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from prefect import flow
from prefect.client.orchestration import get_client
from prefect.client.schemas.objects import FlowRun
from prefect.client.schemas.responses import DeploymentResponse

from flows.runtime.child_runs import ChildRuns, find_deployment
from flows.runtime.ownership import SYNC, SYNC_WAREHOUSES
from flows.runtime.prefect_context import perform, takes
from flows.runtime.task_runner import EventLoopTaskRunner
from sku_velocity.model.reports import RunOutcome, RunsReport
from sku_velocity.model.run import RunStatus
from sku_velocity.source.warehouses import list_warehouses
from sku_velocity.steps.fan_out import Shard, check_fan_out, plan_shards
from sku_velocity.steps.outcome import Outcome, outcome_of_runs
from sku_velocity.steps.requests import SyncWarehousesRequest
from sku_velocity.steps.run_context import RunContext, step
from sku_velocity.steps.sync import check_export, movements_of
from sku_velocity.steps.window_choice import WindowChoice

DELETED = ("Deleted", "its flow run was deleted; Retry starts another")
OF_THE_DEPLOYMENT = (
    *("window_minutes", "window_zone"),
    *("max_reject_ratio", "accept_shrunk", "require_proof"),
    *("master", "unknown_sku", "export_to", "push", "push_spec_changes"),
)


@flow(
    name=SYNC_WAREHOUSES,
    flow_run_name="warehouses of {source}",
    task_runner=EventLoopTaskRunner(),
    persist_result=False,
)
@takes(SyncWarehousesRequest)
async def sync_warehouses(request: SyncWarehousesRequest) -> Any:
    return await perform(fan_out, request)


async def fan_out(context: RunContext, request: SyncWarehousesRequest) -> Outcome[RunsReport]:
    """Start a run per warehouse and part of the window, wait for all, and add up what they published."""
    check_export(request.export_to)
    await context.find(source=request.source, token_env=request.token_env, store=request.store)
    spec = movements_of(context)
    command = f"{context.program} sync-warehouses"
    choice = WindowChoice(spec, request, context.due, command, request.options())
    window = choice.window()
    async with get_client() as api, context.store():  # an unusable store is reported before too
        deployment = await find_deployment(api, f"{SYNC}/{request.deployment}")

        def report_end(shard: Shard, run: FlowRun | None) -> None:
            context.listener.ended(_as_ended(shard, run))

        children = ChildRuns(api, deployment, UUID(context.flow_run_id), _parameters_of(request), report_end)
        names = request.warehouses
        if not names:  # those of an earlier attempt first, in its order
            names = [*await children.warehouses(), *await context.perform(list_all, spec.name)]
        shards = plan_shards(names, window, choice.grid if request.window_minutes else None)
        choice.check(shard.window for shard in shards)
        check_fan_out(spec, shards, request.max_parallel)
        _warn_about_limit(context, deployment, min(request.max_parallel, len(shards)))
        context.log.info("%d runs for %d warehouses of %s", len(shards), len(set(names)), spec.name)
        runs = await children.run(shards, request.max_parallel)
    started = [str(run.id) for run in runs.values() if run]
    statuses = await context.perform(read_run_statuses, started)
    outcomes = [
        outcome_of(shard, run, statuses.get(str(run.id)) if run else None)
        for shard, run in ((shard, runs[shard]) for shard in shards)
    ]
    report = RunsReport(source=spec.name, runs=outcomes)
    await context.display.show_runs(report)
    return outcome_of_runs(report, retry="Retry resumes only those", deliver="Retry does only that")


def _parameters_of(request: SyncWarehousesRequest) -> dict[str, Any]:
    """Return the parameters of each run. What the request omits is as in the deployment."""
    given = request.parameters()
    shared = {name: given[name] for name in ("source", "store", "token_env")}
    return shared | {name: given[name] for name in OF_THE_DEPLOYMENT if given[name] is not None}


@step("list the warehouses of {source}")
async def list_all(context: RunContext, source: str) -> list[str]:
    """Ask the source for its warehouses."""
    async with context.client() as client:
        return await list_warehouses(client)


@step("read run statuses")
async def read_run_statuses(context: RunContext, runs: Sequence[str]) -> dict[str, RunStatus]:
    """Read from the store the statuses of the runs that these flow runs started."""
    async with context.store() as store:
        return await store.status.of_flow_runs(runs)


def _warn_about_limit(context: RunContext, deployment: DeploymentResponse, parallel: int) -> None:
    """Warn if the deployment allows fewer concurrent runs than are started."""
    limit = deployment.global_concurrency_limit
    if limit and limit.active and limit.limit < parallel:
        context.log.warning(
            "The deployment %s allows %d concurrent runs, but %d are started at once: the others wait",
            deployment.name,
            limit.limit,
            parallel,
        )


def outcome_of(shard: Shard, run: FlowRun | None, status: RunStatus | None) -> RunOutcome:
    """Return a shard's outcome by its flow run, None if that was deleted, and by its status in the store."""
    ended, published = _as_ended(shard, run), status is not None and status.is_published
    is_completed = bool(run and run.state and run.state.is_completed())
    result: dict[str, Any] = {"published": published, "failed": not (published and is_completed)}
    if status:
        result |= {name: getattr(status, name) for name in ("verdict", "loaded", "rejected", "run_id")}
    if is_completed and not published:
        result["message"] = "not in this run's store: check that the deployment's runs use the same store"
    return ended.model_copy(update=result)


def _as_ended(shard: Shard, run: FlowRun | None) -> RunOutcome:
    """Return what a shard's flow run says of itself; what it has published is in the store."""
    state, message = (run.state.name or "", run.state.message or "") if run and run.state else DELETED
    return RunOutcome(
        warehouse=shard.warehouse,
        start=shard.window.start,
        end=shard.window.end,
        state=state,
        message=message,
        seconds=round(run.total_run_time.total_seconds(), 1) if run else 0.0,
        flow_run_id=str(run.id) if run else None,
    )

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
from flows.runtime.ownership import SYNC_GROUP, SYNC_WAREHOUSES
from flows.runtime.prefect_context import perform, takes
from flows.runtime.task_runner import EventLoopTaskRunner
from sku_velocity.model.reports import RunOutcome, RunsReport
from sku_velocity.model.run import RunStatus, run_id_of
from sku_velocity.source.warehouses import list_warehouses
from sku_velocity.steps.fan_out import (
    Group,
    Shard,
    check_fan_out,
    choose_group_size,
    name_warehouses,
    plan_groups,
    plan_shards,
)
from sku_velocity.steps.group import outcome_of_status, read_statuses
from sku_velocity.steps.outcome import INCOMPLETE, Outcome, outcome_of_runs, outcome_of_window
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
    """Start a run per group of warehouses, wait for all, and add up what they published."""
    check_export(request.export_to)
    await context.find(source=request.source, token_env=request.token_env, store=request.store)
    spec = movements_of(context)
    command = f"{context.program} sync-warehouses"
    choice = WindowChoice(spec, request, context.due, command, request.options())
    window = choice.window()
    async with get_client() as api, context.store():  # an unusable store is reported before too
        deployment = await find_deployment(api, f"{SYNC_GROUP}/{request.deployment}")

        def report_end(group: Group, run: FlowRun | None) -> None:
            context.listener.ended(_as_ended(group, run))

        children = ChildRuns(api, deployment, UUID(context.flow_run_id), _parameters_of(request), report_end)
        started = await children.started()
        names = request.warehouses
        if not names:  # those of an earlier attempt first, in its order
            before = (name for group in started for name in group.warehouses)
            names = [*before, *await context.perform(list_all, spec.name)]
        shards = plan_shards(names, window, choice.grid if request.window_minutes else None)
        choice.check(shard.window for shard in shards)
        size = request.warehouses_per_run
        if size is None:
            size = await context.perform(choose_size, spec.name, shards, request.max_parallel)
        groups = plan_groups(shards, size, started)
        check_fan_out(spec, groups, request.max_parallel)
        _warn_about_limit(context, deployment, min(request.max_parallel, len(groups)))
        context.log.info("%d runs for %d warehouses of %s", len(groups), len(set(names)), spec.name)
        runs = await children.run(groups, request.max_parallel)
    run_of = {shard: runs[group] for group in groups for shard in group.shards}
    run_ids = {
        shard: run_id_of(str(run.id), spec.name, shard.warehouse, shard.window)
        for shard, run in run_of.items()
        if run
    }
    statuses = await context.perform(read_statuses, list(run_ids.values()))
    outcomes = [outcome_of(shard, run_of[shard], statuses.get(run_ids.get(shard, ""))) for shard in run_of]
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


@step("choose warehouses per run")
async def choose_size(context: RunContext, source: str, shards: Sequence[Shard], max_parallel: int) -> int:
    """Choose how many warehouses a run reads, by what the last windows of the source took."""
    window = shards[0].window
    async with context.store() as store:
        seconds = await store.status.typical_seconds(source, window.end - window.start)
    return choose_group_size(len(shards), max_parallel, seconds)


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
    """Return a shard's outcome by its group's flow run, None if that was deleted, and by its own status.

    The state and the message are the flow run's, unless the store says why the shard is not published.
    """
    state, message = _ending_of(run)
    is_completed = bool(run and run.state and run.state.is_completed())
    result: dict[str, Any] = {}
    if status:
        result = outcome_of_status(shard, status).model_dump(exclude={"message", "warehouse", "start", "end"})
        message = message if status.is_published else status.reason or message
    # An incomplete group names what it has not published; that of any other state may lack a delivery.
    is_done = is_completed or state == INCOMPLETE
    result["failed"] = not (result.get("published") and is_done)
    if is_completed and not result.get("published"):
        message = "not in this run's store: check that the deployment's runs use the same store"
    ended = {"state": state, "seconds": _seconds_of(run), "flow_run_id": str(run.id) if run else None}
    return outcome_of_window(shard, **result | ended, message=message)


def _as_ended(group: Group, run: FlowRun | None) -> RunOutcome:
    """Return what a group's flow run says of itself; what it has published is in the store."""
    state, message = _ending_of(run)
    return RunOutcome(
        warehouse=name_warehouses(group.warehouses),
        start=group.window.start,
        end=group.window.end,
        state=state,
        message=message,
        seconds=_seconds_of(run),
        flow_run_id=str(run.id) if run else None,
    )


def _ending_of(run: FlowRun | None) -> tuple[str, str]:
    return (run.state.name or "", run.state.message or "") if run and run.state else DELETED


def _seconds_of(run: FlowRun | None) -> float:
    return round(run.total_run_time.total_seconds(), 1) if run else 0.0

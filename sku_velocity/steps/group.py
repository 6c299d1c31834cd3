"""A group: one window of several warehouses, each read, proven and published by itself within one run."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

from sku_velocity.model.reports import RunOutcome, RunsReport
from sku_velocity.model.run import RunStatus
from sku_velocity.steps.fan_out import AT_ONCE, Shard, for_each
from sku_velocity.steps.outcome import Outcome, outcome_of_runs, outcome_of_sync, outcome_of_window
from sku_velocity.steps.requests import SyncGroupRequest
from sku_velocity.steps.run_context import RunContext, step
from sku_velocity.steps.sync import check_delivery, movements_of, sync_window
from sku_velocity.steps.window_choice import WindowChoice

READ_BEFORE = "published by an earlier attempt"


async def sync_group(context: RunContext, request: SyncGroupRequest) -> Outcome[RunsReport]:
    """Read a window of each warehouse, several at a time. One that fails does not affect the others."""
    check_delivery(request)
    await context.find(
        source=request.source, token_env=request.token_env, store=request.store, engine=request.push
    )
    context.retries = request.task_retries
    spec = movements_of(context)
    command = f"{context.program} sync-warehouses"
    window = WindowChoice(spec, request, context.due, command, request.options()).window()
    shards = [Shard(name, window) for name in dict.fromkeys(request.warehouses)]
    outcomes = await _read_before(context, shards, request)

    async def read(shard: Shard) -> None:
        try:
            ended = await sync_window(context.for_window(), shard.warehouse, window, request)
            outcomes[shard] = outcome_of_sync(shard, ended)
        except Exception as error:
            outcomes[shard] = outcome_of_window(shard, message=f"{type(error).__name__}: {error}")
        if outcomes[shard].failed:
            context.log.error("%s", outcomes[shard])
        context.listener.ended(outcomes[shard])

    await for_each(deque(shard for shard in shards if shard not in outcomes), AT_ONCE, read)
    report = RunsReport(source=spec.name, runs=[outcomes[shard] for shard in shards])
    return outcome_of_runs(report, retry="Retry resumes only those", deliver="Retry does only that")


async def _read_before(
    context: RunContext, shards: Sequence[Shard], request: SyncGroupRequest
) -> dict[Shard, RunOutcome]:
    """Return what an earlier attempt has published, if nothing more happens to it."""
    if request.export_to or request.push or request.velocity_zone:
        return {}
    source = context.source.spec.name
    run_ids = {shard: context.run_id(source, shard.warehouse, shard.window) for shard in shards}
    statuses = await context.perform(read_statuses, list(run_ids.values()))
    return {
        shard: outcome_of_status(shard, status)
        for shard, run_id in run_ids.items()
        if (status := statuses.get(run_id)) and status.is_published
    }


@step("read run statuses")
async def read_statuses(context: RunContext, run_ids: Sequence[str]) -> dict[str, RunStatus]:
    """Read from the store the statuses of those of these runs that were planned."""
    async with context.store() as store:
        return await store.status.of_runs(run_ids)


def outcome_of_status(shard: Shard, status: RunStatus) -> RunOutcome:
    """Return the outcome of a shard by its run's status in the store."""
    return outcome_of_window(
        shard,
        message=READ_BEFORE if status.is_published else status.reason or "it was not read to its end",
        published=status.is_published,
        failed=not status.is_published,
        verdict=status.verdict,
        loaded=status.loaded,
        rejected=status.rejected,
        run_id=status.run_id,
    )

"""The prune: delete expired rows from the store and, with Prefect, old artifacts."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from functools import partial

from sku_velocity.model.reports import PruneReport
from sku_velocity.steps.outcome import Outcome
from sku_velocity.steps.requests import PruneRequest
from sku_velocity.steps.run_context import RunContext, step
from sku_velocity.store import Store
from sku_velocity.store.pruning import Cutoffs, DeletedBatch

ROWS_AT_ONCE = 5_000  # in one transaction: some tens of milliseconds


async def prune(context: RunContext, request: PruneRequest) -> Outcome[PruneReport]:
    """Delete what has expired, or with `dry_run` only count it."""
    await context.find(store=request.store)
    now = datetime.now(UTC)
    rows, free = await context.perform(prune_rows, cutoffs_of(request, now), request.dry_run)
    ended_before = now - timedelta(days=request.artifact_days)
    artifacts = await context.prune_artifacts(ended_before, request.dry_run)
    report = PruneReport(dry_run=request.dry_run, rows=dict(rows), artifacts=artifacts, free_bytes=free)
    await context.display.show_pruned(report)
    return _outcome_of(report)


@step("prune store")
async def prune_rows(context: RunContext, cutoffs: Cutoffs, dry_run: bool) -> tuple[Counter[str], int | None]:
    """Delete the expired rows, or count them. Return the counts and the free bytes of a SQLite file."""
    async with context.store() as store:
        pruned = await store.pruning.count(cutoffs) if dry_run else await prune_store(store, cutoffs)
        return pruned, await store.pruning.free_bytes()


def _outcome_of(report: PruneReport) -> Outcome[PruneReport]:
    runs, refreshes = (report.rows.get(table, 0) for table in ("sync_runs", "velocity_refreshes"))
    verb = "Would prune" if report.dry_run else "Pruned"
    artifacts = "" if report.artifacts is None else f", and {report.artifacts} artifacts"
    rows = f"{runs} runs and {refreshes} refreshes of velocity, {report.total} rows in all"
    return Outcome("Completed", f"{verb} {rows}{artifacts}.", report)


def cutoffs_of(request: PruneRequest, now: datetime) -> Cutoffs:
    """Return the instants and the day before which rows expire."""
    return Cutoffs(
        superseded=now - timedelta(days=request.superseded_days),
        unpublished=now - timedelta(days=request.unpublished_days),
        letters=now - timedelta(days=request.letter_days),
        velocity=(now - timedelta(days=request.velocity_days)).date(),
    )


async def prune_store(store: Store, cutoffs: Cutoffs, rows_at_once: int = ROWS_AT_ONCE) -> Counter[str]:
    """Delete expired rows in small transactions with pauses between them. Return the rows by table.

    An interrupted prune leaves nothing half visible and is resumed by the next one.
    """
    pruned: Counter[str] = Counter()
    pruning = store.pruning
    for key in await pruning.find_runs(cutoffs):
        if await pruning.mark_for_deletion(key, cutoffs):
            pruned += await _delete_in_batches(partial(pruning.delete_run_batch, key, rows_at_once))
    pruned += await _delete_in_batches(partial(pruning.delete_letter_batch, cutoffs, rows_at_once))
    for refresh in await pruning.find_refreshes(cutoffs):
        pruned += await _delete_in_batches(partial(pruning.delete_refresh_batch, refresh, rows_at_once))
    return pruned


async def _delete_in_batches(step: Callable[[], Awaitable[DeletedBatch]]) -> Counter[str]:
    """Run a step until it reports its last batch. Return the rows that all steps deleted."""
    rows: Counter[str] = Counter()
    is_last = False
    while not is_last:
        began = time.monotonic()
        batch = await step()
        rows, is_last = rows + batch.rows, batch.is_last
        await asyncio.sleep(time.monotonic() - began)  # or a writer waiting for SQLite's lock may starve
    return rows

"""The prune: delete expired rows from the store and, with Prefect, old artifacts."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from functools import partial

from sku_velocity.errors import ConfigurationError
from sku_velocity.model.reports import PruneReport
from sku_velocity.steps.outcome import Outcome
from sku_velocity.steps.requests import PruneRequest
from sku_velocity.steps.run_context import RunContext, step
from sku_velocity.steps.sync import check_export
from sku_velocity.store import Store
from sku_velocity.store.pruning import Cutoffs, DeletedBatch

ROWS_AT_ONCE = 5_000  # in one transaction: some tens of milliseconds
# Velocity reads 91 days, and the same days a year before. Days of margin: one that is counted in another way.
MIN_MOVEMENT_DAYS = 460


async def prune(context: RunContext, request: PruneRequest) -> Outcome[PruneReport]:
    """Archive and delete what has expired, or with `dry_run` only count it."""
    check_archive(request)
    await context.find(store=request.store)
    now = datetime.now(UTC)
    archived = archived_rows = 0
    if request.movement_days and request.archive_to:
        before = _midnight(now - timedelta(days=request.movement_days))
        archived, archived_rows = await context.perform(
            archive_movements, before, request.archive_to, request.dry_run
        )
    rows, free = await context.perform(prune_rows, cutoffs_of(request, now), request.dry_run)
    ended_before = now - timedelta(days=request.artifact_days)
    artifacts = await context.prune_artifacts(ended_before, request.dry_run)
    report = PruneReport(
        dry_run=request.dry_run,
        rows=dict(rows),
        archived_windows=archived if request.archive_to else None,
        archived_rows=archived_rows,
        artifacts=artifacts,
        free_bytes=free,
    )
    await context.display.show_pruned(report)
    return _outcome_of(report)


def check_archive(request: PruneRequest) -> None:
    """Check when and where movements are archived. Raises ConfigurationError before anything is deleted."""
    days = request.movement_days
    if (days is None) != (request.archive_to is None):
        raise ConfigurationError(
            "movement_days and archive_to belong together, because movements are only deleted once they are "
            "archived: set both, or none to keep all movements in the store"
        )
    if days is not None and days < MIN_MOVEMENT_DAYS:
        raise ConfigurationError(
            f"movement_days: {days} is too short: velocity reads the movements of the last 91 days and of "
            f"the same days a year before: use {MIN_MOVEMENT_DAYS} or more"
        )
    check_export(request.archive_to)


@step("archive movements")
async def archive_movements(
    context: RunContext, before: datetime, archive_to: str, dry_run: bool
) -> tuple[int, int]:
    """Archive old windows, and delete their movements. Return the number of both.

    With `dry_run`, only count them.
    """
    from sku_velocity.steps.archive import archive_windows
    from sku_velocity.steps.destination import Destination

    async with context.store() as store:
        if dry_run:
            return await store.archive.count(before)
        archived = await archive_windows(store, Destination(archive_to), before)
        return archived, (await delete_archived(store)).total()


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
    message = f"{verb} {rows}{artifacts}."
    if report.archived_windows is not None:
        verb, left = ("Would archive", "would leave") if report.dry_run else ("Archived", "left")
        message += (
            f" {verb} {report.archived_windows} windows; {report.archived_rows} movements {left} the store."
        )
    return Outcome("Completed", message, report)


def _midnight(instant: datetime) -> datetime:
    return instant.replace(hour=0, minute=0, second=0, microsecond=0)  # so that a date is archived at once


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


async def delete_archived(store: Store, rows_at_once: int = ROWS_AT_ONCE) -> Counter[str]:
    """Delete the movements of archived windows in small transactions. Return the rows by table."""
    deleted: Counter[str] = Counter()
    for key in await store.archive.find_marked():
        deleted += await _delete_in_batches(partial(store.archive.delete_batch, key, rows_at_once))
    return deleted


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

"""The retention of rows that are no longer visible, and the loop that deletes them."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial

from pydantic import BaseModel, ConfigDict

from sku_velocity.store import Store
from sku_velocity.store.pruning import Cutoffs, DeletedBatch

ROWS_AT_ONCE = 5_000  # in one transaction: some tens of milliseconds


@dataclass(frozen=True)
class Retention:
    """Days, at least one, to keep superseded runs, runs never published, closed dead letters of published
    runs, and velocity."""

    superseded_days: int = 30
    unpublished_days: int = 30
    letter_days: int = 365
    velocity_days: int = 400

    def cutoffs(self, now: datetime) -> Cutoffs:
        """Return the instants and the day before which rows expire."""
        return Cutoffs(
            superseded=now - timedelta(days=self.superseded_days),
            unpublished=now - timedelta(days=self.unpublished_days),
            letters=now - timedelta(days=self.letter_days),
            velocity=(now - timedelta(days=self.velocity_days)).date(),
        )


class PruneReport(BaseModel):
    """What was deleted, or with `dry_run` would be: rows of the store by table, and Prefect artifacts.

    `free_bytes` is what VACUUM would then free in a SQLite file, None on PostgreSQL.
    """

    model_config = ConfigDict(frozen=True)

    dry_run: bool
    rows: dict[str, int]
    artifacts: int
    free_bytes: int | None

    @property
    def total(self) -> int:
        return sum(self.rows.values())


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

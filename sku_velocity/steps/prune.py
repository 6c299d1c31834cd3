"""How long the store keeps what nobody sees any more, and the loop that lets it go."""

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
    """For how many days, at least one, superseded runs, runs never published, closed dead letters of
    published ones, and velocity are kept."""

    superseded_days: int = 30
    unpublished_days: int = 30
    letter_days: int = 365
    velocity_days: int = 400

    def cutoffs(self, now: datetime) -> Cutoffs:
        """The instants and the day before which things may go."""
        return Cutoffs(
            superseded=now - timedelta(days=self.superseded_days),
            unpublished=now - timedelta(days=self.unpublished_days),
            letters=now - timedelta(days=self.letter_days),
            velocity=(now - timedelta(days=self.velocity_days)).date(),
        )


class PruneReport(BaseModel):
    """What was pruned, or with `dry_run` would be: rows of the store by table, and Prefect artifacts.

    `free_bytes` is what VACUUM would then give back of a SQLite file, None on PostgreSQL.
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
    """Delete all that may go, in small transactions with room between them; gives the rows by table.

    Broken off anywhere, it leaves nothing half visible, and the next one goes on.
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
    """The rows that all steps together have deleted."""
    rows: Counter[str] = Counter()
    is_last = False
    while not is_last:
        began = time.monotonic()
        swept = await step()
        rows, is_last = rows + swept.rows, swept.is_last
        await asyncio.sleep(time.monotonic() - began)  # or who waits for SQLite's one lock might never get it
    return rows

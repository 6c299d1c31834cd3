"""The dead letters of all runs: their states, who closed them, when and why, and their replay."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncGenerator, Sequence

from sku_velocity.model.dead_letter import (
    DeadLetterFilter,
    DeadLetterState,
    RejectGroup,
    RevalidatedRecord,
    StoredDeadLetter,
)
from sku_velocity.model.movement import DeadLetter
from sku_velocity.model.run import SyncRun
from sku_velocity.store import dead_letter_rows, replay
from sku_velocity.store.database import Database


class DeadLetterLedger:
    """The dead letters of all runs. Each method is one transaction; none deletes dead letters.

    Raises what `Store` raises.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    async def read(self, criteria: DeadLetterFilter, limit: int | None = None) -> list[StoredDeadLetter]:
        """Return matching dead letters, at most `limit`, by source, warehouse, window and position."""
        async with self._database.reading() as connection:
            return await dead_letter_rows.read(connection, criteria, limit)

    async def stream(self, criteria: DeadLetterFilter, size: int) -> AsyncGenerator[StoredDeadLetter, None]:
        """Yield all matching dead letters in the same order, with `size` in memory at a time."""
        async with self._database.reading() as connection:
            async for letter in dead_letter_rows.stream(connection, criteria, size):
                yield letter

    async def count(self, criteria: DeadLetterFilter) -> int:
        """Count the matching dead letters."""
        async with self._database.reading() as connection:
            return await dead_letter_rows.count(connection, criteria)

    async def by_reason(self, criteria: DeadLetterFilter, limit: int) -> list[RejectGroup]:
        """Group matching dead letters by all their reasons, the largest groups first, each with a sample."""
        async with self._database.snapshot() as connection:
            return await dead_letter_rows.group(connection, criteria, limit)

    async def discard(self, criteria: DeadLetterFilter, by: str, note: str) -> int:
        """Discard the matching open dead letters. They stay, and count as rejected. Return their number."""
        async with self._database.writing() as connection:
            return await dead_letter_rows.close(connection, criteria, DeadLetterState.DISCARDED, by, note)

    async def runs(self, criteria: DeadLetterFilter) -> list[SyncRun]:
        """Return the published and the incomplete runs that have matching dead letters, by window."""
        async with self._database.reading() as connection:
            return await replay.find_runs(connection, criteria)

    async def after(self, criteria: DeadLetterFilter, position: int, limit: int) -> list[DeadLetter]:
        """Return the next matching dead letters of a run, at positions after this one."""
        async with self._database.reading() as connection:
            return await replay.read_next(connection, criteria, position, limit)

    async def apply_replay(
        self,
        run_id: str,
        revalidated: Sequence[RevalidatedRecord],
        by: str,
        mapping_digest: str | None = None,
    ) -> Counter[str]:
        """Apply replay outcomes to a run's open dead letters. Return the count per outcome.

        Rows, dead letter states and the ledger's counts change together. The counts are `loaded`, `trimmed`
        and `filtered`; of the loaded ones, `published` (visible at once) and `unsent` (their chunk was pushed
        before: its next push sends them). Those `repeated`, whose record id the run contains already, and
        those `waiting`, whose chunk is being pushed to an engine, stay open.
        """
        async with self._database.writing() as connection:
            return await replay.apply_replay(connection, run_id, revalidated, by, mapping_digest)

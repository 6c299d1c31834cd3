"""Where each dead letter stands: who closed it, when and why, and how valid ones take their places."""

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
from sku_velocity.store import dead_letter_rows as letters
from sku_velocity.store import replay as replaying
from sku_velocity.store.database import Database


class DeadLetterLedger:
    """The dead letters of all runs: each method is one transaction. None deletes any.

    Raises what `Store` raises.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    async def read(self, wanted: DeadLetterFilter, limit: int | None = None) -> list[StoredDeadLetter]:
        """The letters meant, by source, warehouse, window and position; the first `limit` of them."""
        async with self._database.reading() as connection:
            return await letters.read(connection, wanted, limit)

    async def stream(self, wanted: DeadLetterFilter, size: int) -> AsyncGenerator[StoredDeadLetter, None]:
        """All letters meant, in the same order; `size` of them are in memory at a time."""
        async with self._database.reading() as connection:
            async for letter in letters.stream(connection, wanted, size):
                yield letter

    async def count(self, wanted: DeadLetterFilter) -> int:
        """How many letters are meant."""
        async with self._database.reading() as connection:
            return await letters.count(connection, wanted)

    async def by_reason(self, wanted: DeadLetterFilter, limit: int) -> list[RejectGroup]:
        """The letters meant by all of their reasons, the largest groups first, each with a sample."""
        async with self._database.snapshot() as connection:
            return await letters.group(connection, wanted, limit)

    async def discard(self, wanted: DeadLetterFilter, by: str, note: str) -> int:
        """Give up the open letters meant; gives how many there were. They stay, and count as rejected."""
        async with self._database.writing() as connection:
            return await letters.close(connection, wanted, DeadLetterState.DISCARDED, by, note)

    async def runs(self, wanted: DeadLetterFilter) -> list[SyncRun]:
        """The published and the incomplete runs that have letters of a selection, by window."""
        async with self._database.reading() as connection:
            return await replaying.find_runs(connection, wanted)

    async def after(self, wanted: DeadLetterFilter, position: int, limit: int) -> list[DeadLetter]:
        """The next letters of one run's selection, those at positions after this one."""
        async with self._database.reading() as connection:
            return await replaying.read_next(connection, wanted, position, limit)

    async def apply_replay(
        self, flow_run_id: str, judged: Sequence[RevalidatedRecord], by: str
    ) -> Counter[str]:
        """Give letters their places by what they were judged to be, those that are still open.

        Rows, the letters' states and the ledger's counts change together. Gives how many were `loaded`,
        `trimmed` and `filtered`; of the loaded ones how many are `published` at once, and how many `unsent`,
        for their chunk had been pushed: its next push sends them. Open stay those `repeated`, whose record id
        the run holds already, and those `waiting`, whose chunk is on its way to an engine.
        """
        async with self._database.writing() as connection:
            return await replaying.apply_replay(connection, flow_run_id, judged, by)

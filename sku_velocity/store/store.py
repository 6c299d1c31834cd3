"""The store: each method is one transaction."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import date
from typing import Any, Self

from sqlalchemy import Row

from sku_velocity.errors import ConfigurationError, IncompleteWindowError
from sku_velocity.model.activity import Activity
from sku_velocity.model.calendar import Period
from sku_velocity.model.chunk import Chunk, ChunkProgress, PageResult
from sku_velocity.model.master import Master, Names
from sku_velocity.model.movement import DeadLetter
from sku_velocity.model.push import SkuClass
from sku_velocity.model.run import MasterVersion, RunState, SyncRun, Verdict
from sku_velocity.model.status import Coverage, WarehouseStatus
from sku_velocity.model.velocity import EarlierClasses, Refresh
from sku_velocity.model.window import PublishedSegment, Window
from sku_velocity.store import activity as daily
from sku_velocity.store import chunks as ledger
from sku_velocity.store import dead_letter_rows as letters
from sku_velocity.store import masters, pages, publishing, schema
from sku_velocity.store import publishing as published
from sku_velocity.store import status as overview
from sku_velocity.store import velocity as velocities
from sku_velocity.store.database import Database
from sku_velocity.store.dead_letters import DeadLetterLedger
from sku_velocity.store.pruning import Pruning
from sku_velocity.store.pushes import PushLedger
from sku_velocity.store.sent_classes import SentClasses
from sku_velocity.store.status import RunStatuses


class Store:
    """Where windows are kept, page by page, until they are proven and published.

    A store belongs to the event loop that opened it. Every method raises StoreUnavailableError where the
    database is away, locked or full, and StoreConfigurationError where it cannot be used as configured
    or does not know the run. No message shows a password. `pushes` and `sent_classes` hold what the slotting
    engines have been sent, `letters` where each dead letter stands, `pruning` what may go,
    `endings` how runs have ended.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self.pushes = PushLedger(database)
        self.sent_classes = SentClasses(database)
        self.letters = DeadLetterLedger(database)
        self.pruning = Pruning(database)
        self.endings = RunStatuses(database)

    def __repr__(self) -> str:
        return f"Store({self._database.where})"

    @classmethod
    @asynccontextmanager
    async def open(cls, url: str) -> AsyncIterator[Self]:
        """The store at `sqlite:///file.db` or `postgresql://user:password@host/database`.

        An empty one gets its tables. Raises StoreConfigurationError, saying what to do, where its schema
        is older or newer than this program's.
        """
        database = Database(url)
        try:
            await schema.prepare(database)
            yield cls(database)
        finally:
            await database.close()

    async def begin(self, run: SyncRun, chunks: Sequence[Chunk]) -> None:
        """Enter a run and its plan. Nothing changes where a run of that id stands there already."""
        async with self._database.writing() as connection:
            await ledger.write_plan(connection, run, chunks)

    async def find_run(self, flow_run_id: str) -> SyncRun | None:
        """The run of this id, or None."""
        async with self._database.reading() as connection:
            row = await ledger.find_run(connection, flow_run_id)
        return row.run if row else None

    async def chunks(self, flow_run_id: str) -> list[ChunkProgress]:
        """A run's ledger, by chunk index."""
        async with self._database.reading() as connection:
            return await ledger.read_chunks(connection, flow_run_id)

    async def progress(self, flow_run_id: str, index: int) -> ChunkProgress:
        """A chunk's row of the ledger: `next_offset` says where to go on."""
        async with self._database.reading() as connection:
            return await ledger.read_chunk_progress(connection, flow_run_id, index)

    async def land_page(self, flow_run_id: str, index: int, result: PageResult) -> ChunkProgress:
        """Keep a page's rows and dead letters, and advance its chunk; gives the chunk's row.

        A page that is not the chunk's next one changes nothing: another worker was faster, it is read for
        the second time, or the window was planned anew meanwhile, in pages of another size. Where pages come
        by cursor and one fills its chunk, the next chunk is entered too.
        """
        async with self._database.writing() as connection:
            key, progress = await ledger.lock_chunk(connection, flow_run_id, index)
            if not ledger.is_next(progress, result):
                return progress
            await pages.insert_page(connection, key, result)
            advanced = ledger.after_page(progress, result)
            await ledger.write_chunk(connection, key, advanced)
            if following := ledger.chunk_after(advanced, result, progress.chunk.size):
                await ledger.append_chunks(connection, key, [following], result.next_cursor)
        return advanced

    async def fail_chunk(self, flow_run_id: str, index: int, error: str) -> None:
        """Enter that a chunk failed, and why, unless it has landed."""
        async with self._database.writing() as connection:
            key, progress = await ledger.lock_chunk(connection, flow_run_id, index)
            await ledger.write_chunk(connection, key, ledger.after_failure(progress, error))

    async def replan(self, flow_run_id: str, total: int | None, chunks: Sequence[Chunk]) -> SyncRun:
        """Have a window read again by a new plan.

        Raises IncompleteWindowError where it was published, or where dead letters of it were replayed or
        discarded: what was decided about them would be gone.
        """
        async with self._database.writing() as connection:
            row = await publishing.take_turn(connection, flow_run_id)
            if row.run.state not in (RunState.RUNNING, RunState.INCOMPLETE):
                raise IncompleteWindowError(
                    f"run {flow_run_id} of {row.run.warehouse} was {row.run.state} meanwhile: "
                    "start a new run of this window"
                )
            if closed := await letters.count_closed(connection, row.key):
                raise IncompleteWindowError(
                    f"run {flow_run_id} of {row.run.warehouse} has {closed} dead letters that were replayed "
                    "or discarded, and is not read again: start a new run of this window"
                )
            await ledger.replace_plan(connection, row.key, total, chunks)
            return (await ledger.get_run(connection, flow_run_id)).run

    async def count_repeated_ids(self, flow_run_id: str) -> int:
        """How many of the source's own record ids stand in a run more than once."""
        async with self._database.reading() as connection:
            return await pages.count_repeated_ids(connection, flow_run_id)

    async def count_repeated_skus(self, flow_run_id: str) -> int:
        """How many canonical ids stand in a run of a master more than once."""
        async with self._database.reading() as connection:
            return await masters.count_repeated_skus(connection, flow_run_id)

    async def contested_names(self, flow_run_id: str) -> list[str]:
        """The names that more than one item of a run claims: own ids and aliases, in order."""
        async with self._database.reading() as connection:
            return await masters.contested_names(connection, flow_run_id)

    async def newest_master(self, source: str) -> str:
        """The version of a source's master that shows. Raises ConfigurationError where none does."""
        async with self._database.reading() as connection:
            return await masters.newest_version(connection, source)

    async def load_master(self, version: MasterVersion) -> Master:
        """One version of a master with all of its names. Raises ConfigurationError where it was pruned."""
        names = await self.names_of(version.version)
        if not (names.active or names.retired):
            raise ConfigurationError(
                f"version {version.version} of the master {version.source} is not in this store any more: "
                "start a new run of this window, which maps by the newest one"
            )
        return Master(version, names)

    async def names_of(self, version: str) -> Names:
        """All names of one version of a master; none where its items have been pruned."""
        async with self._database.reading() as connection:
            return await masters.read_names(connection, version)

    async def version_before(self, version: str) -> str | None:
        """The version of a master that showed until this one was published; None for the first."""
        async with self._database.reading() as connection:
            return await masters.version_before(connection, version)

    async def published_segments(self, source: str, warehouse: str, window: Window) -> list[PublishedSegment]:
        """Which runs show in a window, by time."""
        async with self._database.reading() as connection:
            return await published.published_segments(connection, source, warehouse, window)

    async def stream(self, segment: PublishedSegment, size: int) -> AsyncGenerator[Sequence[Row[Any]], None]:
        """The movements that show in a segment of a window, as `published.COLUMNS`, `size` at a time."""
        async with self._database.reading() as connection:
            async for progress in published.stream(connection, segment, size):
                yield progress

    async def publish(self, flow_run_id: str, report: str, verdict: Verdict = Verdict.COMPLETE) -> None:
        """Make a proven window visible in one step, in place of whatever showed there.

        `report` is JSON text, kept with the run. A run that is published already stays as it is. Raises
        IncompleteWindowError where a chunk has not landed, or where a later run has superseded this one.
        """
        async with self._database.writing() as connection:
            key = await publishing.show(connection, flow_run_id)
            if key is not None:
                await ledger.close_run(connection, key, RunState.PUBLISHED, verdict, report)

    async def refuse(self, flow_run_id: str, report: str) -> None:
        """Keep the report of a window that was not proven. A run that has been published stays as it is."""
        async with self._database.writing() as connection:
            row = await publishing.take_turn(connection, flow_run_id)
            if row.run.state in (RunState.RUNNING, RunState.INCOMPLETE):
                await ledger.close_run(connection, row.key, RunState.INCOMPLETE, Verdict.INCOMPLETE, report)

    async def dead_letters(self, flow_run_id: str, limit: int | None = None) -> list[DeadLetter]:
        """A run's rejected records by position, the first `limit` of them where it is given."""
        async with self._database.reading() as connection:
            return await pages.read_dead_letters(connection, flow_run_id, limit)

    async def published_warehouses(self) -> list[tuple[str, str]]:
        """Each source and warehouse of which something is published, in order."""
        async with self._database.reading() as connection:
            return await daily.read_warehouses(connection)

    async def activity(self, source: str, warehouse: str, period: Period) -> Activity:
        """What a warehouse moved in a period, by SKU and local day, as it is published at this moment.

        Raises VelocityError where units add up to more than the database can hold.
        """
        async with self._database.snapshot() as connection:
            return await daily.read_activity(connection, source, warehouse, period)

    async def classes_before(self, source: str, warehouse: str, as_of: date) -> EarlierClasses | None:
        """Each SKU's classes by the last refresh of a day before this one, None where there is none."""
        async with self._database.reading() as connection:
            return await velocities.read_classes_before(connection, source, warehouse, as_of)

    async def current_classes(self, source: str, warehouse: str) -> list[SkuClass]:
        """The classes of a warehouse's SKUs by its newest refresh."""
        async with self._database.reading() as connection:
            return await velocities.read_current_classes(connection, source, warehouse)

    async def replace_velocity(self, refresh: Refresh, rows: Sequence[tuple[Any, ...]]) -> None:
        """Keep a refresh, its rows as in `velocities.COLUMNS`, in place of an earlier one of the same day."""
        async with self._database.writing() as connection:
            await velocities.replace(connection, refresh, rows)

    async def statuses(
        self, source: str | None = None, warehouse: str | None = None
    ) -> list[WarehouseStatus]:
        """How each warehouse stands that a run was ever planned for, or those asked for, in order."""
        async with self._database.reading() as connection:
            return await overview.read_statuses(connection, source, warehouse)

    async def coverage(self, source: str, warehouse: str, span: Window) -> Coverage:
        """What of a span of time is published of a warehouse, and which runs are open in it."""
        async with self._database.reading() as connection:
            return await overview.read_coverage(connection, source, warehouse, span)


async def migrate(url: str) -> str:
    """Bring the store at this URL to the newest schema; gives its revision.

    Raises what `Store.open` raises, except about an older schema.
    """
    database = Database(url)
    try:
        return await schema.upgrade(database)
    finally:
        await database.close()

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
from sku_velocity.model.run import IdCounts, MasterVersion, Precedent, RunState, SyncRun, Verdict
from sku_velocity.model.status import Coverage, WarehouseStatus
from sku_velocity.model.velocity import EarlierClasses, Refresh
from sku_velocity.model.window import PublishedSegment, Window
from sku_velocity.store import (
    activity,
    chunks,
    dead_letter_rows,
    masters,
    pages,
    precedents,
    publishing,
    schema,
    status,
    velocity,
)
from sku_velocity.store.database import Database
from sku_velocity.store.dead_letters import DeadLetterLedger
from sku_velocity.store.pruning import Pruning
from sku_velocity.store.pushes import PushLedger
from sku_velocity.store.sent_classes import SentClasses
from sku_velocity.store.status import RunStatuses


class Store:
    """The store of windows: written page by page, published once they are proven.

    A store belongs to the event loop that opened it. Every method raises StoreUnavailableError if the
    database is unavailable, locked or full, and StoreConfigurationError if it cannot be used as configured
    or has no such run. No message contains a password. `pushes` and `sent_classes` hold what the slotting
    engines have been sent, `letters` the state of each dead letter, `pruning` deletes expired rows,
    `run_statuses` holds the results of runs.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self.pushes = PushLedger(database)
        self.sent_classes = SentClasses(database)
        self.letters = DeadLetterLedger(database)
        self.pruning = Pruning(database)
        self.run_statuses = RunStatuses(database)

    def __repr__(self) -> str:
        return f"Store({self._database.display_url})"

    @classmethod
    @asynccontextmanager
    async def open(cls, url: str) -> AsyncIterator[Self]:
        """Open the store at `sqlite:///file.db` or `postgresql://user:password@host/database`.

        Creates the tables of an empty store. Raises StoreConfigurationError, with what to do, if its schema
        is older or newer than this program's.
        """
        database = Database(url)
        try:
            await schema.prepare(database)
            yield cls(database)
        finally:
            await database.close()

    async def begin(self, run: SyncRun, plan: Sequence[Chunk]) -> SyncRun:
        """Insert a run and its plan, unless the store has a run of that id already. Return the stored run."""
        async with self._database.writing() as connection:
            await chunks.write_plan(connection, run, plan)
            return (await chunks.get_run(connection, run.id)).run

    async def find_run(self, flow_run_id: str) -> SyncRun | None:
        """Return the run of this id, or None."""
        async with self._database.reading() as connection:
            row = await chunks.find_run(connection, flow_run_id)
        return row.run if row else None

    async def chunks(self, flow_run_id: str) -> list[ChunkProgress]:
        """Return a run's ledger, by chunk index."""
        async with self._database.reading() as connection:
            return await chunks.read_chunks(connection, flow_run_id)

    async def progress(self, flow_run_id: str, index: int) -> ChunkProgress:
        """Return a chunk's row of the ledger: `next_offset` is where to resume."""
        async with self._database.reading() as connection:
            return await chunks.read_chunk_progress(connection, flow_run_id, index)

    async def land_page(
        self,
        flow_run_id: str,
        index: int,
        result: PageResult,
        mapping_digest: str | None = None,
        repairs: int | None = None,
    ) -> ChunkProgress:
        """Store a page's rows and dead letters, and advance its chunk. Return the chunk's row.

        A page that is not the chunk's next one changes nothing: another worker was faster, it is read for
        the second time, or the window was planned again meanwhile, with another page size. If pages come by
        cursor and one fills its chunk, the next chunk is inserted too. Raises IncompleteWindowError if the
        run is no longer read by the spec with this digest, or by the plan after this number of repairs.
        """
        async with self._database.writing() as connection:
            key, progress = await chunks.lock_chunk(connection, flow_run_id, index, mapping_digest, repairs)
            if not chunks.is_next(progress, result):
                return progress
            await pages.insert_page(connection, key, result)
            advanced = chunks.after_page(progress, result)
            await chunks.write_chunk(connection, key, advanced)
            if following := chunks.chunk_after(advanced, result, progress.chunk.size):
                await chunks.append_chunks(connection, key, [following], result.next_cursor)
        return advanced

    async def fail_chunk(self, flow_run_id: str, index: int, error: str) -> None:
        """Mark a chunk as failed, with the error, unless it has landed."""
        async with self._database.writing() as connection:
            key, progress = await chunks.lock_chunk(connection, flow_run_id, index)
            await chunks.write_chunk(connection, key, chunks.after_failure(progress, error))

    async def replan(
        self, flow_run_id: str, total: int | None, plan: Sequence[Chunk], mapping_digest: str | None = None
    ) -> SyncRun:
        """Replace the plan of a run, so that its window is read again.

        Raises IncompleteWindowError if it was published, or if dead letters of it were discarded: those
        decisions would be lost. What a replay accepted is read again, by the current spec.
        """
        async with self._database.writing() as connection:
            row = await publishing.lock_run(connection, flow_run_id)
            if row.run.state not in (RunState.RUNNING, RunState.INCOMPLETE):
                raise IncompleteWindowError(
                    f"run {flow_run_id} of {row.run.warehouse} was {row.run.state} meanwhile: "
                    "start a new run of this window"
                )
            if discarded := await dead_letter_rows.count_discarded(connection, row.key):
                raise IncompleteWindowError(
                    f"run {flow_run_id} of {row.run.warehouse} has {discarded} dead letters that were "
                    "discarded, and cannot be read again: start a new run of this window"
                )
            await chunks.replace_plan(connection, row, total, plan, mapping_digest)
            return (await chunks.get_run(connection, flow_run_id)).run

    async def find_newer(self, run: SyncRun) -> str | None:
        """Return a run that was planned after this one and is published in its window, or None."""
        async with self._database.reading() as connection:
            newer = await publishing.find_newer(connection, run)
        return next(iter(newer.values()), None)

    async def precedent(self, run: SyncRun) -> Precedent:
        """Return what is published already, to compare a run's window with."""
        async with self._database.reading() as connection:
            return await precedents.read_precedent(connection, run)

    async def count_ids(self, flow_run_id: str) -> IdCounts:
        """Count the source's own record ids that a run read, loaded or not."""
        async with self._database.reading() as connection:
            return await pages.count_ids(connection, flow_run_id)

    async def contested_names(self, flow_run_id: str) -> list[str]:
        """Return the names that more than one item of a run claims: own ids and aliases, in order."""
        async with self._database.reading() as connection:
            return await masters.contested_names(connection, flow_run_id)

    async def newest_master(self, source: str) -> str:
        """Return the published version of a source's master. Raises ConfigurationError if there is none."""
        async with self._database.reading() as connection:
            return await masters.newest_version(connection, source)

    async def load_master(self, version: MasterVersion) -> Master:
        """Load a version of a master with all its names. Raises ConfigurationError if it was pruned."""
        names = await self.names_of(version.version)
        if not (names.active or names.retired):
            raise ConfigurationError(
                f"version {version.version} of the master {version.source} is no longer in this store: "
                "start a new run of this window, which maps by the newest version"
            )
        return Master(version, names)

    async def names_of(self, version: str) -> Names:
        """Return all names of a version of a master; none if its items have been pruned."""
        async with self._database.reading() as connection:
            return await masters.read_names(connection, version)

    async def version_before(self, version: str) -> str | None:
        """Return the version of a master that was published before this one; None for the first."""
        async with self._database.reading() as connection:
            return await masters.version_before(connection, version)

    async def published_segments(self, source: str, warehouse: str, window: Window) -> list[PublishedSegment]:
        """Return the published segments of a window, by time."""
        async with self._database.reading() as connection:
            return await publishing.published_segments(connection, source, warehouse, window)

    async def stream(self, segment: PublishedSegment, size: int) -> AsyncGenerator[Sequence[Row[Any]], None]:
        """Yield the movements of a published segment, as `publishing.COLUMNS`, `size` at a time."""
        async with self._database.reading() as connection:
            async for rows in publishing.stream(connection, segment, size):
                yield rows

    async def publish(
        self,
        flow_run_id: str,
        report: str,
        verdict: Verdict = Verdict.COMPLETE,
        repairs: int | None = None,
    ) -> None:
        """Publish a proven window in one step, in place of what was published there.

        `report` is JSON text, stored with the run. A run that is published already stays as it is, and so
        does what a run that was planned later has published. Raises IncompleteWindowError if a chunk has not
        landed, if later runs cover the window, or if the plan after this number of repairs, which was proven,
        is no longer the run's.
        """
        async with self._database.writing() as connection:
            key = await publishing.publish(connection, flow_run_id, repairs)
            if key is not None:
                await chunks.close_run(connection, key, RunState.PUBLISHED, verdict, report)

    async def refuse(self, flow_run_id: str, report: str, held_rows: int | None = None) -> None:
        """Store the report of a window that was not proven. A run that has been published stays as it is.

        `held_rows` is the number of its rows if it was held because it would shrink.
        """
        async with self._database.writing() as connection:
            row = await publishing.lock_run(connection, flow_run_id)
            if row.run.state in (RunState.RUNNING, RunState.INCOMPLETE):
                await chunks.close_run(
                    connection, row.key, RunState.INCOMPLETE, Verdict.INCOMPLETE, report, held_rows
                )

    async def dead_letters(self, flow_run_id: str, limit: int | None = None) -> list[DeadLetter]:
        """Return a run's rejected records by position; at most `limit`, if given."""
        async with self._database.reading() as connection:
            return await pages.read_dead_letters(connection, flow_run_id, limit)

    async def published_warehouses(self) -> list[tuple[str, str]]:
        """Return each source and warehouse with published movements, in order."""
        async with self._database.reading() as connection:
            return await activity.read_warehouses(connection)

    async def activity(self, source: str, warehouse: str, period: Period) -> Activity:
        """Return the movements of a warehouse in a period, by SKU and local day, as published at this moment.

        Raises VelocityError if the sum of units is more than the database can hold.
        """
        async with self._database.snapshot() as connection:
            return await activity.read_activity(connection, source, warehouse, period)

    async def classes_before(self, source: str, warehouse: str, as_of: date) -> EarlierClasses | None:
        """Return each SKU's classes by the last refresh before `as_of`, or None if there is none."""
        async with self._database.reading() as connection:
            return await velocity.read_classes_before(connection, source, warehouse, as_of)

    async def current_classes(self, source: str, warehouse: str) -> list[SkuClass]:
        """Return the classes of a warehouse's SKUs by its newest refresh."""
        async with self._database.reading() as connection:
            return await velocity.read_current_classes(connection, source, warehouse)

    async def replace_velocity(self, refresh: Refresh, rows: Sequence[tuple[Any, ...]]) -> None:
        """Store a refresh, with rows as in `velocity.COLUMNS`, in place of an earlier one of the same day."""
        async with self._database.writing() as connection:
            await velocity.replace(connection, refresh, rows)

    async def statuses(
        self, source: str | None = None, warehouse: str | None = None
    ) -> list[WarehouseStatus]:
        """Return the status of each warehouse that has a run, or only of those asked for, in order."""
        async with self._database.reading() as connection:
            return await status.read_statuses(connection, source, warehouse)

    async def coverage(self, source: str, warehouse: str, span: Window) -> Coverage:
        """Return the published ranges and the open runs of a warehouse in a span of time."""
        async with self._database.reading() as connection:
            return await status.read_coverage(connection, source, warehouse, span)


async def migrate(url: str) -> str:
    """Migrate the store at this URL to the newest schema. Return its revision.

    Raises what `Store.open` raises, except for an older schema.
    """
    database = Database(url)
    try:
        return await schema.upgrade(database)
    finally:
        await database.close()

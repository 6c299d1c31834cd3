"""Publications: the time ranges in which each run is visible. Every instant has at most one run."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterable, Sequence
from contextlib import AbstractAsyncContextManager
from datetime import UTC, date, datetime
from typing import Any, NamedTuple

from sqlalchemy import BigInteger, ColumnElement, Row, delete, func, insert, select, type_coerce, update
from sqlalchemy.ext.asyncio import AsyncConnection

from sku_velocity.errors import IncompleteWindowError
from sku_velocity.model.chunk import ChunkState
from sku_velocity.model.publication import Cause, Difference, Publication
from sku_velocity.model.run import NO_WAREHOUSE, RunState, SyncRun, Verdict
from sku_velocity.model.status import Place
from sku_velocity.model.window import PublishedSegment, Window, cut_out
from sku_velocity.store.database import Repository
from sku_velocity.store.publication_rows import find_publication, get_publication, insert_publication
from sku_velocity.store.revision_rows import cause_of, compare_with_published
from sku_velocity.store.run_rows import (
    check_not_archived,
    check_plan,
    close_run,
    find_newer,
    is_overlapped_by,
    lock_run,
    overlapping,
)
from sku_velocity.store.tables import YEAR_ONE, chunks, movements, published_ranges, sync_runs


class _Range(NamedTuple):
    """A time range in which a run is published, by the run's key, and the publication that filled it."""

    run_key: int
    window: Window
    publication: int
    published_at: datetime


class Publications(Repository):
    """What is published of each source and warehouse."""

    async def publish(
        self,
        run_id: str,
        report: str,
        verdict: Verdict = Verdict.COMPLETE,
        repairs: int | None = None,
    ) -> Publication:
        """Publish a proven window in one step, in place of what was published there. Return the publication.

        `report` is JSON text, stored with the run. A run that is published already stays as it is, and so
        does what a run that was planned later has published. How the window's rows differ from what they
        replace is stored with the publication. Raises IncompleteWindowError if a chunk has not landed, if
        later runs cover the window, or if the plan after this number of repairs, which was proven, is no
        longer the run's.
        """
        async with self.database.writing() as connection:
            row = await lock_run(connection, run_id)
            if row.run.state is RunState.PUBLISHED:
                return await get_publication(connection, run_id)
            check_plan(run_id, row.run.repairs, repairs)
            await _check_publishable(connection, row.key, row.run)
            await check_not_archived(connection, row.run.source, row.run.warehouse, row.run.window)
            newer = await find_newer(connection, row.run)
            overlapped = await _read_overlapped(connection, row.run)
            kept = [each for each in overlapped if each.run_key in newer]
            segments = [row.run.window]
            for taken in kept:
                segments = [left for segment in segments for left in cut_out(segment, taken.window)]
            if not segments:
                raise _not_needed(row.run, newer.values())
            replaced = [each for each in overlapped if each.run_key not in newer]
            kept += [
                taken._replace(window=segment)
                for taken in replaced
                for segment in cut_out(taken.window, row.run.window)
            ]
            cause, difference = Cause.FIRST, Difference()
            if replaced:
                cause = await cause_of(connection, row.run, newer)
                difference = await compare_with_published(connection, row.key, row.run, newer)
            await close_run(connection, row.key, RunState.PUBLISHED, verdict, report)
            new = await insert_publication(connection, row.run, cause, difference)
            kept += [_Range(row.key, segment, new.publication, new.published_at) for segment in segments]
            await connection.execute(delete(published_ranges).where(is_overlapped_by(row.run)))
            await connection.execute(
                insert(published_ranges), [_range_values(row.run, each) for each in kept]
            )
            await _retire(connection, {each.run_key for each in replaced})
            return new

    async def of_run(self, run_id: str) -> Publication | None:
        """Return the publication in which a run became visible, not a later replay; None if it never was."""
        async with self.database.reading() as connection:
            return await find_publication(connection, run_id)

    async def segments(self, source: str, warehouse: str, window: Window) -> list[PublishedSegment]:
        """Return the published segments of a window, by time; there may be none, or gaps."""
        ranges = published_ranges.c
        found = (
            select(published_ranges, sync_runs.c.run_id, sync_runs.c.archived_to, sync_runs.c.archived_rows)
            .join(sync_runs)
            .where(overlapping(source, warehouse, window))
            .order_by(ranges.range_start)
        )
        async with self.database.reading() as connection:
            return [
                PublishedSegment(
                    row.run_key,
                    row.run_id,
                    Window(max(row.range_start, window.start), min(row.range_end, window.end)),
                    row.publication,
                    row.published_at,
                    row.archived_to if row.archived_rows else None,
                )
                for row in await connection.execute(found)
            ]

    async def days(self, source: str, warehouse: str, window: Window) -> set[date]:
        """Return the UTC dates on which a window has published movements."""
        ranges, moved = published_ranges.c, movements.c
        async with self.database.reading() as connection:
            found = (
                select(_utc_date(connection.dialect.name, moved.timestamp_utc))
                .join(published_ranges, ranges.run_key == moved.run_key)
                .where(
                    overlapping(source, warehouse, window),
                    moved.timestamp_utc >= ranges.range_start,
                    moved.timestamp_utc < ranges.range_end,
                    moved.timestamp_utc >= window.start,
                    moved.timestamp_utc < window.end,
                )
                .distinct()
            )
            return {date.fromisoformat(day) for day in (await connection.execute(found)).scalars()}

    async def stream(
        self, segment: PublishedSegment, columns: Sequence[str], size: int
    ) -> AsyncGenerator[Sequence[Row[Any]], None]:
        """Yield these columns of a segment's movements by time and position, at most `size` at a time."""
        found = (
            select(*(movements.c[name] for name in columns))
            .where(
                movements.c.run_key == segment.run_key,
                movements.c.timestamp_utc >= segment.window.start,
                movements.c.timestamp_utc < segment.window.end,
            )
            .order_by(movements.c.timestamp_utc, movements.c.position)
            .execution_options(yield_per=size)
        )
        async with self.database.reading() as connection:
            async for rows in (await connection.stream(found)).partitions(size):
                yield rows

    async def check_not_archived(self, source: str, warehouse: str, window: Window) -> None:
        """Check that a window may be read again. Raises IncompleteWindowError if a part of it is archived."""
        async with self.database.reading() as connection:
            await check_not_archived(connection, source, warehouse, window)

    def exporting(self, source: str, warehouse: str) -> AbstractAsyncContextManager[None]:
        """Hold the lock of a warehouse's exported files. Raises as `Database.exclusive` does."""
        return self.database.exclusive("export", source, warehouse)

    async def warehouses(self) -> list[Place]:
        """Return each source and warehouse with published movements, in order."""
        ranges = published_ranges.c
        of_warehouses = ranges.warehouse_id != NO_WAREHOUSE  # a master has none
        pairs = select(ranges.source, ranges.warehouse_id).where(of_warehouses).distinct()
        async with self.database.reading() as connection:
            return sorted(Place(row.source, row.warehouse_id) for row in await connection.execute(pairs))


async def _check_publishable(connection: AsyncConnection, key: int, run: SyncRun) -> None:
    if run.state is RunState.SUPERSEDED:
        raise IncompleteWindowError(
            f"run {run.id} of {run.warehouse} from {run.source}, {run.window}, was superseded by a later one "
            "and cannot be published: start a new run of this window"
        )
    if unlanded := await _count_unlanded(connection, key):
        raise IncompleteWindowError(
            f"run {run.id} of {run.warehouse} from {run.source}, {run.window}: {unlanded} of its chunks have "
            "not landed: retry the run, which reads only those"
        )


async def _count_unlanded(connection: AsyncConnection, key: int) -> int:
    unlanded = select(func.count()).where(chunks.c.run_key == key, chunks.c.state != ChunkState.LANDED)
    return (await connection.execute(unlanded)).scalar_one()


def _not_needed(run: SyncRun, newer: Iterable[str]) -> IncompleteWindowError:
    return IncompleteWindowError(
        f"run {run.id} of {run.warehouse} from {run.source}, {run.window}: runs that were planned later "
        f"({', '.join(newer)}) are published in all of its window, so its rows may be older and "
        "are not needed: Retry reads the window again"
    )


async def _read_overlapped(connection: AsyncConnection, run: SyncRun) -> list[_Range]:
    rows = await connection.execute(select(published_ranges).where(is_overlapped_by(run)))
    return [
        _Range(row.run_key, Window(row.range_start, row.range_end), row.publication, row.published_at)
        for row in rows
    ]


def _utc_date(dialect: str, instant: ColumnElement[datetime]) -> ColumnElement[str]:
    if dialect == "sqlite":
        since_year_one = type_coerce(instant, BigInteger) + YEAR_ONE * 1_000_000  # or it would round up
        return func.date(since_year_one // 1_000_000 - YEAR_ONE, "unixepoch")
    return func.to_char(func.timezone("UTC", instant), "YYYY-MM-DD")


def _range_values(run: SyncRun, published: _Range) -> dict[str, Any]:
    return {
        "source": run.source,
        "warehouse_id": run.warehouse,
        "range_start": published.window.start,
        "range_end": published.window.end,
        "run_key": published.run_key,
        "publication": published.publication,
        "published_at": published.published_at,
    }


async def _retire(connection: AsyncConnection, keys: set[int]) -> None:
    """Mark the runs that are no longer published anywhere as superseded."""
    visible = select(published_ranges.c.run_key)
    await connection.execute(
        update(sync_runs)
        .where(sync_runs.c.run_key.in_(keys), sync_runs.c.run_key.not_in(visible))
        .values(state=RunState.SUPERSEDED, superseded_at=datetime.now(UTC))
    )

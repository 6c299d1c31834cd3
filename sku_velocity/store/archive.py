"""The archive: published windows whose movements are in files instead of the store."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, Select, and_, bindparam, exists, func, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from sku_velocity.model.coverage import gaps
from sku_velocity.model.run import NO_WAREHOUSE, RunState
from sku_velocity.model.status import Place
from sku_velocity.model.window import Window
from sku_velocity.store.database import Repository
from sku_velocity.store.pruning import DeletedBatch, delete_batch
from sku_velocity.store.rollup_days import is_up_to_date
from sku_velocity.store.run_rows import lock_warehouse
from sku_velocity.store.tables import movements, published_ranges, pushes, sync_runs

SPAN, RUNS = timedelta(days=7), 500  # of a batch, at most
LOWER = 2**32 - 1  # the lower bits of 64

runs, ranges, moved = sync_runs.c, published_ranges.c, movements.c


class RunRange(NamedTuple):
    """A range in which a run is published, and the publication that last changed its rows."""

    run_key: int
    run_id: str
    window: Window
    publication: int


class Content(NamedTuple):
    """What identifies the published movements of a run: their number, and the sums of positions and units.

    The units are summed as their upper and their lower 32 bits: their sum may have more than 64.
    """

    rows: int = 0
    positions: int = 0
    upper: int = 0
    lower: int = 0

    @property
    def units(self) -> int:
        return (self.upper << 32) + self.lower


@dataclass(frozen=True)
class ArchiveBatch:
    """Runs of a warehouse to archive together, as all the ranges in which they are published, by time."""

    source: str
    warehouse: str
    ranges: tuple[RunRange, ...]

    @property
    def end(self) -> datetime:
        return max(each.window.end for each in self.ranges)

    @property
    def stretches(self) -> list[Window]:
        """The stretches of time that the ranges cover; no two are adjacent."""
        windows = [each.window for each in self.ranges]
        span = Window(windows[0].start, self.end)
        return gaps(span, gaps(span, windows))


class Archive(Repository):
    """Finds windows that are old enough, and makes their movements invisible once they are in files.

    A run is old enough if its window ended, and each of its ranges was published, before the cutoff. Its
    movements are hidden in one step, and then deleted in batches: an interrupted deletion is resumed by the
    next prune. The run stays published.
    """

    async def places(self, cutoff: datetime) -> list[Place]:
        """Return each source and warehouse with a run to archive, in order."""
        pairs = select(runs.source, runs.warehouse_id).where(_is_due(cutoff)).distinct()
        async with self.database.reading() as connection:
            return sorted(Place(*row) for row in await connection.execute(pairs))

    async def batches(self, place: Place, cutoff: datetime) -> list[ArchiveBatch]:
        """Return the runs of a warehouse to archive, oldest first, each in one batch."""
        found = _select_ranges(
            and_(runs.source == place.source, runs.warehouse_id == place.warehouse, _is_due(cutoff))
        )
        async with self.database.reading() as connection:
            published = await _read_ranges(connection, found)
        return [ArchiveBatch(*place, tuple(each)) for each in _split(published)]

    async def count(self, cutoff: datetime) -> tuple[int, int]:
        """Count the runs to archive, and the movements of which archiving would free the store."""
        due = select(runs.run_key).where(_is_due(cutoff))
        is_freed = moved.run_key.in_(due.union(_select_archived()))
        async with self.database.reading() as connection:
            number = (await connection.execute(select(func.count()).select_from(due.subquery()))).scalar_one()
            rows = await connection.execute(select(func.count()).select_from(movements).where(is_freed))
            return number, rows.scalar_one()

    async def contents(self, batch: ArchiveBatch) -> dict[str, Content]:
        """Return the contents of the runs that were not changed since the batch was read, by id."""
        in_range = and_(moved.timestamp_utc >= ranges.range_start, moved.timestamp_utc < ranges.range_end)
        upper, lower = moved.units_moved // (LOWER + 1), moved.units_moved % (LOWER + 1)  # never negative
        async with self.database.snapshot() as connection:
            unchanged = await _read_unchanged(connection, batch)
            found = (
                select(moved.run_key, func.count(), *map(func.sum, (moved.position, upper, lower)))
                .join(published_ranges, and_(ranges.run_key == moved.run_key, in_range))
                .where(moved.run_key.in_(unchanged))
                .group_by(moved.run_key)
            )
            rows = await connection.execute(found)
            counted = {key: Content(*map(int, sums)) for key, *sums in rows}
        return {run_id: counted.get(key, Content()) for key, run_id in unchanged.items()}

    async def mark(self, batch: ArchiveBatch, archived_to: str, contents: Mapping[str, Content]) -> int:
        """Hide the movements of runs with these contents, which are in files. Return the number of runs.

        Runs that were changed since the batch was read are left, and so are all if days of the rollup are
        out of date: the next prune archives them.
        """
        async with self.database.writing() as connection:
            await lock_warehouse(connection, batch.ranges[0].run_id)
            if not await is_up_to_date(connection, batch.source, batch.warehouse, batch.end):
                return 0
            unchanged = await _read_unchanged(connection, batch)
            # A batch of a push that is being cut is cut before.
            begun = select(pushes.c.run_key).where(pushes.c.run_key.in_(unchanged))
            await connection.execute(begun.order_by(pushes.c.run_key).with_for_update())
            values = [
                {"key": key, "rows": contents[run_id].rows}
                for key, run_id in unchanged.items()
                if run_id in contents
            ]
            if values:
                to = {"archived_at": datetime.now(UTC), "archived_to": archived_to}
                marked = update(sync_runs).where(runs.run_key == bindparam("key"))
                await connection.execute(marked.values(**to, archived_rows=bindparam("rows")), values)
            return len(values)

    async def find_marked(self) -> list[int]:
        """Return the keys of the archived runs whose movements are not all deleted."""
        async with self.database.reading() as connection:
            found = _select_archived().where(exists().where(moved.run_key == runs.run_key))
            return list((await connection.execute(found.order_by(runs.run_key))).scalars())

    async def delete_batch(self, key: int, limit: int) -> DeletedBatch:
        """Delete up to `limit` movements of an archived run."""
        async with self.database.writing() as connection:
            return await delete_batch(connection, {movements: moved.run_key == key}, limit)


def _is_due(cutoff: datetime) -> ColumnElement[bool]:
    """Return the condition for a run to be archived."""
    others = published_ranges.alias().c
    is_recent = exists().where(others.run_key == runs.run_key, others.published_at >= cutoff)
    return and_(
        runs.state == RunState.PUBLISHED,
        runs.warehouse_id != NO_WAREHOUSE,
        runs.archived_at.is_(None),
        runs.window_end <= cutoff,
        ~is_recent,
    )


def _select_archived() -> Select[int]:
    return select(runs.run_key).where(runs.archived_at.is_not(None))


def _select_ranges(of_runs: ColumnElement[bool]) -> Select[Any]:
    columns = runs.run_key, runs.run_id, ranges.range_start, ranges.range_end, ranges.publication
    return select(*columns).join(published_ranges).where(of_runs).order_by(ranges.range_start)


async def _read_ranges(connection: AsyncConnection, found: Select[Any]) -> list[RunRange]:
    return [
        RunRange(row.run_key, row.run_id, Window(row.range_start, row.range_end), row.publication)
        for row in await connection.execute(found)
    ]


async def _read_unchanged(connection: AsyncConnection, batch: ArchiveBatch) -> dict[int, str]:
    """Return the runs of a batch that are published as when it was read, and not archived: ids by key."""
    then = _by_run(batch.ranges)
    is_open = and_(runs.run_key.in_(then), runs.archived_at.is_(None))
    now = _by_run(await _read_ranges(connection, _select_ranges(is_open)))
    return {key: found[0].run_id for key, found in now.items() if found == then[key]}


def _by_run(published: Iterable[RunRange]) -> dict[int, list[RunRange]]:
    grouped: defaultdict[int, list[RunRange]] = defaultdict(list)
    for each in published:
        grouped[each.run_key].append(each)
    return grouped


def _split(published: Sequence[RunRange]) -> list[list[RunRange]]:
    """Split ranges in order of time into batches, each in order of time, with all ranges of its runs."""
    batches: list[list[RunRange]] = []
    for of_run in _by_run(published).values():
        start = of_run[0].window.start
        if not batches or start - batches[-1][0].window.start >= SPAN or len(batches[-1]) >= RUNS:
            batches.append([])
        batches[-1] += of_run
    return [sorted(batch, key=lambda each: each.window.start) for batch in batches]

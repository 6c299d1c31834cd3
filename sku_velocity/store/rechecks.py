"""Rechecks: published windows to compare with their source, and what is known of them."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Row, and_, delete, func, literal, or_, select, union_all, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncConnection

from sku_velocity.model.dead_letter import VALIDATION, DeadLetterState
from sku_velocity.model.movement import DeadLetter, MovementRow
from sku_velocity.model.recheck import PublishedWindow
from sku_velocity.model.run import NO_WAREHOUSE, RunState, SyncRun
from sku_velocity.model.window import Window
from sku_velocity.store.database import Repository
from sku_velocity.store.letter_rows import to_letter
from sku_velocity.store.run_rows import is_overlapped_by, lock_run, to_run
from sku_velocity.store.tables import (
    chunks,
    dead_letters,
    movements,
    published_ranges,
    rechecks,
    sync_runs,
    unloaded_ids,
)

KEYS_PER_STATEMENT = 500  # SQLite binds at most 999 values

runs, ranges = sync_runs.c, published_ranges.c
_CONTENT = [movements.c[name] for name in MovementRow._fields if name != "position"]


class Rechecks(Repository):
    """What rechecks know of published windows."""

    async def windows(
        self, source: str, published_since: datetime, warehouses: Collection[str] | None = None
    ) -> list[PublishedWindow]:
        """Return a source's windows that were published since an instant, or have reported changes.

        Archived ones are final, and not returned.
        """
        found = (
            select(sync_runs, ranges.range_start, ranges.range_end)
            .join(published_ranges, ranges.run_key == runs.run_key)
            .where(
                runs.source == source,
                runs.warehouse_id != NO_WAREHOUSE,
                runs.archived_at.is_(None),
                or_(runs.finished_at >= published_since, runs.changed_at.is_not(None)),
            )
            .order_by(runs.run_key, ranges.range_start)
        )
        windows: dict[int, PublishedWindow] = {}
        async with self.database.reading() as connection:
            for row in await connection.execute(found):
                if warehouses is None or row.warehouse_id in warehouses:
                    earlier = windows.get(row.run_key)
                    windows[row.run_key] = _to_window(row, earlier.ranges if earlier else ())
        return list(windows.values())

    async def warehouses(self, source: str) -> list[tuple[str, Window]]:
        """Return each warehouse of a source, and the span of its windows that are published or being read."""
        spans = (
            select(
                runs.warehouse_id,
                func.min(runs.window_start).label("start"),
                func.max(runs.window_end).label("end"),
            )
            .where(
                runs.source == source,
                runs.warehouse_id != NO_WAREHOUSE,
                runs.state != RunState.SUPERSEDED,
            )
            .group_by(runs.warehouse_id)
            .order_by(runs.warehouse_id)
        )
        async with self.database.reading() as connection:
            return [(row.warehouse_id, Window(row.start, row.end)) for row in await connection.execute(spans)]

    async def stored(self, run_id: str, start: int, end: int) -> tuple[list[MovementRow], list[DeadLetter]]:
        """Return a run's movements and its rejects at positions from `start` to before `end`."""
        rows = (
            select(*(movements.c[name] for name in MovementRow._fields))
            .join(sync_runs, runs.run_key == movements.c.run_key)
            .where(runs.run_id == run_id, movements.c.position >= start, movements.c.position < end)
        )
        letters = dead_letters.c
        rejects = (
            select(dead_letters)
            .join(sync_runs, runs.run_key == letters.run_key)
            .where(runs.run_id == run_id, letters.position >= start, letters.position < end, _is_reject())
        )
        async with self.database.reading() as connection:
            return (
                [MovementRow(*row) for row in await connection.execute(rows)],
                [to_letter(row) for row in await connection.execute(rejects)],
            )

    async def note_look(self, run: SyncRun, looked_at: datetime, *, is_unchanged: bool) -> None:
        """Note a look at a published run that began at this instant, and whether it is as in the source."""
        async with self.database.writing() as connection:
            which = runs.run_id == run.id
            await connection.execute(update(sync_runs).where(which).values(looked_at=looked_at))
            if is_unchanged:
                await _settle(connection, which, looked_at)
            await _note(connection, run.source, run.warehouse, rechecked_at=looked_at)

    async def discard_unchanged(self, run_id: str, looked_at: datetime) -> bool:
        """Delete a proven run if its window is published with the same rows and rejects already.

        Then mark what is published there as unchanged since `looked_at`. Return False, and delete nothing, if
        anything differs, or if what is published was read by another spec or as a part of another window.
        """
        async with self.database.writing() as connection:
            row = await lock_run(connection, run_id)
            if not row.run.is_open or await _differs(connection, row.key, row.run):
                return False
            published = select(ranges.run_key).where(is_overlapped_by(row.run))
            await _settle(connection, runs.run_key.in_(published), looked_at)
            for table in (movements, unloaded_ids, dead_letters, chunks, sync_runs):
                await connection.execute(delete(table).where(table.c.run_key == row.key))
        return True

    async def asked_at(self, source: str, warehouse: str) -> datetime | None:
        """Return up to when the source was asked for changed records of a warehouse; None if it never was."""
        found = select(rechecks.c.asked_at).where(
            rechecks.c.source == source, rechecks.c.warehouse_id == warehouse
        )
        async with self.database.reading() as connection:
            return (await connection.execute(found)).scalar_one_or_none()

    async def note_changes(
        self, source: str, warehouse: str, instants: Collection[datetime], asked_at: datetime
    ) -> int:
        """Mark the windows of a warehouse with records that the source reported as changed by `asked_at`.

        A run that is still being read is marked too: it may have read them before they changed. Return the
        number of archived windows with such records, which are final and not marked.
        """
        in_order, keys, archived = sorted(instants), list[int](), 0
        async with self.database.writing() as connection:
            if in_order:
                keys, archived = await _find_runs_with(connection, source, warehouse, in_order)
                for first in range(0, len(keys), KEYS_PER_STATEMENT):
                    some = runs.run_key.in_(keys[first : first + KEYS_PER_STATEMENT])
                    await connection.execute(update(sync_runs).where(some).values(changed_at=asked_at))
            await _note(connection, source, warehouse, asked_at=asked_at)
        return archived


def _to_window(row: Row[Any], earlier: tuple[Window, ...]) -> PublishedWindow:
    return PublishedWindow(
        run=to_run(row).run,
        ranges=(*earlier, Window(row.range_start, row.range_end)),
        read_at=row.created_at,
        looked_at=row.looked_at,
        unchanged_at=row.unchanged_at,
        changed_at=row.changed_at,
    )


def _is_reject() -> ColumnElement[bool]:
    """Return the condition for a dead letter to be a record that is not loaded."""
    letters = dead_letters.c
    return and_(letters.stage == VALIDATION, letters.state != DeadLetterState.REPLAYED)


async def _settle(connection: AsyncConnection, which: ColumnElement[bool], looked_at: datetime) -> None:
    """Mark runs as unchanged; changes that were reported since the look began are left to the next one."""
    await connection.execute(update(sync_runs).where(which).values(unchanged_at=looked_at))
    is_outdated = runs.changed_at <= looked_at
    await connection.execute(update(sync_runs).where(which, is_outdated).values(changed_at=None))


async def _note(connection: AsyncConnection, source: str, warehouse: str, **values: datetime) -> None:
    dialect = postgresql if connection.dialect.name == "postgresql" else sqlite
    place = {"source": source, "warehouse_id": warehouse}
    statement = dialect.insert(rechecks).values(**place, **values)
    await connection.execute(statement.on_conflict_do_update(index_elements=[*place], set_=values))


async def _find_runs_with(
    connection: AsyncConnection, source: str, warehouse: str, in_order: Sequence[datetime]
) -> tuple[list[int], int]:
    """Return the keys of the runs, published or open, whose window contains any of these instants.

    And the number of such runs that are archived.
    """
    found = select(runs.run_key, runs.window_start, runs.window_end, runs.archived_at).where(
        runs.source == source,
        runs.warehouse_id == warehouse,
        runs.state != RunState.SUPERSEDED,
        runs.window_start <= in_order[-1],
        runs.window_end > in_order[0],
    )
    containing = [
        row
        for row in await connection.execute(found)
        if bisect_left(in_order, row.window_start) < bisect_left(in_order, row.window_end)
    ]
    keys = [row.run_key for row in containing if row.archived_at is None]
    return keys, len(containing) - len(keys)


async def _differs(connection: AsyncConnection, key: int, run: SyncRun) -> bool:
    """Return True if a run's rows or rejects are not those that are published as its window."""
    as_this = and_(
        runs.window_start == run.window.start,
        runs.window_end == run.window.end,
        runs.mapping_digest == run.mapping_digest,
    )
    comparable = select(as_this).join(published_ranges, ranges.run_key == runs.run_key)
    if (await connection.execute(comparable.where(is_overlapped_by(run)))).scalars().all() != [True]:
        return True
    moved_at, letters = movements.c.timestamp_utc, dead_letters.c
    is_published = and_(
        movements.c.run_key == ranges.run_key,
        moved_at >= ranges.range_start,
        moved_at < ranges.range_end,
        moved_at >= run.window.start,
        moved_at < run.window.end,
    )
    published = select(ranges.run_key).where(is_overlapped_by(run))
    rows = (
        select(*_CONTENT, literal(1).label("side")).where(movements.c.run_key == key),
        select(*_CONTENT, literal(-1)).where(is_overlapped_by(run), is_published),
    )
    rejects = (
        select(letters.record_json, literal(1).label("side")).where(letters.run_key == key, _is_reject()),
        select(letters.record_json, literal(-1)).where(letters.run_key.in_(published), _is_reject()),
    )
    for sides in (rows, rejects):
        both = union_all(*sides).subquery()
        content = [column for column in both.c if column.name != "side"]
        surplus = (
            select(literal(1))
            .select_from(both)
            .group_by(*content)
            .having(func.sum(both.c.side) != 0)
            .limit(1)
        )
        if (await connection.execute(surplus)).first():
            return True
    return False

"""Pruning: find expired runs, dead letters and velocity refreshes, and delete them in batches."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass, field
from datetime import date, datetime

from sqlalchemy import ColumnElement, Table, and_, delete, exists, func, or_, select, text, tuple_, update
from sqlalchemy.ext.asyncio import AsyncConnection

from sku_velocity.model.dead_letter import DeadLetterState
from sku_velocity.model.run import OPEN, MasterVersion, RunState
from sku_velocity.store.database import Repository, lock
from sku_velocity.store.run_rows import lock_warehouse
from sku_velocity.store.tables import (
    chunks,
    dead_letters,
    item_aliases,
    items,
    movements,
    published_ranges,
    pushes,
    removed_rows,
    revised_engines,
    revised_rows,
    sync_runs,
    unloaded_ids,
    velocity_figures,
    velocity_refreshes,
)

RUN_TABLES = (
    movements,
    unloaded_ids,
    item_aliases,
    items,
    dead_letters,
    pushes,
    revised_rows,
    removed_rows,
    revised_engines,
    chunks,
)
PRUNED_PREFIX = "pruned:"  # of the id of a run that is being deleted, so that it is not resumed or pushed

runs, ranges, refreshes, figures = sync_runs.c, published_ranges.c, velocity_refreshes.c, velocity_figures.c


@dataclass(frozen=True)
class Cutoffs:
    """What is older may be deleted: runs superseded before, unpublished runs without activity since, dead
    letters closed before, refreshes as of."""

    superseded: datetime
    unpublished: datetime
    letters: datetime
    velocity: date


@dataclass(frozen=True)
class RefreshKey:
    """The key of a refresh: source, warehouse, and the local day that it is as of."""

    source: str
    warehouse: str
    as_of: date


@dataclass(frozen=True)
class DeletedBatch:
    """The rows that one step deleted, by table, and whether it was the last step."""

    is_last: bool
    rows: Counter[str] = field(default_factory=Counter)


class Pruning(Repository):
    """Finds what may be deleted, and deletes it in batches.

    A run may be deleted if it is not published and no run that is published or may be resumed is mapped by
    it; the newest refresh of a warehouse is never deleted. A run is first hidden (`mark_for_deletion`): an
    interrupted prune is resumed by the next one.
    """

    async def find_runs(self, cutoffs: Cutoffs) -> list[int]:
        """Return the keys of the prunable runs, the oldest first."""
        async with self.database.reading() as connection:
            prunable = await _prunable(connection, cutoffs)
            keys = select(runs.run_key).where(prunable).order_by(runs.run_key)
            return list((await connection.execute(keys)).scalars())

    async def find_refreshes(self, cutoffs: Cutoffs) -> list[RefreshKey]:
        """Return the prunable refreshes."""
        async with self.database.reading() as connection:
            keys = select(refreshes.source, refreshes.warehouse_id, refreshes.as_of).where(_is_old(cutoffs))
            return [RefreshKey(*row) for row in await connection.execute(keys)]

    async def count(self, cutoffs: Cutoffs) -> Counter[str]:
        """Count the prunable rows, by table."""
        counts: Counter[str] = Counter()
        async with self.database.snapshot() as connection:
            prunable = await _prunable(connection, cutoffs)
            keys = select(runs.run_key).where(prunable)
            counted = {table: table.c.run_key.in_(keys) for table in RUN_TABLES} | {sync_runs: prunable}
            counted[dead_letters] = or_(counted[dead_letters], _is_closed(cutoffs))
            counted[velocity_refreshes] = _is_old(cutoffs)
            old = select(refreshes.source, refreshes.warehouse_id, refreshes.as_of).where(_is_old(cutoffs))
            counted[velocity_figures] = tuple_(figures.source, figures.warehouse_id, figures.as_of).in_(old)
            for table, condition in counted.items():
                rows = await connection.execute(select(func.count()).select_from(table).where(condition))
                counts[table.name] = rows.scalar_one()
        return +counts

    async def mark_for_deletion(self, key: int, cutoffs: Cutoffs) -> bool:
        """Hide a run before its deletion. Return False if it may no longer be deleted: it was resumed."""
        async with self.database.writing() as connection:
            found = await connection.execute(select(sync_runs).where(runs.run_key == key))
            row = found.one_or_none()
            if row is None or row.run_id.startswith(PRUNED_PREFIX):
                return row is not None
            await lock_warehouse(connection, row.run_id)
            prunable = await _prunable(connection, cutoffs)
            hidden = await connection.execute(
                update(sync_runs)
                .where(runs.run_key == key, prunable)
                .values(run_id=PRUNED_PREFIX + row.run_id, flow_run_id=None, state=RunState.SUPERSEDED)
            )
            return hidden.rowcount == 1

    async def delete_run_batch(self, key: int, limit: int) -> DeletedBatch:
        """Delete up to `limit` rows of a marked run; with the last of them the run itself."""
        async with self.database.writing() as connection:
            # Once we hold these locks, a page or a push in progress when the run was marked has ended. They
            # are in the order in which a push and a page take them.
            for table in (pushes, chunks, sync_runs):
                locked = select(table.c.run_key).where(table.c.run_key == key).with_for_update()
                await connection.execute(locked)
            deleted = await delete_batch(
                connection, {table: table.c.run_key == key for table in RUN_TABLES}, limit
            )
            if deleted.is_last:
                deleted.rows["sync_runs"] += (
                    await connection.execute(delete(sync_runs).where(runs.run_key == key))
                ).rowcount
        return deleted

    async def delete_letter_batch(self, cutoffs: Cutoffs, limit: int) -> DeletedBatch:
        """Delete up to `limit` dead letters of published runs that were closed before the cutoff."""
        async with self.database.writing() as connection:
            return await delete_batch(connection, {dead_letters: _is_closed(cutoffs)}, limit)

    async def delete_refresh_batch(self, refresh: RefreshKey, limit: int) -> DeletedBatch:
        """Delete up to `limit` rows of an old refresh; with the last of them the refresh itself."""
        async with self.database.writing() as connection:
            await lock(connection, "velocity", refresh.source, refresh.warehouse)
            of_refresh = {
                table: and_(
                    table.c.source == refresh.source,
                    table.c.warehouse_id == refresh.warehouse,
                    table.c.as_of == refresh.as_of,
                )
                for table in (velocity_figures, velocity_refreshes)
            }
            return await delete_batch(connection, of_refresh, limit)

    async def free_bytes(self) -> int | None:
        """Return the bytes that VACUUM would free in a SQLite file; None if the database vacuums itself."""
        async with self.database.reading() as connection:
            if connection.dialect.name != "sqlite":
                return None
            pages = (await connection.execute(text("PRAGMA freelist_count"))).scalar_one()
            return int(pages) * int((await connection.execute(text("PRAGMA page_size"))).scalar_one())


async def _prunable(connection: AsyncConnection, cutoffs: Cutoffs) -> ColumnElement[bool]:
    """Return the condition for a run to be prunable."""
    is_published = exists().where(ranges.run_key == runs.run_key)
    superseded_at = func.coalesce(runs.superseded_at, runs.finished_at, runs.created_at)
    has_landed = exists().where(chunks.c.run_key == runs.run_key, chunks.c.landed_at >= cutoffs.unpublished)
    is_expired = or_(
        runs.run_id.startswith(PRUNED_PREFIX),
        and_(runs.state == RunState.SUPERSEDED, superseded_at < cutoffs.superseded),
        and_(
            runs.state.in_(OPEN),
            runs.created_at < cutoffs.unpublished,
            func.coalesce(runs.finished_at, runs.created_at) < cutoffs.unpublished,
            ~has_landed,
        ),
    )
    return and_(is_expired, ~is_published, runs.run_id.not_in(await _versions_in_use(connection)))


async def _versions_in_use(connection: AsyncConnection) -> Collection[str]:
    """Return the master versions of runs that are published or may still be resumed."""
    in_use = select(runs.master).where(runs.master.is_not(None), runs.state != RunState.SUPERSEDED).distinct()
    masters = (await connection.execute(in_use)).scalars()
    return {MasterVersion.model_validate_json(master).version for master in masters}


def _is_old(cutoffs: Cutoffs) -> ColumnElement[bool]:
    """Return the condition for a refresh to be prunable."""
    others = velocity_refreshes.alias()
    newest = (
        select(func.max(others.c.as_of))
        .where(others.c.source == refreshes.source, others.c.warehouse_id == refreshes.warehouse_id)
        .scalar_subquery()
    )
    return and_(refreshes.as_of < cutoffs.velocity, refreshes.as_of < newest)


def _is_closed(cutoffs: Cutoffs) -> ColumnElement[bool]:
    """Return the condition for a dead letter to be prunable though its run stays.

    Only those of published runs are: the dead letters of a run that may be read again are never deleted.
    """
    letters, published = dead_letters.c, select(runs.run_key).where(runs.state == RunState.PUBLISHED)
    return and_(
        letters.state != DeadLetterState.OPEN,
        letters.changed_at < cutoffs.letters,
        letters.run_key.in_(published),
    )


async def delete_batch(
    connection: AsyncConnection, conditions: dict[Table, ColumnElement[bool]], limit: int
) -> DeletedBatch:
    """Delete up to `limit` of these rows, one table after the other."""
    rows: Counter[str] = Counter()
    for table, condition in conditions.items():
        key = list(table.primary_key)
        some = select(*key).where(condition).limit(limit - rows.total())
        result = await connection.execute(delete(table).where(condition, tuple_(*key).in_(some)))
        rows[table.name] += result.rowcount
        if rows.total() >= limit:
            return DeletedBatch(False, rows)
    return DeletedBatch(True, rows)

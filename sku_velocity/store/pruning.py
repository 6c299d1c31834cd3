"""What the store may forget: runs that show nowhere, and old velocity; found, and deleted step by step."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass, field
from datetime import date, datetime

from sqlalchemy import ColumnElement, Table, and_, delete, exists, func, or_, select, text, tuple_, update
from sqlalchemy.ext.asyncio import AsyncConnection

from sku_velocity.model.dead_letter import DeadLetterState
from sku_velocity.model.run import MasterVersion, RunState
from sku_velocity.store.database import Database, lock
from sku_velocity.store.tables import (
    chunks,
    dead_letters,
    item_aliases,
    items,
    movements,
    published_ranges,
    pushes,
    sync_runs,
    velocity_figures,
    velocity_refreshes,
)

OF_A_RUN = (movements, item_aliases, items, dead_letters, pushes, chunks)
GONE = "pruned:"  # before the id of a run that is being deleted, so that nobody resumes or pushes it

runs, ranges, refreshes, figures = sync_runs.c, published_ranges.c, velocity_refreshes.c, velocity_figures.c


@dataclass(frozen=True)
class Cutoffs:
    """What is older may go: runs superseded before, runs that nothing happened to since, letters closed
    before, refreshes as of."""

    superseded: datetime
    unpublished: datetime
    letters: datetime
    velocity: date


@dataclass(frozen=True)
class RefreshKey:
    """Which refresh: of a source's warehouse, as of a local day."""

    source: str
    warehouse: str
    as_of: date


@dataclass(frozen=True)
class DeletedBatch:
    """The rows that one step has deleted, by table, and whether it was the last one."""

    is_last: bool
    rows: Counter[str] = field(default_factory=Counter)


class Pruning:
    """What may be forgotten, and the steps that delete it: each method is one transaction.

    A run goes where it shows nowhere and no run that may still be read or shown is mapped by it; the newest
    refresh of a warehouse never goes. A run is first taken out of everybody's sight (`mark_for_deletion`):
    what breaks off then is found and gone on with the next time. Raises what `Store` raises.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    async def find_runs(self, cutoffs: Cutoffs) -> list[int]:
        """The keys of the runs that may go, the oldest first."""
        async with self._database.reading() as connection:
            doomed = await _prunable(connection, cutoffs)
            return list(
                (
                    await connection.execute(select(runs.run_key).where(doomed).order_by(runs.run_key))
                ).scalars()
            )

    async def find_refreshes(self, cutoffs: Cutoffs) -> list[RefreshKey]:
        """The refreshes that may go."""
        async with self._database.reading() as connection:
            keys = select(refreshes.source, refreshes.warehouse_id, refreshes.as_of).where(_is_old(cutoffs))
            return [RefreshKey(*row) for row in await connection.execute(keys)]

    async def count(self, cutoffs: Cutoffs) -> Counter[str]:
        """How many rows may go, by table."""
        counts: Counter[str] = Counter()
        async with self._database.snapshot() as connection:
            doomed = await _prunable(connection, cutoffs)
            keys = select(runs.run_key).where(doomed)
            counted = {table: table.c.run_key.in_(keys) for table in OF_A_RUN} | {sync_runs: doomed}
            counted[dead_letters] = or_(counted[dead_letters], _is_closed(cutoffs))
            counted[velocity_refreshes] = _is_old(cutoffs)
            old = select(refreshes.source, refreshes.warehouse_id, refreshes.as_of).where(_is_old(cutoffs))
            counted[velocity_figures] = tuple_(figures.source, figures.warehouse_id, figures.as_of).in_(old)
            for table, condition in counted.items():
                rows = await connection.execute(select(func.count()).select_from(table).where(condition))
                counts[table.name] = rows.scalar_one()
        return +counts

    async def mark_for_deletion(self, key: int, cutoffs: Cutoffs) -> bool:
        """Take a run out of sight; False where it may not go after all: somebody has gone on with it."""
        async with self._database.writing() as connection:
            found = await connection.execute(select(sync_runs).where(runs.run_key == key))
            row = found.one_or_none()
            if row is None or row.flow_run_id.startswith(GONE):
                return row is not None
            await lock(connection, "publish", row.source, row.warehouse_id)
            doomed = await _prunable(connection, cutoffs)
            hidden = await connection.execute(
                update(sync_runs)
                .where(runs.run_key == key, doomed)
                .values(flow_run_id=GONE + row.flow_run_id, state=RunState.SUPERSEDED)
            )
            return hidden.rowcount == 1

    async def delete_run_batch(self, key: int, most: int) -> DeletedBatch:
        """Delete up to `most` rows of a condemned run; with the last of them the run itself."""
        async with self._database.writing() as connection:
            # A page or a push that was under way as the run was condemned has ended once this is ours.
            await connection.execute(select(runs.run_key).where(runs.run_key == key).with_for_update())
            swept = await _delete_batch(
                connection, {table: table.c.run_key == key for table in OF_A_RUN}, most
            )
            if swept.is_last:
                swept.rows["sync_runs"] += (
                    await connection.execute(delete(sync_runs).where(runs.run_key == key))
                ).rowcount
        return swept

    async def delete_letter_batch(self, cutoffs: Cutoffs, most: int) -> DeletedBatch:
        """Delete up to `most` dead letters of published runs that were replayed or discarded long ago."""
        async with self._database.writing() as connection:
            return await _delete_batch(connection, {dead_letters: _is_closed(cutoffs)}, most)

    async def delete_refresh_batch(self, refresh: RefreshKey, most: int) -> DeletedBatch:
        """Delete up to `most` rows of an old refresh; with the last of them the refresh itself."""
        async with self._database.writing() as connection:
            await lock(connection, "velocity", refresh.source, refresh.warehouse)
            of_refresh = {
                table: and_(
                    table.c.source == refresh.source,
                    table.c.warehouse_id == refresh.warehouse,
                    table.c.as_of == refresh.as_of,
                )
                for table in (velocity_figures, velocity_refreshes)
            }
            return await _delete_batch(connection, of_refresh, most)

    async def free_bytes(self) -> int | None:
        """What VACUUM would give back of a SQLite file; None where the database sees to it itself."""
        async with self._database.reading() as connection:
            if connection.dialect.name != "sqlite":
                return None
            pages = (await connection.execute(text("PRAGMA freelist_count"))).scalar_one()
            return int(pages) * int((await connection.execute(text("PRAGMA page_size"))).scalar_one())


async def _prunable(connection: AsyncConnection, cutoffs: Cutoffs) -> ColumnElement[bool]:
    """Whether a run may go."""
    is_published = exists().where(ranges.run_key == runs.run_key)
    superseded_at = func.coalesce(runs.superseded_at, runs.finished_at, runs.created_at)
    has_landed = exists().where(chunks.c.run_key == runs.run_key, chunks.c.landed_at >= cutoffs.unpublished)
    may_go = or_(
        runs.flow_run_id.startswith(GONE),
        and_(runs.state == RunState.SUPERSEDED, superseded_at < cutoffs.superseded),
        and_(
            runs.state.in_((RunState.RUNNING, RunState.INCOMPLETE)),
            runs.created_at < cutoffs.unpublished,
            func.coalesce(runs.finished_at, runs.created_at) < cutoffs.unpublished,
            ~has_landed,
        ),
    )
    return and_(may_go, ~is_published, runs.flow_run_id.not_in(await _versions_in_use(connection)))


async def _versions_in_use(connection: AsyncConnection) -> Collection[str]:
    """The versions of masters by which runs are mapped that show, or that may still be gone on with."""
    in_use = select(runs.master).where(runs.master.is_not(None), runs.state != RunState.SUPERSEDED).distinct()
    masters = (await connection.execute(in_use)).scalars()
    return {MasterVersion.model_validate_json(master).version for master in masters}


def _is_old(cutoffs: Cutoffs) -> ColumnElement[bool]:
    """Whether a refresh may go."""
    others = velocity_refreshes.alias()
    newest = (
        select(func.max(others.c.as_of))
        .where(others.c.source == refreshes.source, others.c.warehouse_id == refreshes.warehouse_id)
        .scalar_subquery()
    )
    return and_(refreshes.as_of < cutoffs.velocity, refreshes.as_of < newest)


def _is_closed(cutoffs: Cutoffs) -> ColumnElement[bool]:
    """Whether a dead letter may go though its run stays. Those of a run that may be read again never do."""
    letters, shown = dead_letters.c, select(runs.run_key).where(runs.state == RunState.PUBLISHED)
    return and_(
        letters.state != DeadLetterState.OPEN,
        letters.changed_at < cutoffs.letters,
        letters.run_key.in_(shown),
    )


async def _delete_batch(
    connection: AsyncConnection, doomed: dict[Table, ColumnElement[bool]], most: int
) -> DeletedBatch:
    """Delete up to `most` of these rows, a table after the other."""
    rows: Counter[str] = Counter()
    for table, condition in doomed.items():
        key = list(table.primary_key)
        some = select(*key).where(condition).limit(most - rows.total())
        deleted = await connection.execute(delete(table).where(condition, tuple_(*key).in_(some)))
        rows[table.name] += deleted.rowcount
        if rows.total() >= most:
            return DeletedBatch(False, rows)
    return DeletedBatch(True, rows)

"""The SQL of revisions: how the rows of a run differ from what it replaces, and what engines know of that."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import NamedTuple

from sqlalchemy import (
    CTE,
    Select,
    Subquery,
    and_,
    case,
    distinct,
    exists,
    func,
    insert,
    literal,
    select,
    union,
    union_all,
)
from sqlalchemy.ext.asyncio import AsyncConnection

from sku_velocity.model.dead_letter import PUSH, DeadLetterState
from sku_velocity.model.movement import MovementRow
from sku_velocity.model.publication import Cause, Difference
from sku_velocity.model.run import NO_WAREHOUSE, SyncRun
from sku_velocity.store.push_rows import pending_parts
from sku_velocity.store.run_rows import is_overlapped_by
from sku_velocity.store.tables import (
    dead_letters,
    movements,
    published_ranges,
    pushes,
    removed_rows,
    revised_engines,
    revised_rows,
    sync_runs,
)

CONTENT = [column.name for column in movements.c if column.name not in ("run_key", "position")]


class _Sides(NamedTuple):
    """The rows of a run that become visible, and those that they replace."""

    new: CTE
    old: CTE


class _Counts(NamedTuple):
    """The rows of each side, and whether each row of both has an id that is unique there."""

    new: int
    old: int
    have_ids: bool


async def compare_with_published(
    connection: AsyncConnection, key: int, run: SyncRun, newer: Collection[int]
) -> Difference:
    """Compare a run's movements with those that it replaces, and store what the pushes of it need.

    Call it before the ranges of the run's window change. `newer` are the runs that stay published in it. A
    master's items are not compared.
    """
    if run.warehouse == NO_WAREHOUSE:
        return Difference()
    sides = _sides(key, run, newer)
    counts = await _count(connection, sides)
    is_complete = await _insert_engines(connection, key, run, newer, counts.have_ids)
    if is_complete:
        await _insert_corrections(connection, key, sides)
    added, changed, removed = await _count_differing(connection, sides, counts.have_ids)
    return Difference(added, changed, removed, counts.new - added - changed)


async def cause_of(connection: AsyncConnection, run: SyncRun, newer: Collection[int]) -> Cause:
    """Return why a run that replaces others is published."""
    replaced = _replaced_keys(run, newer)
    differs = sync_runs.c.mapping_digest.is_distinct_from(run.mapping_digest)
    found = select(exists().where(sync_runs.c.run_key.in_(replaced), differs))
    return Cause.SPEC if (await connection.execute(found)).scalar_one() else Cause.REVISION


def _replaced_keys(run: SyncRun, newer: Collection[int]) -> Select[tuple[int]]:
    ranges = published_ranges.c
    return select(ranges.run_key).where(is_overlapped_by(run), ranges.run_key.not_in(newer))


def _sides(key: int, run: SyncRun, newer: Collection[int]) -> _Sides:
    ranges, at = published_ranges.c, movements.c.timestamp_utc
    in_range = and_(at >= ranges.range_start, at < ranges.range_end)
    in_window = and_(at >= run.window.start, at < run.window.end)
    new = select(movements).where(movements.c.run_key == key, in_window)
    if newer:
        new = new.where(~exists().where(ranges.run_key.in_(newer), is_overlapped_by(run), in_range))
    old = (
        select(movements)
        .join(published_ranges, and_(movements.c.run_key == ranges.run_key, in_range))
        .where(is_overlapped_by(run), ranges.run_key.not_in(newer), in_window)
    )
    return _Sides(new.cte("new_rows"), old.cte("old_rows"))


async def _count(connection: AsyncConnection, sides: _Sides) -> _Counts:
    (new, new_ids), (old, old_ids) = [
        (await connection.execute(select(func.count(), func.count(distinct(side.c.movement_id))))).one()
        for side in sides
    ]
    return _Counts(new, old, (new, old) == (new_ids, old_ids))


def _differing(sides: _Sides) -> Subquery:
    """Select the rows that only one side has: their content, position, and how many more they are.

    `surplus` is above 0 for rows of the new side, below 0 for those of the old one. By grouping, because
    SQLite has no index for a join of the sides.
    """
    signed = union_all(
        *(
            select(*(side.c[name] for name in ("position", *CONTENT)), literal(sign).label("sign"))
            for side, sign in zip(sides, (1, -1), strict=True)
        )
    ).subquery()
    surplus = func.sum(signed.c.sign)
    content = [signed.c[name] for name in CONTENT]
    position = func.max(signed.c.position).label("position")
    differing = select(*content, position, surplus.label("surplus")).group_by(*content).having(surplus != 0)
    return differing.subquery()


async def _count_differing(
    connection: AsyncConnection, sides: _Sides, have_ids: bool
) -> tuple[int, int, int]:
    """Count the rows added, changed and removed. Without an id, none is known to be changed."""
    found = _differing(sides)
    new, old = (
        func.sum(case((sign * found.c.surplus > 0, sign * found.c.surplus), else_=0)) for sign in (1, -1)
    )
    rows = select(func.coalesce(new, 0).label("new"), func.coalesce(old, 0).label("old"))
    if have_ids:
        rows = rows.group_by(found.c.movement_id)
    each = rows.subquery().c
    changed = case((each.new < each.old, each.new), else_=each.old) if have_ids else literal(0)
    sums = (func.coalesce(func.sum(count), 0) for count in (each.new, changed, each.old))
    added, both, removed = map(int, (await connection.execute(select(*sums))).one())
    return added - both, both, removed - both


async def _insert_engines(
    connection: AsyncConnection, key: int, run: SyncRun, newer: Collection[int], have_ids: bool
) -> bool:
    """Insert the engines that had been sent rows of what is replaced. Return True if one is complete.

    An engine that is not complete is sent the whole window, and so is every one without record ids. Answers
    and batches that are stored meanwhile do not matter: they only make an incomplete engine complete.
    """
    replaced = _replaced_keys(run, newer)
    engines = union(
        *(select(each.c.engine).where(each.c.run_key.in_(replaced)) for each in (pushes, revised_engines))
    )
    complete = False
    for engine in (await connection.execute(engines)).scalars().all():
        pending = pending_parts(engine, sync_runs.c.run_key.in_(replaced)).limit(1)
        is_complete = have_ids and (await connection.execute(pending)).first() is None
        values = {"run_key": key, "engine": engine, "is_complete": is_complete}
        await connection.execute(insert(revised_engines).values(values))
        complete |= is_complete
    return complete


async def _insert_corrections(connection: AsyncConnection, key: int, sides: _Sides) -> None:
    """Insert the rows that complete engines are sent: those that differ, and those that one had rejected."""
    new, old = sides
    found = _differing(sides)
    rejected = select(old.c.movement_id).join(
        dead_letters,
        and_(
            dead_letters.c.run_key == old.c.run_key,
            dead_letters.c.stage == PUSH,
            dead_letters.c.position == old.c.position,
            dead_letters.c.state == DeadLetterState.OPEN,
        ),
    )
    revised = union(
        select(literal(key), found.c.position).where(found.c.surplus > 0),
        select(literal(key), new.c.position).where(new.c.movement_id.in_(rejected)),
    )
    await connection.execute(insert(revised_rows).from_select(["run_key", "position"], revised))
    gone = (
        select(
            found.c.movement_id, func.max(found.c.warehouse_id), func.max(found.c.timestamp_utc).label("at")
        )
        .group_by(found.c.movement_id)
        .having(func.max(found.c.surplus) < 0)
        .subquery()
    )
    number = -func.row_number().over(order_by=(gone.c.at, gone.c.movement_id))
    columns = ["run_key", "position", "movement_id", "warehouse_id", "timestamp_utc"]
    removed = select(literal(key), number, *gone.c)
    await connection.execute(insert(removed_rows).from_select(columns, removed))


async def insert_revised(connection: AsyncConnection, key: int, rows: Sequence[MovementRow]) -> None:
    """Insert replayed rows of a run among those that complete engines are sent, if there is one."""
    is_corrected = exists().where(revised_engines.c.run_key == key, revised_engines.c.is_complete)
    if rows and (await connection.execute(select(is_corrected))).scalar_one():
        values = [{"run_key": key, "position": row.position} for row in rows]
        await connection.execute(insert(revised_rows), values)

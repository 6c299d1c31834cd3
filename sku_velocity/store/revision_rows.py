"""The SQL of revisions: how the rows of a run differ from what it replaces, and what engines know of that."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import NamedTuple

from sqlalchemy import (
    CTE,
    ColumnElement,
    Select,
    and_,
    case,
    distinct,
    exists,
    func,
    insert,
    literal,
    or_,
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
    if not counts.have_ids:
        return await _compare_content(connection, sides, counts)
    if is_complete:
        await _insert_corrections(connection, key, sides)
    return await _compare_by_id(connection, sides, counts)


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


async def _compare_by_id(connection: AsyncConnection, sides: _Sides, counts: _Counts) -> Difference:
    new, old = sides
    common = select(func.count(), func.coalesce(func.sum(case((_differs(new, old), 1), else_=0)), 0))
    joined = common.select_from(new.join(old, new.c.movement_id == old.c.movement_id))
    both, changed = (await connection.execute(joined)).one()
    return Difference(counts.new - both, int(changed), counts.old - both, both - int(changed))


def _differs(new: CTE, old: CTE) -> ColumnElement[bool]:
    return or_(*(new.c[name].is_distinct_from(old.c[name]) for name in CONTENT))


async def _compare_content(connection: AsyncConnection, sides: _Sides, counts: _Counts) -> Difference:
    """Compare rows as multisets: without an id, equal rows cannot be told apart, and none is the same."""
    signed = union_all(
        *(
            select(*(side.c[name] for name in CONTENT), literal(sign).label("sign"))
            for side, sign in zip(sides, (1, -1), strict=True)
        )
    ).subquery()
    surplus = func.sum(signed.c.sign).label("surplus")
    grouped = select(surplus).group_by(*(signed.c[name] for name in CONTENT)).subquery().c.surplus
    sums = (func.coalesce(func.sum(case((sign * grouped > 0, sign * grouped))), 0) for sign in (1, -1))
    added, removed = map(int, (await connection.execute(select(*sums))).one())
    return Difference(added, 0, removed, counts.new - added)


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
    same_id = new.c.movement_id == old.c.movement_id
    was_rejected = exists().where(
        dead_letters.c.run_key == old.c.run_key,
        dead_letters.c.stage == PUSH,
        dead_letters.c.position == old.c.position,
        dead_letters.c.state == DeadLetterState.OPEN,
    )
    revised = (
        select(literal(key), new.c.position)
        .select_from(new.outerjoin(old, same_id))
        .where(or_(old.c.movement_id.is_(None), _differs(new, old), was_rejected))
    )
    await connection.execute(insert(revised_rows).from_select(["run_key", "position"], revised))
    place = -func.row_number().over(order_by=(old.c.timestamp_utc, old.c.movement_id))
    removed = (
        select(literal(key), place, old.c.movement_id, old.c.warehouse_id, old.c.timestamp_utc)
        .select_from(old.outerjoin(new, same_id))
        .where(new.c.movement_id.is_(None))
    )
    columns = ["run_key", "position", "movement_id", "warehouse_id", "timestamp_utc"]
    await connection.execute(insert(removed_rows).from_select(columns, removed))


async def insert_revised(connection: AsyncConnection, key: int, rows: Sequence[MovementRow]) -> None:
    """Insert replayed rows of a run among those that complete engines are sent, if there is one."""
    is_corrected = exists().where(revised_engines.c.run_key == key, revised_engines.c.is_complete)
    if rows and (await connection.execute(select(is_corrected))).scalar_one():
        values = [{"run_key": key, "position": row.position} for row in rows]
        await connection.execute(insert(revised_rows), values)

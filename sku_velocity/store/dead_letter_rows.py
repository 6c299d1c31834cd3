"""Dead letters as rows: which of them are meant, how they are read, and how their state is changed."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import ColumnElement, Row, Select, and_, exists, func, or_, select, tuple_, update
from sqlalchemy.ext.asyncio import AsyncConnection

from sku_velocity.model.dead_letter import (
    Change,
    DeadLetterFilter,
    DeadLetterState,
    RejectGroup,
    StoredDeadLetter,
)
from sku_velocity.model.run import RunState
from sku_velocity.model.window import Window
from sku_velocity.store.pages import to_letter
from sku_velocity.store.tables import dead_letters, published_ranges, sync_runs

letters, runs = dead_letters.c, sync_runs.c

_is_published = exists().where(published_ranges.c.run_key == runs.run_key).correlate(sync_runs)
_ORDER = (runs.source, runs.warehouse_id, runs.window_start, runs.run_key, letters.stage, letters.position)


async def read(
    connection: AsyncConnection, wanted: DeadLetterFilter, limit: int | None
) -> list[StoredDeadLetter]:
    """The letters meant, by source, warehouse, window and position; the first `limit` of them."""
    rows = await connection.execute(_letters(wanted).order_by(*_ORDER).limit(limit))
    return [_to_kept(row) for row in rows]


async def stream(
    connection: AsyncConnection, wanted: DeadLetterFilter, size: int
) -> AsyncIterator[StoredDeadLetter]:
    """All letters meant, in the same order, read `size` at a time."""
    found = _letters(wanted).order_by(*_ORDER).execution_options(yield_per=size)
    async for row in await connection.stream(found):
        yield _to_kept(row)


async def count(connection: AsyncConnection, wanted: DeadLetterFilter) -> int:
    """How many letters are meant."""
    found = select(func.count()).select_from(dead_letters).join(sync_runs).where(matches(wanted))
    return (await connection.execute(found)).scalar_one()


async def group(connection: AsyncConnection, wanted: DeadLetterFilter, limit: int) -> list[RejectGroup]:
    """The letters meant by all of their reasons, the largest groups first, each with a sample."""
    counted = (
        select(letters.reasons, func.count().label("number"), func.min(letters.position).label("first"))
        .join(sync_runs)
        .where(matches(wanted))
        .group_by(letters.reasons)
        .order_by(func.count().desc(), letters.reasons)
        .limit(limit)
    )
    groups = []
    for row in (await connection.execute(counted)).all():
        same = and_(letters.reasons == row.reasons, letters.position == row.first)
        sample = await connection.execute(_letters(wanted).where(same).order_by(*_ORDER).limit(1))
        groups.append(RejectGroup(row.number, _to_kept(sample.one())))
    return groups


async def close(
    connection: AsyncConnection, wanted: DeadLetterFilter, state: DeadLetterState, by: str, note: str
) -> int:
    """Close the open letters meant; gives how many there were."""
    meant = select(letters.run_key, letters.stage, letters.position).join(sync_runs).where(matches(wanted))
    key = tuple_(letters.run_key, letters.stage, letters.position)
    changed = await connection.execute(
        update(dead_letters)
        .where(key.in_(meant), letters.state == DeadLetterState.OPEN)
        .values(state=state, changed_by=by, changed_at=datetime.now(UTC), note=note)
    )
    return changed.rowcount


async def close_at(
    connection: AsyncConnection, key: int, stage: str, positions: Sequence[int], by: str, note: str
) -> None:
    """Enter that letters at these positions of a run were replayed."""
    await connection.execute(
        update(dead_letters)
        .where(letters.run_key == key, letters.stage == stage, letters.position.in_(positions))
        .values(state=DeadLetterState.REPLAYED, changed_by=by, changed_at=datetime.now(UTC), note=note)
    )


async def count_closed(connection: AsyncConnection, key: int) -> int:
    """How many letters of a run were closed."""
    closed = select(func.count()).where(letters.run_key == key, letters.state != DeadLetterState.OPEN)
    return (await connection.execute(closed)).scalar_one()


def _letters(wanted: DeadLetterFilter) -> Select[Any]:
    run = (
        runs.flow_run_id,
        runs.source,
        runs.warehouse_id,
        runs.window_start,
        runs.window_end,
        runs.state.label("run_state"),
    )
    return (
        select(dead_letters, *run, _is_published.label("is_published")).join(sync_runs).where(matches(wanted))
    )


def matches(wanted: DeadLetterFilter) -> ColumnElement[bool]:
    """Whether a letter, joined with its run, is one of those meant."""
    asked: list[tuple[Any, ColumnElement[bool]]] = [
        (wanted.source, runs.source == wanted.source),
        (wanted.warehouse, runs.warehouse_id == wanted.warehouse),
        (wanted.run, runs.flow_run_id == wanted.run),
        (wanted.state, letters.state == wanted.state),
        (wanted.stage, letters.stage == wanted.stage),
        (wanted.position, letters.position == wanted.position),
        (wanted.is_published, _is_published if wanted.is_published else ~_is_published),
    ]
    conditions = [condition for value, condition in asked if value is not None]
    if wanted.window:
        meets = and_(runs.window_start < wanted.window.end, runs.window_end > wanted.window.start)
        conditions.append(meets)
    if wanted.reason:
        conditions.append(_says(wanted.reason))
    return and_(letters.run_key == runs.run_key, *conditions)


def _says(text: str) -> ColumnElement[bool]:
    """Whether the reasons hold a text, as it stands in their JSON; `field: rule`, as it is shown, too."""
    told = json.dumps(text)[1:-1]
    shown = told.replace(": ", '", "', 1)
    return or_(*(letters.reasons.icontains(each, autoescape=True) for each in dict.fromkeys((told, shown))))


def _to_kept(row: Row[Any]) -> StoredDeadLetter:
    return StoredDeadLetter(
        run=row.flow_run_id,
        source=row.source,
        warehouse=row.warehouse_id,
        window=Window(row.window_start, row.window_end),
        run_state=RunState(row.run_state),
        is_published=bool(row.is_published),
        stage=row.stage,
        letter=to_letter(row),
        created_at=row.created_at,
        state=DeadLetterState(row.state),
        change=Change(row.changed_by, row.changed_at, row.note) if row.changed_at else None,
    )

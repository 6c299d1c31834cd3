"""The SQL of dead letters: filters, reads and changes of state."""

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
    connection: AsyncConnection, criteria: DeadLetterFilter, limit: int | None
) -> list[StoredDeadLetter]:
    """Return matching dead letters, at most `limit`, by source, warehouse, window and position."""
    rows = await connection.execute(_letters(criteria).order_by(*_ORDER).limit(limit))
    return [_to_stored(row) for row in rows]


async def stream(
    connection: AsyncConnection, criteria: DeadLetterFilter, size: int
) -> AsyncIterator[StoredDeadLetter]:
    """Yield all matching dead letters in the same order, read `size` at a time."""
    found = _letters(criteria).order_by(*_ORDER).execution_options(yield_per=size)
    async for row in await connection.stream(found):
        yield _to_stored(row)


async def count(connection: AsyncConnection, criteria: DeadLetterFilter) -> int:
    """Count the matching dead letters."""
    found = select(func.count()).select_from(dead_letters).join(sync_runs).where(matches(criteria))
    return (await connection.execute(found)).scalar_one()


async def group(connection: AsyncConnection, criteria: DeadLetterFilter, limit: int) -> list[RejectGroup]:
    """Group matching dead letters by all their reasons, the largest groups first, each with a sample."""
    counted = (
        select(letters.reasons, func.count().label("number"), func.min(letters.position).label("first"))
        .join(sync_runs)
        .where(matches(criteria))
        .group_by(letters.reasons)
        .order_by(func.count().desc(), letters.reasons)
        .limit(limit)
    )
    groups = []
    for row in (await connection.execute(counted)).all():
        same = and_(letters.reasons == row.reasons, letters.position == row.first)
        sample = await connection.execute(_letters(criteria).where(same).order_by(*_ORDER).limit(1))
        groups.append(RejectGroup(row.number, _to_stored(sample.one())))
    return groups


async def close(
    connection: AsyncConnection, criteria: DeadLetterFilter, state: DeadLetterState, by: str, note: str
) -> int:
    """Close the matching open dead letters. Return their number."""
    matching = (
        select(letters.run_key, letters.stage, letters.position).join(sync_runs).where(matches(criteria))
    )
    key = tuple_(letters.run_key, letters.stage, letters.position)
    changed = await connection.execute(
        update(dead_letters)
        .where(key.in_(matching), letters.state == DeadLetterState.OPEN)
        .values(state=state, changed_by=by, changed_at=datetime.now(UTC), note=note)
    )
    return changed.rowcount


async def close_at(
    connection: AsyncConnection, key: int, stage: str, positions: Sequence[int], by: str, note: str
) -> None:
    """Mark the dead letters at these positions of a run as replayed."""
    await connection.execute(
        update(dead_letters)
        .where(letters.run_key == key, letters.stage == stage, letters.position.in_(positions))
        .values(state=DeadLetterState.REPLAYED, changed_by=by, changed_at=datetime.now(UTC), note=note)
    )


async def count_discarded(connection: AsyncConnection, key: int) -> int:
    """Count the discarded dead letters of a run."""
    is_discarded = letters.state == DeadLetterState.DISCARDED
    discarded = select(func.count()).where(letters.run_key == key, is_discarded)
    return (await connection.execute(discarded)).scalar_one()


def _letters(criteria: DeadLetterFilter) -> Select[Any]:
    run = (
        runs.run_id,
        runs.source,
        runs.warehouse_id,
        runs.window_start,
        runs.window_end,
        runs.state.label("run_state"),
    )
    return (
        select(dead_letters, *run, _is_published.label("is_published"))
        .join(sync_runs)
        .where(matches(criteria))
    )


def matches(criteria: DeadLetterFilter) -> ColumnElement[bool]:
    """Return the condition for a dead letter, joined with its run, to match all criteria."""
    pairs: list[tuple[Any, ColumnElement[bool]]] = [
        (criteria.source, runs.source == criteria.source),
        (criteria.warehouse, runs.warehouse_id == criteria.warehouse),
        (criteria.run, or_(runs.run_id == criteria.run, runs.flow_run_id == criteria.run)),
        (criteria.state, letters.state == criteria.state),
        (criteria.stage, letters.stage == criteria.stage),
        (criteria.position, letters.position == criteria.position),
        (criteria.is_published, _is_published if criteria.is_published else ~_is_published),
    ]
    conditions = [condition for value, condition in pairs if value is not None]
    if criteria.window:
        overlaps = and_(runs.window_start < criteria.window.end, runs.window_end > criteria.window.start)
        conditions.append(overlaps)
    if criteria.reason:
        conditions.append(_contains_reason(criteria.reason))
    return and_(letters.run_key == runs.run_key, *conditions)


def _contains_reason(text: str) -> ColumnElement[bool]:
    """Return the condition for the reasons to contain a text, as in their JSON or as shown: `field: rule`."""
    quoted = json.dumps(text)[1:-1]
    forms = dict.fromkeys((quoted, quoted.replace(": ", '", "', 1)))
    return or_(*(letters.reasons.icontains(form, autoescape=True) for form in forms))


def _to_stored(row: Row[Any]) -> StoredDeadLetter:
    return StoredDeadLetter(
        run=row.run_id,
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

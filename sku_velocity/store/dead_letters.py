"""The dead letters of all runs: their states, who closed them, when and why."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Row, Select, and_, bindparam, func, select, true, tuple_, update

from sku_velocity.model.dead_letter import (
    Change,
    DeadLetterFilter,
    DeadLetterState,
    RejectGroup,
    StoredDeadLetter,
    redacted,
)
from sku_velocity.model.movement import DeadLetter
from sku_velocity.model.run import RunState
from sku_velocity.model.window import Window
from sku_velocity.store.database import Repository
from sku_velocity.store.letter_rows import is_published, letters, matches, runs, to_letter
from sku_velocity.store.tables import dead_letters, sync_runs

REDACTED = 1000  # records in memory at a time
_ORDER = (runs.source, runs.warehouse_id, runs.window_start, runs.run_key, letters.stage, letters.position)


class DeadLetters(Repository):
    """The dead letters of all runs. No method deletes dead letters."""

    async def of(self, run_id: str, limit: int | None = None) -> list[DeadLetter]:
        """Return a run's rejected records by position; at most `limit`, if given."""
        found = select(dead_letters).join(sync_runs).where(runs.run_id == run_id)
        async with self.database.reading() as connection:
            rows = await connection.execute(found.order_by(letters.position).limit(limit))
            return [to_letter(row) for row in rows]

    async def read(self, criteria: DeadLetterFilter, limit: int | None = None) -> list[StoredDeadLetter]:
        """Return matching dead letters, at most `limit`, by source, warehouse, window and position."""
        async with self.database.reading() as connection:
            rows = await connection.execute(_letters(criteria).order_by(*_ORDER).limit(limit))
            return [_to_stored(row) for row in rows]

    async def stream(self, criteria: DeadLetterFilter, size: int) -> AsyncGenerator[StoredDeadLetter, None]:
        """Yield all matching dead letters in the same order, with `size` in memory at a time."""
        found = _letters(criteria).order_by(*_ORDER).execution_options(yield_per=size)
        async with self.database.reading() as connection:
            async for row in await connection.stream(found):
                yield _to_stored(row)

    async def count(self, criteria: DeadLetterFilter) -> int:
        """Count the matching dead letters."""
        found = select(func.count()).select_from(dead_letters).join(sync_runs).where(matches(criteria))
        async with self.database.reading() as connection:
            return (await connection.execute(found)).scalar_one()

    async def by_reason(self, criteria: DeadLetterFilter, limit: int) -> list[RejectGroup]:
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
        async with self.database.snapshot() as connection:
            for row in (await connection.execute(counted)).all():
                same = and_(letters.reasons == row.reasons, letters.position == row.first)
                sample = await connection.execute(_letters(criteria).where(same).order_by(*_ORDER).limit(1))
                groups.append(RejectGroup(row.number, _to_stored(sample.one())))
        return groups

    async def redact(self, criteria: DeadLetterFilter, paths: Sequence[str]) -> int:
        """Replace the values at dotted paths of matching records. Return the number of records changed."""
        key = (letters.run_key, letters.stage, letters.position)
        found = select(*key, letters.record_json).join(sync_runs).where(matches(criteria)).order_by(*key)
        is_same = and_(*(column == bindparam(f"of_{column.name}") for column in key))
        change = update(dead_letters).where(is_same).values(record_json=bindparam("redacted"))
        last, count = None, 0
        async with self.database.writing() as connection:
            while rows := (
                await connection.execute(found.where(tuple_(*key) > last if last else true()).limit(REDACTED))
            ).all():
                last = tuple(rows[-1])[:3]
                changed = [
                    {"of_run_key": row[0], "of_stage": row[1], "of_position": row[2], "redacted": text}
                    for row in rows
                    if (text := redacted(row.record_json, paths)) != row.record_json
                ]
                if changed:
                    await connection.execute(change, changed)
                count += len(changed)
        return count

    async def discard(self, criteria: DeadLetterFilter, by: str, note: str) -> int:
        """Discard the matching open dead letters. They stay, and count as rejected. Return their number."""
        matching = (
            select(letters.run_key, letters.stage, letters.position).join(sync_runs).where(matches(criteria))
        )
        is_matching = tuple_(letters.run_key, letters.stage, letters.position).in_(matching)
        change = update(dead_letters).where(is_matching, letters.state == DeadLetterState.OPEN)
        values = {"state": DeadLetterState.DISCARDED, "changed_by": by, "note": note}
        async with self.database.writing() as connection:
            changed = await connection.execute(change.values(**values, changed_at=datetime.now(UTC)))
            return changed.rowcount


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
        select(dead_letters, *run, is_published.label("is_published"))
        .join(sync_runs)
        .where(matches(criteria))
    )


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

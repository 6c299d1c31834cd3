"""The SQL of the push ledger: begun pushes, published rows to send, and an engine's rejects."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import ColumnElement, Row, and_, bindparam, false, insert, or_, select, true, update
from sqlalchemy.ext.asyncio import AsyncConnection

from sku_velocity.errors import IncompleteWindowError, StoreConfigurationError
from sku_velocity.model.dead_letter import PUSH
from sku_velocity.model.movement import DeadLetter, MovementRow
from sku_velocity.model.push import ChunkPush, OpenBatch, PushState, movement_batch
from sku_velocity.model.run import RunState
from sku_velocity.model.window import Window, iso
from sku_velocity.store.database import lock
from sku_velocity.store.letter_rows import letter_values, to_letter
from sku_velocity.store.run_rows import get_run
from sku_velocity.store.tables import chunks, dead_letters, movements, published_ranges, pushes, sync_runs


async def get_published_run(connection: AsyncConnection, run_id: str) -> int:
    """Return the key of a run that is published, or was until a later one superseded it."""
    row = await get_run(connection, run_id)
    if row.run.state not in (RunState.PUBLISHED, RunState.SUPERSEDED):
        raise IncompleteWindowError(f"run {run_id} is {row.run.state}: only published runs are pushed")
    return row.key


async def find_push(connection: AsyncConnection, run_id: str, index: int, engine: str) -> Row[Any] | None:
    """Return a chunk's push with its run and its place in the window, locked, or None."""
    rows = await connection.execute(
        select(pushes, sync_runs.c.run_id, sync_runs.c.source, chunks.c.start_offset, chunks.c.size)
        .join(sync_runs, sync_runs.c.run_key == pushes.c.run_key)
        .join(
            chunks,
            and_(chunks.c.run_key == pushes.c.run_key, chunks.c.chunk_index == pushes.c.chunk_index),
        )
        .where(
            sync_runs.c.run_id == run_id,
            pushes.c.chunk_index == index,
            pushes.c.engine == engine,
        )
        .with_for_update(of=[pushes, chunks])  # a replay locks the chunk: it adds no row to a begun batch
    )
    return rows.one_or_none()


async def get_push(connection: AsyncConnection, run_id: str, index: int, engine: str) -> Row[Any]:
    if row := await find_push(connection, run_id, index, engine):
        return row
    raise StoreConfigurationError(
        f"this store has no push of chunk {index} of run {run_id} to {engine}: push the run again"
    )


async def insert_push(connection: AsyncConnection, key: int, index: int, engine: str) -> None:
    """Insert the push of a chunk that is begun for the first time, from the chunk's start."""
    start = select(chunks.c.start_offset).where(chunks.c.run_key == key, chunks.c.chunk_index == index)
    await connection.execute(
        insert(pushes).values(
            run_key=key,
            chunk_index=index,
            engine=engine,
            state=PushState.BEGUN,
            next_position=start.scalar_subquery(),
            attempts=1,
        )
    )


async def write_push(connection: AsyncConnection, row: Row[Any], **values: Any) -> None:
    place = (
        (pushes.c.run_key == row.run_key)
        & (pushes.c.chunk_index == row.chunk_index)
        & (pushes.c.engine == row.engine)
    )
    if values.get("state") == PushState.PUSHED:
        values |= {"pushed_at": datetime.now(UTC), "replayed": None}
    await connection.execute(update(pushes).where(place).values(**values))


def reopened_values(positions: Sequence[int]) -> dict[str, Any]:
    """Return the values for `write_push` of a pushed chunk that has rows at more positions since."""
    return {"state": PushState.BEGUN, "next_position": positions[0], "replayed": json.dumps(positions)}


async def read_visible_ranges(connection: AsyncConnection, key: int) -> list[Window]:
    """Return the time ranges in which a run is published now."""
    rows = await connection.execute(
        select(published_ranges)
        .where(published_ranges.c.run_key == key)
        .order_by(published_ranges.c.range_start)
    )
    return [Window(row.range_start, row.range_end) for row in rows]


def format_ranges(ranges: Sequence[Window]) -> str:
    """Format time ranges as text for `parse_ranges`."""
    return json.dumps([[iso(each.start), iso(each.end)] for each in ranges])


def parse_ranges(text: str) -> list[Window]:
    """Parse time ranges from text."""
    return [
        Window(datetime.fromisoformat(start), datetime.fromisoformat(end)) for start, end in json.loads(text)
    ]


async def read_rows(
    connection: AsyncConnection,
    row: Row[Any],
    end: int,
    ranges: Sequence[Window],
    limit: int | None = None,
) -> list[MovementRow]:
    """Return a chunk's unsent rows before a position, within time ranges."""
    found = await connection.execute(
        select(*(movements.c[name] for name in MovementRow._fields))
        .where(
            movements.c.run_key == row.run_key,
            movements.c.position >= row.next_position,
            movements.c.position < end,
            or_(false(), *map(_is_within, ranges)),
            _is_unsent(row),
        )
        .order_by(movements.c.position)
        .limit(limit)
    )
    return [MovementRow._make(each) for each in found]


def _is_within(window: Window) -> ColumnElement[bool]:
    at = movements.c.timestamp_utc
    return and_(at >= window.start, at < window.end)


def _is_unsent(row: Row[Any]) -> ColumnElement[bool]:
    """Return the condition for rows to send: of a chunk sent before, only those replayed since; else all."""
    return true() if row.replayed is None else movements.c.position.in_(json.loads(row.replayed))


def open_batch(row: Row[Any], rows: Sequence[MovementRow], is_new: bool) -> OpenBatch:
    place = f"{row.chunk_index}-{row.batches}"
    batch = movement_batch(row.source, row.run_id, place, rows)
    return OpenBatch(row.batches, tuple(rows), batch, is_new, row.attempts)


def is_pending(row: Row[Any], opened: OpenBatch) -> bool:
    """Return True if this batch is the one that awaits an answer."""
    return (row.batches, row.idempotency_key) == (opened.number, opened.batch.key)


async def store_rejects(
    connection: AsyncConnection, key: int, opened: OpenBatch, letters: Sequence[DeadLetter]
) -> None:
    """Store an engine's rejects; add its reasons to those of rows that another engine rejected too."""
    if not letters:
        return
    await lock(connection, "push rejects", str(key))  # another engine may reject the same rows
    first, last = opened.rows[0].position, opened.rows[-1].position
    place = and_(
        dead_letters.c.run_key == key,
        dead_letters.c.stage == PUSH,
        dead_letters.c.position.between(first, last),
    )
    stored = {
        row.position: to_letter(row) for row in await connection.execute(select(dead_letters).where(place))
    }
    if new := [each for each in letters if each.position not in stored]:
        await connection.execute(insert(dead_letters), letter_values(key, new, PUSH))
    merged = [_merge(stored[each.position], each) for each in letters if each.position in stored]
    # Reopen closed ones; who closed them and why stays recorded.
    if changed := [each for each in merged if each != stored[each.position]]:
        reopened = update(dead_letters).where(
            dead_letters.c.run_key == key,
            dead_letters.c.stage == PUSH,
            dead_letters.c.position == bindparam("at"),
        )
        values = [
            {
                "at": row["position"],
                "record_json": row["record_json"],
                "reasons": row["reasons"],
                "state": "open",
            }
            for row in letter_values(key, changed, PUSH)
        ]
        await connection.execute(reopened, values)


def _merge(stored: DeadLetter, letter: DeadLetter) -> DeadLetter:
    return replace(letter, reasons=tuple(dict.fromkeys((*stored.reasons, *letter.reasons))))


def to_push(row: Row[Any]) -> ChunkPush:
    return ChunkPush(
        chunk=row.chunk_index,
        state=PushState(row.state),
        batches=row.batches,
        accepted=row.accepted,
        rejected=row.rejected,
        requests=row.requests,
        attempts=row.attempts,
        idempotency_key=row.idempotency_key,
        error=row.error,
    )

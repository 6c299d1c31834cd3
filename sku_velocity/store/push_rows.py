"""The rows of the push ledger: what was begun, what shows and may be sent, and what an engine rejected."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import ColumnElement, Row, and_, bindparam, false, insert, or_, select, true, update
from sqlalchemy.ext.asyncio import AsyncConnection

from sku_velocity.errors import IncompleteWindowError, StoreConfigurationError
from sku_velocity.model.movement import DeadLetter, MovementRow
from sku_velocity.model.push import ChunkPush, OpenBatch, PushState, movement_batch
from sku_velocity.model.run import RunState
from sku_velocity.model.window import Window, iso
from sku_velocity.store.chunks import get_run
from sku_velocity.store.database import lock
from sku_velocity.store.pages import letter_values, to_letter
from sku_velocity.store.tables import chunks, dead_letters, movements, published_ranges, pushes, sync_runs

STAGE = "push"  # of the dead letters that an engine's rejections are


async def get_published_run(connection: AsyncConnection, flow_run_id: str) -> int:
    """The key of a run that shows, or did until a later one came."""
    row = await get_run(connection, flow_run_id)
    if row.run.state not in (RunState.PUBLISHED, RunState.SUPERSEDED):
        raise IncompleteWindowError(f"run {flow_run_id} is {row.run.state}: only what is published is pushed")
    return row.key


async def find_push(
    connection: AsyncConnection, flow_run_id: str, index: int, engine: str
) -> Row[Any] | None:
    """A chunk's row with its run and its place in the window, which nobody else changes meanwhile."""
    rows = await connection.execute(
        select(pushes, sync_runs.c.flow_run_id, sync_runs.c.source, chunks.c.start_offset, chunks.c.size)
        .join(sync_runs, sync_runs.c.run_key == pushes.c.run_key)
        .join(
            chunks,
            and_(chunks.c.run_key == pushes.c.run_key, chunks.c.chunk_index == pushes.c.chunk_index),
        )
        .where(
            sync_runs.c.flow_run_id == flow_run_id,
            pushes.c.chunk_index == index,
            pushes.c.engine == engine,
        )
        .with_for_update(of=[pushes, chunks])  # a replay locks the chunk: no row comes into a begun batch
    )
    return rows.one_or_none()


async def get_push(connection: AsyncConnection, flow_run_id: str, index: int, engine: str) -> Row[Any]:
    if row := await find_push(connection, flow_run_id, index, engine):
        return row
    raise StoreConfigurationError(
        f"this store knows of no push of chunk {index} of run {flow_run_id} to {engine}"
    )


async def enter_push(connection: AsyncConnection, key: int, index: int, engine: str) -> None:
    """Enter a chunk that is set about for the first time: its push begins where the chunk does."""
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


def reopening(positions: Sequence[int]) -> dict[str, Any]:
    """What `write_push` enters of a chunk that was sent whole and has rows at more positions since."""
    return {"state": PushState.BEGUN, "next_position": positions[0], "replayed": json.dumps(positions)}


async def read_visible_ranges(connection: AsyncConnection, key: int) -> list[Window]:
    """The stretches of time in which a run shows, as it is now."""
    rows = await connection.execute(
        select(published_ranges)
        .where(published_ranges.c.run_key == key)
        .order_by(published_ranges.c.range_start)
    )
    return [Window(row.range_start, row.range_end) for row in rows]


def write_ranges(ranges: Sequence[Window]) -> str:
    """Stretches of time as text that `parse_ranges` reads."""
    return json.dumps([[iso(each.start), iso(each.end)] for each in ranges])


def parse_ranges(text: str) -> list[Window]:
    """Stretches of time from text."""
    return [
        Window(datetime.fromisoformat(start), datetime.fromisoformat(end)) for start, end in json.loads(text)
    ]


async def read_rows(
    connection: AsyncConnection,
    row: Row[Any],
    until: int,
    ranges: Sequence[Window],
    limit: int | None = None,
) -> list[MovementRow]:
    """A chunk's rows from where its push stands, up to a position, within stretches of time."""
    found = await connection.execute(
        select(
            movements.c.position,
            movements.c.movement_id,
            movements.c.sku_id,
            movements.c.warehouse_id,
            movements.c.units_moved,
            movements.c.timestamp_utc,
        )
        .where(
            movements.c.run_key == row.run_key,
            movements.c.position >= row.next_position,
            movements.c.position < until,
            or_(false(), *map(_is_within, ranges)),
            _is_left(row),
        )
        .order_by(movements.c.position)
        .limit(limit)
    )
    return [(r[0], r[1], r[2], r[3], r[4], r[5]) for r in found]


def _is_within(window: Window) -> ColumnElement[bool]:
    at = movements.c.timestamp_utc
    return and_(at >= window.start, at < window.end)


def _is_left(row: Row[Any]) -> ColumnElement[bool]:
    """Of a chunk that was sent before, the rows that came by a replay since; of any other, all rows."""
    return true() if row.replayed is None else movements.c.position.in_(json.loads(row.replayed))


def open_batch(row: Row[Any], rows: Sequence[MovementRow], is_new: bool) -> OpenBatch:
    place = f"{row.chunk_index}-{row.batches}"
    batch = movement_batch(row.source, row.flow_run_id, place, rows)
    return OpenBatch(row.batches, tuple(rows), batch, is_new)


def waits_for(row: Row[Any], opened: OpenBatch) -> bool:
    """Whether this batch is the one whose answer a chunk waits for."""
    return (row.batches, row.idempotency_key) == (opened.number, opened.batch.key)


async def keep_rejects(
    connection: AsyncConnection, key: int, opened: OpenBatch, letters: Sequence[DeadLetter]
) -> None:
    """Keep what an engine rejected; to what another engine has rejected too, its reasons are added."""
    if not letters:
        return
    await lock(connection, "push rejects", str(key))  # another engine may be at the same rows
    first, last = opened.rows[0][0], opened.rows[-1][0]
    place = and_(
        dead_letters.c.run_key == key,
        dead_letters.c.stage == STAGE,
        dead_letters.c.position.between(first, last),
    )
    kept = {
        row.position: to_letter(row) for row in await connection.execute(select(dead_letters).where(place))
    }
    if new := [each for each in letters if each.position not in kept]:
        await connection.execute(insert(dead_letters), letter_values(key, new, STAGE))
    merged = [_merged(kept[each.position], each) for each in letters if each.position in kept]
    # Open again, where it was closed; by whom and why stays told.
    if again := [each for each in merged if each != kept[each.position]]:
        reopened = update(dead_letters).where(
            dead_letters.c.run_key == key,
            dead_letters.c.stage == STAGE,
            dead_letters.c.position == bindparam("place"),
        )
        values = [
            {
                "place": row["position"],
                "record_json": row["record_json"],
                "reasons": row["reasons"],
                "state": "open",
            }
            for row in letter_values(key, again, STAGE)
        ]
        await connection.execute(reopened, values)


def _merged(kept: DeadLetter, letter: DeadLetter) -> DeadLetter:
    return replace(letter, reasons=tuple(dict.fromkeys((*kept.reasons, *letter.reasons))))


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

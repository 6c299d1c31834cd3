"""The SQL of the push ledger: begun pushes, published rows to send, and an engine's rejects."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, TypeVar

from sqlalchemy import (
    ColumnElement,
    CompoundSelect,
    Row,
    Table,
    and_,
    bindparam,
    exists,
    false,
    func,
    insert,
    literal,
    or_,
    select,
    true,
    union_all,
    update,
)
from sqlalchemy.ext.asyncio import AsyncConnection

from sku_velocity.errors import ConfigurationError, IncompleteWindowError, StoreConfigurationError
from sku_velocity.model.chunk import MAX_TOTAL, Chunk
from sku_velocity.model.dead_letter import PUSH
from sku_velocity.model.movement import DeadLetter, MovementRow
from sku_velocity.model.publication import Cause
from sku_velocity.model.push import (
    REMOVALS,
    ChunkPush,
    OpenBatch,
    PushedRow,
    PushState,
    RemovedRow,
    ReplacedRun,
    batch_of,
)
from sku_velocity.model.run import RunState
from sku_velocity.model.window import Window, iso
from sku_velocity.store.database import lock
from sku_velocity.store.letter_rows import letter_values, to_letter
from sku_velocity.store.run_rows import get_run
from sku_velocity.store.tables import (
    chunks,
    dead_letters,
    movements,
    publications,
    published_ranges,
    pushes,
    removed_rows,
    revised_engines,
    revised_rows,
    sync_runs,
)

PLACE = ("start_offset", "size", "page_size", "overlap")  # of a chunk in its window
R = TypeVar("R", MovementRow, RemovedRow)


def pending_parts(engine: str, of_runs: ColumnElement[bool]) -> CompoundSelect[tuple[int, ...]]:
    """Select the parts of runs that an engine has not answered whole, as chunks with their run.

    Parts are the chunks with rows to send, and `REMOVALS` if the run replaced what the engine may have.
    """
    runs, part = sync_runs.c, chunks.c
    corrected = exists().where(
        revised_engines.c.run_key == runs.run_key,
        revised_engines.c.engine == engine,
        revised_engines.c.is_complete,
    )
    is_revised = exists().where(
        revised_rows.c.run_key == part.run_key,
        revised_rows.c.position >= part.start_offset,
        revised_rows.c.position < part.start_offset + part.size,
    )
    of_chunks = (
        select(part.run_key, part.chunk_index, *place_columns())
        .join(sync_runs, runs.run_key == part.run_key)
        .where(
            of_runs,
            part.loaded > 0,
            or_(~corrected, is_revised),
            ~_is_answered(engine, part.run_key, part.chunk_index),
        )
    )
    has_removed = exists().where(removed_rows.c.run_key == runs.run_key)
    has_replaced = exists().where(
        publications.c.run_id == runs.run_id, publications.c.cause.in_((Cause.REVISION, Cause.SPEC))
    )
    place = (literal(REMOVALS).label("chunk_index"), *(literal(0).label(name) for name in PLACE))
    removals = select(runs.run_key, *place).where(
        of_runs,
        or_(and_(corrected, has_removed), and_(~corrected, has_replaced)),
        ~_is_answered(engine, runs.run_key, literal(REMOVALS)),
    )
    return union_all(of_chunks, removals)


def _is_answered(engine: str, key: ColumnElement[int], index: ColumnElement[int]) -> ColumnElement[bool]:
    return exists().where(
        pushes.c.run_key == key,
        pushes.c.chunk_index == index,
        pushes.c.engine == engine,
        pushes.c.state == PushState.PUSHED,
    )


async def get_published_run(connection: AsyncConnection, run_id: str) -> int:
    """Return the key of a run that is published, or was until a later one superseded it.

    Raises IncompleteWindowError if it never was, and ConfigurationError if it is archived.
    """
    row = await get_run(connection, run_id)
    found = await connection.execute(select(sync_runs.c.archived_to).where(sync_runs.c.run_key == row.key))
    check_not_archived(run_id, found.scalar_one())
    if row.run.state not in (RunState.PUBLISHED, RunState.SUPERSEDED):
        raise IncompleteWindowError(f"run {run_id} is {row.run.state}: only published runs are pushed")
    return row.key


def check_not_archived(run_id: str, archived_to: str | None) -> None:
    """Check that the store still has a run's movements. Raises ConfigurationError if they are archived."""
    if archived_to is not None:
        raise ConfigurationError(
            f"run {run_id}: its movements are archived in {archived_to}, so they are not pushed any more: "
            "send the engine those files, or omit push"
        )


async def find_push(connection: AsyncConnection, run_id: str, index: int, engine: str) -> Row[Any] | None:
    """Return the push of a part of a run with its run and its positions in the window, locked, or None."""
    is_corrected = exists().where(
        revised_engines.c.run_key == pushes.c.run_key,
        revised_engines.c.engine == pushes.c.engine,
        revised_engines.c.is_complete,
    )
    columns = (
        pushes,
        sync_runs.c.run_id,
        sync_runs.c.source,
        sync_runs.c.warehouse_id,
        sync_runs.c.archived_to,
        is_corrected.label("is_corrected"),
    )
    with_run = pushes.join(sync_runs, sync_runs.c.run_key == pushes.c.run_key)
    if index == REMOVALS:  # its positions are below 0
        found = select(*columns, literal(0).label("end")).select_from(with_run).with_for_update(of=pushes)
    else:
        found = (
            select(*columns, (chunks.c.start_offset + chunks.c.size).label("end"))
            .select_from(with_run)
            .join(
                chunks,
                and_(chunks.c.run_key == pushes.c.run_key, chunks.c.chunk_index == pushes.c.chunk_index),
            )
            .with_for_update(of=[pushes, chunks])  # a replay locks the chunk: it adds no row to a begun batch
        )
    of_part = (sync_runs.c.run_id == run_id, pushes.c.chunk_index == index, pushes.c.engine == engine)
    return (await connection.execute(found.where(*of_part))).one_or_none()


async def get_push(connection: AsyncConnection, run_id: str, index: int, engine: str) -> Row[Any]:
    if row := await find_push(connection, run_id, index, engine):
        return row
    raise StoreConfigurationError(
        f"this store has no push of chunk {index} of run {run_id} to {engine}: push the run again"
    )


async def insert_push(connection: AsyncConnection, key: int, index: int, engine: str) -> None:
    """Insert the push of a part that is begun for the first time, from its start."""
    start = select(chunks.c.start_offset).where(chunks.c.run_key == key, chunks.c.chunk_index == index)
    await connection.execute(
        insert(pushes).values(
            run_key=key,
            chunk_index=index,
            engine=engine,
            state=PushState.BEGUN,
            next_position=-MAX_TOTAL if index == REMOVALS else start.scalar_subquery(),
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
) -> Sequence[PushedRow]:
    """Return a part's unsent rows before a position, within time ranges."""
    if row.chunk_index != REMOVALS:
        return await _read(
            connection, movements, MovementRow, row, end, limit, _within(ranges), _is_unsent(row)
        )
    if row.is_corrected:
        return await _read(
            connection, removed_rows, RemovedRow, row, end, limit, _within(ranges, removed_rows)
        )
    return await _read_replaced_runs(connection, row, end, limit) if ranges else []


async def _read(
    connection: AsyncConnection,
    table: Table,
    kind: type[R],
    row: Row[Any],
    end: int,
    limit: int | None,
    *conditions: ColumnElement[bool],
) -> list[R]:
    found = await connection.execute(
        select(*(table.c[name] for name in kind._fields))
        .where(
            table.c.run_key == row.run_key,
            table.c.position >= row.next_position,
            table.c.position < end,
            *conditions,
        )
        .order_by(table.c.position)
        .limit(limit)
    )
    return [kind._make(each) for each in found]


async def _read_replaced_runs(
    connection: AsyncConnection, row: Row[Any], end: int, limit: int | None
) -> list[ReplacedRun]:
    """Return the runs that were published before in a run's window, the latest at position -1."""
    own, others = publications.alias(), publications.c
    number = -func.row_number().over(order_by=func.min(others.publication).desc())
    runs = (
        select(number.label("position"), others.run_id)
        .join(own, and_(own.c.run_id == row.run_id, own.c.cause != Cause.REPLAY))
        .where(
            others.source == own.c.source,
            others.warehouse_id == own.c.warehouse_id,
            others.range_start < own.c.range_end,
            others.range_end > own.c.range_start,
            others.publication < own.c.publication,
        )
        .group_by(others.run_id)
        .subquery()
    )
    found = await connection.execute(
        select(runs.c.position, runs.c.run_id)
        .where(runs.c.position >= row.next_position, runs.c.position < end)
        .order_by(runs.c.position)
        .limit(limit)
    )
    return [ReplacedRun._make(each) for each in found]


def _within(ranges: Sequence[Window], table: Table = movements) -> ColumnElement[bool]:
    at = table.c.timestamp_utc
    return or_(false(), *(and_(at >= each.start, at < each.end) for each in ranges))


def _is_unsent(row: Row[Any]) -> ColumnElement[bool]:
    """Return the condition for rows to send: of a chunk sent before, only those replayed since; of a run that
    an engine is sent as corrections, only its revised rows; else all."""
    if row.replayed is not None:
        return movements.c.position.in_(json.loads(row.replayed))
    if row.is_corrected:
        return movements.c.position.in_(
            select(revised_rows.c.position).where(revised_rows.c.run_key == row.run_key)
        )
    return true()


def open_batch(
    row: Row[Any],
    rows: Sequence[PushedRow],
    ranges: Sequence[Window],
    fields: Sequence[str],
    is_new: bool,
) -> OpenBatch:
    """Build the batch of a part's next rows, or of those that were cut before."""
    part = "removals" if row.chunk_index == REMOVALS else row.chunk_index
    place = f"{part}-{row.batches}"
    batch = batch_of(row.source, row.run_id, place, row.warehouse_id, ranges, rows, fields)
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


def place_columns() -> list[ColumnElement[int]]:
    """Return the columns of a chunk's place for `to_chunk`; 0 if there is no chunk."""
    return [func.coalesce(chunks.c[name], 0).label(name) for name in PLACE]


def to_chunk(row: Row[Any]) -> Chunk:
    """Convert a pending part to a chunk."""
    return Chunk(row.chunk_index, row.start_offset, row.size, row.page_size, row.overlap)

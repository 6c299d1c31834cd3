"""How letters that were judged again take their places: rows, ledger, letters and pushes in one go."""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter
from collections.abc import Sequence
from typing import Any

from sqlalchemy import Row, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from sku_velocity.model.dead_letter import (
    VALIDATION,
    DeadLetterFilter,
    DeadLetterState,
    ReplayOutcome,
    RevalidatedRecord,
)
from sku_velocity.model.movement import DeadLetter, MovementRow
from sku_velocity.model.push import PushState
from sku_velocity.model.run import RunState, SyncRun
from sku_velocity.store import dead_letter_rows as letters
from sku_velocity.store import pages
from sku_velocity.store.chunks import to_run
from sku_velocity.store.publishing import take_turn
from sku_velocity.store.push_rows import read_visible_ranges, reopening, write_push
from sku_velocity.store.tables import chunks, dead_letters, movements, pushes, sync_runs

# A superseded run has been read again by the one that shows; one that is still read may yet change.
REPLAYABLE = (RunState.PUBLISHED, RunState.INCOMPLETE)

NOTES = {
    ReplayOutcome.LOADED: "valid by the spec as it is now: in the window",
    ReplayOutcome.TRIMMED: "valid by the spec as it is now, but outside the window: trimmed",
    ReplayOutcome.FILTERED: "no movement by the spec as it is now: filtered",
}


async def find_runs(connection: AsyncConnection, wanted: DeadLetterFilter) -> list[SyncRun]:
    """The runs with letters of the selection that may take their places, by window."""
    found = (
        select(sync_runs)
        .join(dead_letters)
        .where(letters.matches(wanted), sync_runs.c.state.in_(REPLAYABLE))
        .order_by(sync_runs.c.warehouse_id, sync_runs.c.window_start, sync_runs.c.run_key)
        .distinct()
    )
    return [to_run(row).run for row in await connection.execute(found)]


async def read_next(
    connection: AsyncConnection, wanted: DeadLetterFilter, after: int, limit: int
) -> list[DeadLetter]:
    """The next letters of one run's selection, those at positions after this one."""
    found = (
        select(dead_letters)
        .join(sync_runs)
        .where(letters.matches(wanted), dead_letters.c.position > after)
        .order_by(dead_letters.c.position)
        .limit(limit)
    )
    return [pages.to_letter(row) for row in await connection.execute(found)]


async def apply_replay(
    connection: AsyncConnection, flow_run_id: str, judged: Sequence[RevalidatedRecord], by: str
) -> Counter[str]:
    """Give a run's letters their places, those of them that are still open; gives how many came to what.

    Meanwhile nobody publishes, reads again or replays this run, and no batch of its chunks is begun.
    """
    run = await take_turn(connection, flow_run_id)
    if run.run.state not in REPLAYABLE:
        return Counter()
    chunk_of = await _lock_chunks(connection, run.key, judged)
    left = await _still_open(connection, run.key, judged)
    pushed = await _read_pushes(connection, run.key, set(chunk_of.values()))
    under_way = {row.chunk_index for row in pushed if row.state != PushState.PUSHED}
    waiting = {each.position for each in left if chunk_of[each.position] in under_way}
    repeated = await _repeated(connection, run.key, left) - waiting
    fit = [each for each in left if each.position not in waiting | repeated]
    await _move(connection, run.key, chunk_of, fit, by)
    rows = [each.row for each in fit if each.row]
    late = await _mark_unsent(connection, pushed, chunk_of, rows)
    visible = await read_visible_ranges(connection, run.key)
    return Counter(each.fate.value for each in fit) + Counter(
        repeated=len(repeated),
        waiting=len(waiting),
        unsent=late,
        published=sum(any(row[5] in window for window in visible) for row in rows),
    )


async def _lock_chunks(
    connection: AsyncConnection, key: int, judged: Sequence[RevalidatedRecord]
) -> dict[int, int]:
    """The index of the chunk of each position; nobody else changes those chunks, or begins to push them."""
    starts = await connection.execute(
        select(chunks.c.start_offset, chunks.c.chunk_index)
        .where(chunks.c.run_key == key)
        .order_by(chunks.c.start_offset)
    )
    offsets, indexes = zip(*starts, strict=True)
    chunk_of = {each.position: indexes[bisect_right(offsets, each.position) - 1] for each in judged}
    await connection.execute(
        select(chunks.c.chunk_index)
        .where(chunks.c.run_key == key, chunks.c.chunk_index.in_(set(chunk_of.values())))
        .order_by(chunks.c.chunk_index)
        .with_for_update()
    )
    return chunk_of


async def _still_open(
    connection: AsyncConnection, key: int, judged: Sequence[RevalidatedRecord]
) -> list[RevalidatedRecord]:
    """Those that found a fate and are still open, which nobody else closes until the transaction ends."""
    fated = [each for each in judged if each.fate is not ReplayOutcome.REJECTED]
    found = await connection.execute(
        select(dead_letters.c.position)
        .where(
            dead_letters.c.run_key == key,
            dead_letters.c.stage == VALIDATION,
            dead_letters.c.state == DeadLetterState.OPEN,
            dead_letters.c.position.in_([each.position for each in fated]),
        )
        .order_by(dead_letters.c.position)
        .with_for_update()
    )
    still_open = set(found.scalars())
    return [each for each in fated if each.position in still_open]


async def _read_pushes(connection: AsyncConnection, key: int, indexes: set[int]) -> Sequence[Row[Any]]:
    found = select(pushes).where(pushes.c.run_key == key, pushes.c.chunk_index.in_(indexes))
    return (await connection.execute(found)).all()


async def _repeated(connection: AsyncConnection, key: int, left: Sequence[RevalidatedRecord]) -> set[int]:
    """The positions whose record id the run holds already, or an earlier one of these letters bears."""
    ids = {each.position: each.row[1] for each in left if each.row and each.row[1] is not None}
    found = await connection.execute(
        select(movements.c.movement_id).where(
            movements.c.run_key == key, movements.c.movement_id.in_(set(ids.values()))
        )
    )
    held = set(found.scalars())
    repeated = set()
    for position, movement_id in ids.items():
        if movement_id in held:
            repeated.add(position)
        held.add(movement_id)
    return repeated


async def _move(
    connection: AsyncConnection, key: int, chunk_of: dict[int, int], fit: Sequence[RevalidatedRecord], by: str
) -> None:
    """Enter rows, and have letters and counts of the ledger follow: what was fetched stays accounted for."""
    if rows := [each.row for each in fit if each.row]:
        await pages.insert_movements(connection, key, rows)
    for fate, note in NOTES.items():
        if positions := [each.position for each in fit if each.fate is fate]:
            await letters.close_at(connection, key, VALIDATION, positions, by, note)
    moved = Counter((chunk_of[each.position], each.fate) for each in fit)
    for (index, fate), number in sorted(moved.items()):
        await connection.execute(
            update(chunks)
            .where(chunks.c.run_key == key, chunks.c.chunk_index == index)
            .values({fate.value: chunks.c[fate.value] + number, "rejected": chunks.c.rejected - number})
        )


async def _mark_unsent(
    connection: AsyncConnection,
    pushed: Sequence[Row[Any]],
    chunk_of: dict[int, int],
    rows: Sequence[MovementRow],
) -> int:
    """Have the next push of chunks that were sent before send these rows alone; gives how many they are."""
    late: set[int] = set()
    for row in pushed:
        places = sorted(each[0] for each in rows if chunk_of[each[0]] == row.chunk_index)
        if row.state == PushState.PUSHED and places:
            await write_push(connection, row, **reopening(places))
            late.update(places)
    return len(late)

"""Replay of dead letters: rows, ledger, dead letters and pushes change in one transaction."""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Row, delete, or_, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from sku_velocity.errors import ConfigurationError
from sku_velocity.model.dead_letter import (
    VALIDATION,
    DeadLetterFilter,
    DeadLetterState,
    ReplayOutcome,
    RevalidatedRecord,
)
from sku_velocity.model.movement import DeadLetter, MovementRow
from sku_velocity.model.publication import Cause, Difference
from sku_velocity.model.push import PushState
from sku_velocity.model.run import RunState, SyncRun
from sku_velocity.store.database import Repository
from sku_velocity.store.letter_rows import matches, to_letter
from sku_velocity.store.page_rows import insert_movements
from sku_velocity.store.publication_rows import insert_publication
from sku_velocity.store.push_rows import read_visible_ranges, reopened_values, write_push
from sku_velocity.store.revision_rows import insert_revised
from sku_velocity.store.run_rows import RunRow, lock_run, to_run
from sku_velocity.store.tables import (
    chunks,
    dead_letters,
    movements,
    published_ranges,
    pushes,
    sync_runs,
    unloaded_ids,
)

# A later run has read the window of a superseded one again; a run in progress may still change.
REPLAYABLE = (RunState.PUBLISHED, RunState.INCOMPLETE)

NOTES = {
    ReplayOutcome.LOADED: "valid by the current spec: loaded",
    ReplayOutcome.TRIMMED: "valid by the current spec, but outside the window: trimmed",
    ReplayOutcome.FILTERED: "not a movement by the current spec: filtered",
}


class Replays(Repository):
    """The replays of dead letters whose run is published or incomplete."""

    async def runs(self, criteria: DeadLetterFilter) -> list[SyncRun]:
        """Return the published and the incomplete runs that have matching dead letters, by window.

        An archived run is only returned if the criteria name it.
        """
        is_wanted = or_(sync_runs.c.archived_at.is_(None), sync_runs.c.run_id == criteria.run)
        found = (
            select(sync_runs)
            .join(dead_letters)
            .where(matches(criteria), sync_runs.c.state.in_(REPLAYABLE), is_wanted)
            .order_by(sync_runs.c.warehouse_id, sync_runs.c.window_start, sync_runs.c.run_key)
            .distinct()
        )
        async with self.database.reading() as connection:
            return [to_run(row).run for row in await connection.execute(found)]

    async def after(self, criteria: DeadLetterFilter, position: int, limit: int) -> list[DeadLetter]:
        """Return the next matching dead letters of a run, at positions after this one."""
        found = (
            select(dead_letters)
            .join(sync_runs)
            .where(matches(criteria), dead_letters.c.position > position)
            .order_by(dead_letters.c.position)
            .limit(limit)
        )
        async with self.database.reading() as connection:
            return [to_letter(row) for row in await connection.execute(found)]

    async def apply(
        self,
        run_id: str,
        revalidated: Sequence[RevalidatedRecord],
        by: str,
        mapping_digest: str | None = None,
    ) -> Counter[str]:
        """Apply replay outcomes to a run's open dead letters. Return the count per outcome.

        Rows, dead letter states and the ledger's counts change together. The counts are `loaded`, `trimmed`
        and `filtered`; of the loaded ones, `published` (visible at once) and `unsent` (their chunk was pushed
        before: its next push sends them). Those `repeated`, whose record id the run contains already, and
        those `waiting`, whose chunk is being pushed to an engine, stay open. An unpublished run that thereby
        holds rows of two mappings is read again when it is resumed. Locks the run against publishing,
        replanning and other replays, and its chunks against new batches. Raises ConfigurationError if the
        run is archived.
        """
        async with self.database.writing() as connection:
            run = await lock_run(connection, run_id)
            await _check_not_archived(connection, run)
            if run.run.state not in REPLAYABLE:
                return Counter()
            chunk_of = await _lock_chunks(connection, run.key, revalidated)
            still_open = await _select_open(connection, run.key, revalidated)
            pushed = await _read_pushes(connection, run.key, set(chunk_of.values()))
            in_progress = {row.chunk_index for row in pushed if row.state != PushState.PUSHED}
            waiting = {each.position for each in still_open if chunk_of[each.position] in in_progress}
            repeated = await _find_repeated(connection, run.key, still_open) - waiting
            accepted = [each for each in still_open if each.position not in waiting | repeated]
            await _move(connection, run.key, chunk_of, accepted, by)
            if accepted and run.run.is_open and run.run.mapping_digest != mapping_digest:
                await connection.execute(
                    update(sync_runs).where(sync_runs.c.run_key == run.key).values(mapping_digest=None)
                )
            rows = [each.row for each in accepted if each.row]
            await insert_revised(connection, run.key, rows)
            unsent = await _mark_unsent(connection, pushed, chunk_of, rows)
            visible = await read_visible_ranges(connection, run.key)
            published = sum(any(row.timestamp_utc in window for window in visible) for row in rows)
            if published:
                await _publish(connection, run, published)
            return Counter(each.outcome.value for each in accepted) + Counter(
                repeated=len(repeated), waiting=len(waiting), unsent=unsent, published=published
            )


async def _check_not_archived(connection: AsyncConnection, run: RunRow) -> None:
    found = await connection.execute(select(sync_runs.c.archived_to).where(sync_runs.c.run_key == run.key))
    if archived_to := found.scalar_one():
        raise ConfigurationError(
            f"run {run.run.id} of {run.run.warehouse} from {run.run.source}, {run.run.window}: its movements "
            f"are archived in {archived_to}, so none is added: discard its dead letters"
        )


async def _lock_chunks(
    connection: AsyncConnection, key: int, revalidated: Sequence[RevalidatedRecord]
) -> dict[int, int]:
    """Lock the chunks of all positions against changes and pushes. Return each position's chunk index."""
    starts = await connection.execute(
        select(chunks.c.start_offset, chunks.c.chunk_index)
        .where(chunks.c.run_key == key)
        .order_by(chunks.c.start_offset)
    )
    offsets, indexes = zip(*starts, strict=True)
    chunk_of = {each.position: indexes[bisect_right(offsets, each.position) - 1] for each in revalidated}
    await connection.execute(
        select(chunks.c.chunk_index)
        .where(chunks.c.run_key == key, chunks.c.chunk_index.in_(set(chunk_of.values())))
        .order_by(chunks.c.chunk_index)
        .with_for_update()
    )
    return chunk_of


async def _select_open(
    connection: AsyncConnection, key: int, revalidated: Sequence[RevalidatedRecord]
) -> list[RevalidatedRecord]:
    """Return the records that are no longer rejected and still open, locked until the transaction ends."""
    accepted = [each for each in revalidated if each.outcome is not ReplayOutcome.REJECTED]
    found = await connection.execute(
        select(dead_letters.c.position)
        .where(
            dead_letters.c.run_key == key,
            dead_letters.c.stage == VALIDATION,
            dead_letters.c.state == DeadLetterState.OPEN,
            dead_letters.c.position.in_([each.position for each in accepted]),
        )
        .order_by(dead_letters.c.position)
        .with_for_update()
    )
    still_open = set(found.scalars())
    return [each for each in accepted if each.position in still_open]


async def _read_pushes(connection: AsyncConnection, key: int, indexes: set[int]) -> Sequence[Row[Any]]:
    found = select(pushes).where(pushes.c.run_key == key, pushes.c.chunk_index.in_(indexes))
    return (await connection.execute(found)).all()


async def _find_repeated(
    connection: AsyncConnection, key: int, records: Sequence[RevalidatedRecord]
) -> set[int]:
    """Return the positions whose record id is in the run already, or in an earlier one of these records."""
    ids = {
        each.position: each.row.movement_id
        for each in records
        if each.row and each.row.movement_id is not None
    }
    found = await connection.execute(
        select(movements.c.movement_id).where(
            movements.c.run_key == key, movements.c.movement_id.in_(set(ids.values()))
        )
    )
    known = set(found.scalars())
    repeated = set()
    for position, movement_id in ids.items():
        if movement_id in known:
            repeated.add(position)
        known.add(movement_id)
    return repeated


async def _move(
    connection: AsyncConnection,
    key: int,
    chunk_of: dict[int, int],
    records: Sequence[RevalidatedRecord],
    by: str,
) -> None:
    """Insert rows, close dead letters and adjust the ledger, whose counts still add up to those fetched."""
    if rows := [each.row for each in records if each.row]:
        await connection.run_sync(insert_movements, key, rows)
        loaded = unloaded_ids.c.position.in_([row.position for row in rows])
        await connection.execute(delete(unloaded_ids).where(unloaded_ids.c.run_key == key, loaded))
    for outcome, note in NOTES.items():
        if positions := [each.position for each in records if each.outcome is outcome]:
            await connection.execute(
                update(dead_letters)
                .where(
                    dead_letters.c.run_key == key,
                    dead_letters.c.stage == VALIDATION,
                    dead_letters.c.position.in_(positions),
                )
                .values(
                    state=DeadLetterState.REPLAYED, changed_by=by, changed_at=datetime.now(UTC), note=note
                )
            )
    moved = Counter((chunk_of[each.position], each.outcome) for each in records)
    for (index, outcome), number in sorted(moved.items()):
        await connection.execute(
            update(chunks)
            .where(chunks.c.run_key == key, chunks.c.chunk_index == index)
            .values({outcome.value: chunks.c[outcome.value] + number, "rejected": chunks.c.rejected - number})
        )


async def _publish(connection: AsyncConnection, run: RunRow, added: int) -> None:
    """Number the change of what is visible, and mark the run's ranges as changed by it."""
    new = await insert_publication(connection, run.run, Cause.REPLAY, Difference(added, 0, 0))
    await connection.execute(
        update(published_ranges)
        .where(published_ranges.c.run_key == run.key)
        .values(publication=new.publication, published_at=new.published_at)
    )


async def _mark_unsent(
    connection: AsyncConnection,
    pushed: Sequence[Row[Any]],
    chunk_of: dict[int, int],
    rows: Sequence[MovementRow],
) -> int:
    """Reopen pushed chunks, so that their next push sends only these rows. Return the number of rows."""
    unsent: set[int] = set()
    for row in pushed:
        positions = sorted(each.position for each in rows if chunk_of[each.position] == row.chunk_index)
        if row.state == PushState.PUSHED and positions:
            await write_push(connection, row, **reopened_values(positions))
            unsent.update(positions)
    return len(unsent)

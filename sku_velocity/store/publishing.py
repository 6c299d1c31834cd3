"""Publishing: the time ranges in which each run is visible. Every instant has at most one run."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import ColumnElement, Row, and_, bindparam, delete, func, insert, select, text, update
from sqlalchemy.ext.asyncio import AsyncConnection

from sku_velocity.errors import IncompleteWindowError
from sku_velocity.model.dead_letter import DeadLetterState
from sku_velocity.model.run import RunState, SyncRun
from sku_velocity.model.window import PublishedSegment, Window
from sku_velocity.store.chunks import RunRow, check_plan, count_unlanded, get_run
from sku_velocity.store.tables import ForeignText, dead_letters, movements, published_ranges, sync_runs

# One statement, so that nothing is read before the lock is taken. In a transaction whose snapshot is older
# than another's lock it fails: such a transaction would not see what the other one published.
_LOCK = text(
    "INSERT INTO publishing_locks (source, warehouse_id, times_taken) "
    "SELECT source, warehouse_id, 1 FROM sync_runs WHERE flow_run_id = :run "
    "ON CONFLICT (source, warehouse_id) DO UPDATE SET times_taken = publishing_locks.times_taken + 1"
).bindparams(bindparam("run", type_=ForeignText))

Ranges = list[tuple[int, Window]]  # pairs of a run's key and a time range in which it is published


def cut_out(whole: Window, hole: Window) -> list[Window]:
    """Return the parts of `whole` outside `hole`: all of it, one or two segments, or nothing."""
    left = (whole.start, min(whole.end, hole.start))
    right = (max(whole.start, hole.end), whole.end)
    return [Window(start, end) for start, end in dict.fromkeys((left, right)) if start < end]


async def publish(connection: AsyncConnection, flow_run_id: str, repairs: int | None = None) -> int | None:
    """Publish a run's window in place of what was published there. Return the run's key.

    What a run that was planned later has published stays. None if the run is published already. Raises
    IncompleteWindowError if not all of its chunks have landed, if later runs cover all of its window, or if
    it is no longer read by the plan after this number of repairs.
    """
    row = await lock_run(connection, flow_run_id)
    key, run = row.key, row.run
    if run.state is RunState.PUBLISHED:
        return None
    check_plan(run.id, run.repairs, repairs)
    await _check_publishable(connection, key, run)
    newer = await find_newer(connection, run)
    overlapped = await _take_overlapped(connection, run)
    kept = [(other, window) for other, window in overlapped if other in newer]
    segments = [run.window]
    for _, window in kept:
        segments = [left for segment in segments for left in cut_out(segment, window)]
    if not segments:
        raise IncompleteWindowError(
            f"run {run.id} of {run.warehouse} from {run.source}, {run.window}: runs that were planned later "
            f"({', '.join(newer.values())}) are published in all of its window, so its rows may be older and "
            "are not needed: Retry reads the window again"
        )
    kept += [
        (other, segment)
        for other, window in overlapped
        if other not in newer
        for segment in cut_out(window, run.window)
    ]
    kept += [(key, segment) for segment in segments]
    rows = [_range_values(run, owner, window) for owner, window in kept]
    await connection.execute(insert(published_ranges), rows)
    await _retire(connection, {other for other, _ in overlapped} - {key})
    return key


async def lock_run(connection: AsyncConnection, flow_run_id: str) -> RunRow:
    """Lock publishing for a run's source and warehouse until the transaction ends. Return the run."""
    await lock_warehouse(connection, flow_run_id)
    return await get_run(connection, flow_run_id)


async def lock_warehouse(connection: AsyncConnection, flow_run_id: str) -> None:
    """Lock publishing for a run's source and warehouse until the transaction ends, if the run exists."""
    await connection.execute(_LOCK, {"run": flow_run_id})


async def _check_publishable(connection: AsyncConnection, key: int, run: SyncRun) -> None:
    if run.state is RunState.SUPERSEDED:
        raise IncompleteWindowError(
            f"run {run.id} of {run.warehouse} from {run.source}, {run.window}, was superseded by a later one "
            "and cannot be published: start a new run of this window"
        )
    if unlanded := await count_unlanded(connection, key):
        raise IncompleteWindowError(
            f"run {run.id} of {run.warehouse} from {run.source}, {run.window}: {unlanded} of its chunks have "
            "not landed: retry the run, which reads only those"
        )


async def find_newer(connection: AsyncConnection, run: SyncRun) -> dict[int, str]:
    """Return the runs that were planned after this one and are published in its window: ids by key."""
    newer = (
        select(sync_runs.c.run_key, sync_runs.c.flow_run_id)
        .join(published_ranges)
        .where(overlapping(run), sync_runs.c.plan_number > run.plan_number)
        .distinct()
    )
    return {row.run_key: row.flow_run_id for row in await connection.execute(newer)}


def overlapping(run: SyncRun) -> ColumnElement[bool]:
    """Return the condition for a published range to overlap a run's window."""
    ranges = published_ranges.c
    return and_(
        ranges.source == run.source,
        ranges.warehouse_id == run.warehouse,
        ranges.range_start < run.window.end,
        ranges.range_end > run.window.start,
    )


async def _take_overlapped(connection: AsyncConnection, run: SyncRun) -> Ranges:
    rows = await connection.execute(select(published_ranges).where(overlapping(run)))
    taken = [(row.run_key, Window(row.range_start, row.range_end)) for row in rows]
    await connection.execute(delete(published_ranges).where(overlapping(run)))
    return taken


def _range_values(run: SyncRun, key: int, window: Window) -> dict[str, Any]:
    return {
        "source": run.source,
        "warehouse_id": run.warehouse,
        "range_start": window.start,
        "range_end": window.end,
        "run_key": key,
    }


async def _retire(connection: AsyncConnection, keys: set[int]) -> None:
    """Mark the runs that are no longer published anywhere as superseded."""
    visible = select(published_ranges.c.run_key)
    await connection.execute(
        update(sync_runs)
        .where(sync_runs.c.run_key.in_(keys), sync_runs.c.run_key.not_in(visible))
        .values(state=RunState.SUPERSEDED, superseded_at=datetime.now(UTC))
    )


COLUMNS = ("sku_id", "units_moved", "timestamp_utc", "movement_id", "position")


async def published_segments(
    connection: AsyncConnection, source: str, warehouse: str, window: Window
) -> list[PublishedSegment]:
    """Return the published segments of a window, by time; there may be none, or gaps."""
    ranges = published_ranges.c
    replayed = select(func.count()).where(
        dead_letters.c.run_key == ranges.run_key, dead_letters.c.state == DeadLetterState.REPLAYED
    )
    rows = await connection.execute(
        select(published_ranges, sync_runs.c.flow_run_id, replayed.scalar_subquery().label("replayed"))
        .join(sync_runs)
        .where(
            ranges.source == source,
            ranges.warehouse_id == warehouse,
            ranges.range_start < window.end,
            ranges.range_end > window.start,
        )
        .order_by(ranges.range_start)
    )
    return [
        PublishedSegment(
            row.run_key,
            row.flow_run_id,
            Window(max(row.range_start, window.start), min(row.range_end, window.end)),
            row.replayed,
        )
        for row in rows
    ]


async def stream(
    connection: AsyncConnection, segment: PublishedSegment, size: int
) -> AsyncIterator[Sequence[Row[Any]]]:
    """Yield a segment's movements as `COLUMNS`, by position, at most `size` at a time."""
    found = (
        select(*(movements.c[name] for name in COLUMNS))
        .where(
            movements.c.run_key == segment.run_key,
            movements.c.timestamp_utc >= segment.window.start,
            movements.c.timestamp_utc < segment.window.end,
        )
        .order_by(movements.c.position)
        .execution_options(yield_per=size)
    )
    rows = await connection.stream(found)
    async for partition in rows.partitions(size):
        yield partition

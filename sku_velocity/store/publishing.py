"""Publishing: which run shows in which stretch of time, so that every instant has at most one."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Row, delete, func, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from sku_velocity.errors import IncompleteWindowError
from sku_velocity.model.dead_letter import DeadLetterState
from sku_velocity.model.run import RunState, SyncRun
from sku_velocity.model.window import PublishedSegment, Window
from sku_velocity.store.chunks import RunRow, count_unlanded, get_run
from sku_velocity.store.database import lock
from sku_velocity.store.tables import dead_letters, movements, published_ranges, sync_runs

Ranges = list[tuple[int, Window]]  # each a run's key and a stretch of time where it shows


def cut_out(whole: Window, hole: Window) -> list[Window]:
    """What is left of `whole` outside `hole`: itself, one or two segments, or nothing."""
    left = (whole.start, min(whole.end, hole.start))
    right = (max(whole.start, hole.end), whole.end)
    return [Window(start, end) for start, end in dict.fromkeys((left, right)) if start < end]


async def show(connection: AsyncConnection, flow_run_id: str) -> int | None:
    """Make a run's window visible in place of what showed there; gives the run's key.

    None where it is published already. Raises IncompleteWindowError where not all of its chunks have
    landed, or a later run has superseded it.
    """
    row = await take_turn(connection, flow_run_id)
    key, run = row.key, row.run
    if run.state is RunState.PUBLISHED:
        return None
    await _refuse_unfit(connection, key, run)
    overlapped = await _take_overlapped(connection, run)
    kept = [(other, segment) for other, window in overlapped for segment in cut_out(window, run.window)]
    rows = [_range_values(run, owner, window) for owner, window in [*kept, (key, run.window)]]
    await connection.execute(insert(published_ranges), rows)
    await _retire(connection, {other for other, _ in overlapped} - {key})
    return key


async def take_turn(connection: AsyncConnection, flow_run_id: str) -> RunRow:
    """A run as it stands once nobody else publishes for its source and warehouse, until we have ended."""
    run = (await get_run(connection, flow_run_id)).run
    await lock(connection, "publish", run.source, run.warehouse)
    return await get_run(connection, flow_run_id)


async def _refuse_unfit(connection: AsyncConnection, key: int, run: SyncRun) -> None:
    if run.state is RunState.SUPERSEDED:
        raise IncompleteWindowError(
            f"run {run.id} of {run.warehouse} from {run.source}, {run.window}, was superseded by a later one "
            "and stays so: start a new run of this window"
        )
    if unlanded := await count_unlanded(connection, key):
        raise IncompleteWindowError(
            f"run {run.id} of {run.warehouse} from {run.source}, {run.window}: {unlanded} of its chunks have "
            "not landed: retry the run, which reads only those"
        )


async def _take_overlapped(connection: AsyncConnection, run: SyncRun) -> Ranges:
    ranges = published_ranges.c
    overlapping = (
        (ranges.source == run.source)
        & (ranges.warehouse_id == run.warehouse)
        & (ranges.range_start < run.window.end)
        & (ranges.range_end > run.window.start)
    )
    rows = await connection.execute(select(published_ranges).where(overlapping))
    taken = [(row.run_key, Window(row.range_start, row.range_end)) for row in rows]
    await connection.execute(delete(published_ranges).where(overlapping))
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
    """Mark those of these runs that show nowhere any more as superseded."""
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
    """Which runs show in a window, by time; there may be none, and they may leave gaps."""
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
    """A segment's movements as `COLUMNS`, in the order of their positions, at most `size` at a time."""
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
    async for batch in rows.partitions(size):
        yield batch

"""What shows of one stretch of time: which runs, and their movements in order, a batch at a time."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import Any

from sqlalchemy import Row, func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from sku_velocity.model.dead_letter import LetterState
from sku_velocity.model.window import Piece, Window
from sku_velocity.store.tables import dead_letters, movements, published_ranges, sync_runs

COLUMNS = ("sku_id", "units_moved", "timestamp_utc", "movement_id", "position")


async def pieces_of(connection: AsyncConnection, source: str, warehouse: str, window: Window) -> list[Piece]:
    """Which runs show in a window, by time; there may be none, and they may leave gaps."""
    ranges = published_ranges.c
    replayed = select(func.count()).where(
        dead_letters.c.run_key == ranges.run_key, dead_letters.c.state == LetterState.REPLAYED
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
        Piece(
            row.run_key,
            row.flow_run_id,
            Window(max(row.range_start, window.start), min(row.range_end, window.end)),
            row.replayed,
        )
        for row in rows
    ]


async def stream(connection: AsyncConnection, piece: Piece, size: int) -> AsyncIterator[Sequence[Row[Any]]]:
    """A piece's movements as `COLUMNS`, in the order of their positions, at most `size` at a time."""
    found = (
        select(*(movements.c[name] for name in COLUMNS))
        .where(
            movements.c.run_key == piece.run_key,
            movements.c.timestamp_utc >= piece.window.start,
            movements.c.timestamp_utc < piece.window.end,
        )
        .order_by(movements.c.position)
        .execution_options(yield_per=size)
    )
    rows = await connection.stream(found)
    async for batch in rows.partitions(size):
        yield batch

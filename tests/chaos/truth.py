"""What a reader of the store sees of a warehouse, held against what the source holds."""

from __future__ import annotations

import asyncio
from collections import Counter
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import text

from simulator.server import Server
from sku_velocity.store import Store
from sku_velocity.store.engine import Database

Content = Counter[tuple[Any, ...]]

MOVEMENTS = text(
    "SELECT movement_id, sku_id, warehouse_id, units_moved, timestamp_utc FROM published_movements "
    "WHERE warehouse_id = :warehouse"
)
DEAD_LETTERS = text(
    "SELECT position FROM dead_letters WHERE run_key IN "
    "(SELECT run_key FROM published_ranges WHERE warehouse_id = :warehouse)"
)
RUNS = text("SELECT flow_run_id FROM sync_runs ORDER BY run_key")


def true_content(server: Server, warehouse: str = "WH-01", **window: datetime) -> Content:
    """Each movement, and each dead letter by its position, that a reader must find exactly once."""
    truth = server.ground_truth(warehouse, **window)
    return Counter([*truth.movements, *((position,) for position in truth.bad_positions)])


def seen_content(url: str, warehouse: str = "WH-01") -> Content:
    """The published movements and their dead letters; nothing where the store is still empty."""

    async def look() -> Content:
        async with Store.open(url):
            pass  # it has its tables now
        database = Database(url)
        try:
            async with database.reading() as connection:
                rows = (await connection.execute(MOVEMENTS, {"warehouse": warehouse})).all()
                letters = (await connection.execute(DEAD_LETTERS, {"warehouse": warehouse})).all()
        finally:
            await database.close()
        return Counter([*((*row[:4], _instant(row[4])) for row in rows), *(tuple(row) for row in letters)])

    return asyncio.run(look())


def runs_in(url: str) -> list[str]:
    """The ids of the runs that a store knows, in the order in which they were planned."""

    async def look() -> list[str]:
        async with Store.open(url):
            pass
        database = Database(url)
        try:
            async with database.reading() as connection:
                return list((await connection.execute(RUNS)).scalars())
        finally:
            await database.close()

    return asyncio.run(look())


def _instant(told: Any) -> datetime:
    return datetime.fromisoformat(str(told)).astimezone(UTC)

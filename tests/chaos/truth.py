"""What a reader of the store sees of a warehouse, held against what the source holds."""

from __future__ import annotations

import asyncio
from collections import Counter
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import TextClause, text

from simulator.server import Server
from sku_velocity.store import Store
from sku_velocity.store.database import Database

Content = Counter[tuple[Any, ...]]

MOVEMENTS = text(
    "SELECT movement_id, sku_id, warehouse_id, units_moved, timestamp_utc FROM published_movements "
    "WHERE warehouse_id = :warehouse"
)
DEAD_LETTERS = text(
    "SELECT position FROM dead_letters WHERE run_key IN "
    "(SELECT run_key FROM published_ranges WHERE warehouse_id = :warehouse)"
)
LANDED = text("SELECT count(*) FROM chunks WHERE state = 'landed'")
RUNS = text("SELECT flow_run_id FROM sync_runs ORDER BY run_key")


def true_content(server: Server, warehouse: str = "WH-01", **window: datetime) -> Content:
    """Each movement, and each dead letter by its position, that a reader must find exactly once."""
    truth = server.ground_truth(warehouse, **window)
    return Counter([*truth.movements, *((position,) for position in truth.bad_positions)])


def seen_content(url: str, warehouse: str = "WH-01") -> Content:
    """The published movements and their dead letters; nothing where the store is still empty."""

    rows = asyncio.run(_look(url, MOVEMENTS, DEAD_LETTERS, warehouse=warehouse))
    return Counter((*row[:4], *map(_instant, row[4:])) for row in rows)


def runs_in(url: str) -> list[str]:
    """The ids of the runs that a store knows, in the order in which they were planned."""
    return [str(run) for (run,) in asyncio.run(_look(url, RUNS))]


def landed_in(url: str) -> int:
    """How many chunks have landed in a store, of all its runs."""
    [(count,)] = asyncio.run(_look(url, LANDED))
    return int(count)


async def _look(url: str, *statements: TextClause, **parameters: str) -> list[Any]:
    """The rows of all these statements, in one transaction."""
    async with Store.open(url):
        pass  # it has its tables now
    database = Database(url)
    try:
        async with database.reading() as connection:
            return [row for each in statements for row in (await connection.execute(each, parameters)).all()]
    finally:
        await database.close()


def _instant(told: Any) -> datetime:
    return datetime.fromisoformat(str(told)).astimezone(UTC)

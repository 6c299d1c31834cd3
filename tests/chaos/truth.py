"""A warehouse's published content, and the content of its source to compare it with."""

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
RUNS = text("SELECT run_id, flow_run_id FROM sync_runs ORDER BY run_key")


def true_content(server: Server, warehouse: str = "WH-01", **window: datetime) -> Content:
    """Return each movement, and each dead letter by position, that a reader must find exactly once."""
    truth = server.ground_truth(warehouse, **window)
    return Counter([*truth.movements, *((position,) for position in truth.bad_positions)])


def seen_content(url: str, warehouse: str = "WH-01") -> Content:
    """Return the published movements and their dead letters; nothing if the store is still empty."""

    rows = asyncio.run(_read(url, MOVEMENTS, DEAD_LETTERS, warehouse=warehouse))
    return Counter((*row[:4], *map(_instant, row[4:])) for row in rows)


def runs_in(url: str) -> list[str]:
    """Return the ids of a store's runs, in the order in which they were planned."""
    return [run for run, _ in asyncio.run(_read(url, RUNS))]


def flow_runs_in(url: str) -> list[str]:
    """Return the ids of the flow runs that started a store's runs, in the same order."""
    return [flow_run for _, flow_run in asyncio.run(_read(url, RUNS))]


def landed_in(url: str) -> int:
    """Return the number of chunks that have landed in a store, over all runs."""
    [(count,)] = asyncio.run(_read(url, LANDED))
    return int(count)


async def _read(url: str, *statements: TextClause, **parameters: str) -> list[Any]:
    """Return the rows of all these statements, in one transaction."""
    async with Store.open(url):
        pass  # creates its tables
    database = Database(url)
    try:
        async with database.reading() as connection:
            return [row for each in statements for row in (await connection.execute(each, parameters)).all()]
    finally:
        await database.close()


def _instant(value: Any) -> datetime:
    return datetime.fromisoformat(str(value)).astimezone(UTC)

"""A store with published windows, row by row, as a reader of `published_movements` sees them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from itertools import count
from typing import Any

from sqlalchemy import text

from sku_velocity.model.chunk import Chunk, Page, PageResult
from sku_velocity.model.movement import MovementRow
from sku_velocity.model.run import SyncRun
from sku_velocity.model.window import Window
from sku_velocity.store import Store
from sku_velocity.store.database import Database

Moved = tuple[str, int, datetime]  # SKU, units, instant

_ids = count()


async def publish(
    store: Store,
    rows: Sequence[Moved],
    window: Window,
    warehouse: str = "WH-01",
    source: str = "acme",
    orders: Sequence[str | None] | None = None,
) -> None:
    """Publish a window of these movements, replacing what was published there, each with its order's id."""
    run = SyncRun(f"velocity-{next(_ids)}", source, warehouse, window, len(rows))
    await store.runs.begin(run, [Chunk(0, 0, len(rows), len(rows))] if rows else [])
    if rows:
        landed = [
            MovementRow(place, None, sku, warehouse, units, at, order_id=orders[place] if orders else None)
            for place, (sku, units, at) in enumerate(rows)
        ]
        await store.chunks.land_page(run.id, 0, PageResult(Page(0, len(rows)), len(rows), landed, []))
    await store.publications.publish(run.id, "{}")


async def table(url: str, sql: str) -> list[tuple[Any, ...]]:
    """Return the rows of a query on the store at this URL."""
    database = Database(url)
    try:
        async with database.reading() as connection:
            return [tuple(row) for row in await connection.execute(text(sql))]
    finally:
        await database.close()

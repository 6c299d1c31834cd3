"""A store with published warehouses to refresh the velocity of."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from sku_velocity.model.window import Window
from sku_velocity.store import Store
from tests.support.published_store import Moved, publish, table

AS_OF = "2026-04-05"
ROWS: list[Moved] = [
    ("SKU-1", 9, datetime(2026, 4, 5, 10, tzinfo=UTC)),
    ("SKU-2", 1, datetime(2026, 4, 4, 22, 30, tzinfo=UTC)),  # the 5th in Berlin
]


def filled(url: str, warehouses: Sequence[str] = ("WH-01",), rows: Sequence[Moved] = ROWS) -> str:
    """Return a store in which all time of these warehouses is published."""

    async def fill() -> None:
        async with Store.open(url) as store:
            for warehouse in warehouses:
                await publish(store, rows, Window.everything(), warehouse)

    asyncio.run(fill())
    return url


def look(url: str, sql: str) -> list[tuple[Any, ...]]:
    return asyncio.run(table(url, sql))

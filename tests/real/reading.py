"""Reads a window of a real system by its preset, through plan, ingest, proof and publication."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime
from typing import Any, NamedTuple

from pydantic import SecretStr
from sqlalchemy import text

from sku_velocity.model.run import Verdict
from sku_velocity.model.window import Window
from sku_velocity.source.client import SourceClient
from sku_velocity.source.spec import parse_spec
from sku_velocity.source.window import WindowReader
from sku_velocity.store import Store
from sku_velocity.store.database import Database
from tests.support.steps_driver import read_whole

COLUMNS = "movement_id, sku_id, warehouse_id, units_moved, timestamp_utc"


class Row(NamedTuple):
    """A movement as the system's own database has it, and as it was published."""

    movement_id: str
    sku: str
    warehouse: str
    units: int
    at: datetime


Content = Counter[Row]


async def read(
    spec: dict[str, Any], token: str | None, url: str, warehouse: str, window: Window
) -> tuple[Verdict, Content]:
    """Sync one window into the store; return its verdict and what was published of it."""
    parsed = parse_spec({"pace": {"requests_per_second": 200}} | spec, "test")
    run = f"{parsed.name} {window}"
    secret = None if token is None else SecretStr(token)
    async with SourceClient.open(parsed, secret) as client, Store.open(url) as store:
        verdict = await read_whole(WindowReader.of(client, warehouse, window), store, run, repairs=0)
        assert await store.dead_letters.of(run) == []
    return verdict, await _published(url, run)


async def _published(url: str, run: str) -> Content:
    query = text(f"SELECT {COLUMNS} FROM published_movements WHERE run_id = :run")
    database = Database(url)
    try:
        async with database.reading() as connection:
            rows = await connection.execute(query, {"run": run})
            return Counter(Row(*row[:4], _instant(row[4])) for row in rows)
    finally:
        await database.close()


def _instant(value: str | datetime) -> datetime:
    at = value if isinstance(value, datetime) else datetime.fromisoformat(value)
    return at if at.tzinfo else at.replace(tzinfo=UTC)

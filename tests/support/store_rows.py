"""Sample rows, pages and runs of a store."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any

from sqlalchemy import Row, text

from sku_velocity.model.chunk import Chunk, Page, PageResult
from sku_velocity.model.movement import DeadLetter, MovementRow, Reason
from sku_velocity.model.run import SyncRun
from sku_velocity.model.window import Window
from sku_velocity.store import Store
from sku_velocity.store.database import Database

MIDNIGHT = datetime(2026, 3, 1, tzinfo=UTC)
REPORT = '{"verdict": "complete"}'
HOURS = 12
_ids = (f"run-{number}" for number in count())


def hour(number: float) -> datetime:
    return MIDNIGHT + timedelta(hours=number)


def hours(start: float, end: float) -> Window:
    return Window(hour(start), hour(end))


def a_run(window: Window | None = None, total: int = 4, warehouse: str = "WH-01") -> SyncRun:
    return SyncRun(next(_ids), "acme", warehouse, window or hours(0, 4), total)


def a_row(position: int, at: datetime | None = None, units: int = 1, warehouse: str = "WH-01") -> MovementRow:
    return MovementRow(position, f"m-{position}", "SKU-1", warehouse, units, at or hour(position))


def a_letter(position: int, record_json: str = "{}") -> DeadLetter:
    return DeadLetter(position, record_json, (Reason("sku_id", "must contain only A-Z, 0-9 and '-'"),))


def a_page(page: Page, rows: Sequence[MovementRow], letters: Sequence[DeadLetter] = ()) -> PageResult:
    trimmed = page.size - len(rows) - len(letters)
    return PageResult(page, page.size, list(rows), list(letters), trimmed=trimmed, seconds=0.5)


async def query(database: Database, sql: str, **values: Any) -> Sequence[Row[Any]]:
    async with database.reading() as connection:
        return (await connection.execute(text(sql), values)).all()


async def execute(database: Database, sql: str) -> None:
    async with database.writing() as connection:
        await connection.execute(text(sql))


async def land(store: Store, run: SyncRun, instants: Sequence[datetime]) -> SyncRun:
    """Begin a run of one page with a movement at each instant, and land it."""
    run = replace(run, total=len(instants))
    plan = [Chunk(0, 0, len(instants), len(instants))] if instants else []
    await store.runs.begin(run, plan)
    if instants:
        rows = [a_row(place, at, warehouse=run.warehouse) for place, at in enumerate(instants)]
        await store.chunks.land_page(run.id, 0, a_page(Page(0, len(rows)), rows))
    return run


async def land_hourly(store: Store, window: Window, warehouse: str = "WH-01") -> SyncRun:
    """Land a run with a movement at each whole hour of its window."""
    instants = [hour(n) for n in range(HOURS) if hour(n) in window]
    return await land(store, a_run(window, warehouse=warehouse), instants)


async def publish_hourly(store: Store, window: Window, warehouse: str = "WH-01") -> SyncRun:
    run = await land_hourly(store, window, warehouse)
    await store.publications.publish(run.id, REPORT)
    return run

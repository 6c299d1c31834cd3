"""For the tests of dead letters: a store with runs whose rejects a mended spec lets pass."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from sqlalchemy import text

from sku_velocity.model.chunk import Chunk, PageResult
from sku_velocity.model.dead_letter import DeadLetterFilter, DeadLetterState
from sku_velocity.model.movement import DeadLetter, MovementRow, Reason
from sku_velocity.model.run import MasterVersion, SyncRun
from sku_velocity.model.window import Window
from sku_velocity.source.spec import SourceSpec, parse_spec
from sku_velocity.store import Store
from sku_velocity.store.database import Database
from tests.support.engine import seconds, some_rows

OPEN = DeadLetterFilter(source="acme", stage="validation", state=DeadLetterState.OPEN)
WHY = (Reason("units_moved", "must be a whole number of units, 0 or more"),)
LEDGER = text(
    "SELECT sum(fetched), sum(loaded), sum(rejected), sum(trimmed), sum(filtered) FROM chunks c "
    "JOIN sync_runs r ON r.run_key = c.run_key WHERE r.flow_run_id = :run"
)
SHOWN = text("SELECT position FROM published_movements ORDER BY position")


def mended(**parts: Any) -> SourceSpec:
    """The spec by which units may be negative, for its sign is dropped."""
    fields = {"movement_id": "id", "units_moved": {"path": "units", "sign": "abs"}}
    return parse_spec(
        {
            "name": "acme",
            "base_url": "http://127.0.0.1:1",
            "request": {"params": {"warehouse": "{warehouse}"}},
            "records": {"path": "data"},
            "fields": fields,
            **parts,
        },
        "test",
    )


def record(position: int, **parts: Any) -> dict[str, Any]:
    """A record whose units are negative."""
    row = some_rows(1, position)[0]
    told = {"id": row[1], "sku_id": "SKU-1", "warehouse_id": "WH-01", "units": -3}
    return told | {"timestamp_utc": row[5].isoformat()} | parts


def letter(position: int, **parts: Any) -> DeadLetter:
    return DeadLetter(position, json.dumps(record(position, **parts)), WHY)


async def land_run(
    store: Store,
    run_id: str,
    letters: Mapping[int, DeadLetter],
    window: Window | None = None,
    published: bool = True,
    master: MasterVersion | None = None,
    warehouse: str = "WH-01",
    total: int = 20,
) -> SyncRun:
    """A run of a row a second in chunks of ten, with letters in place of some rows."""
    run = SyncRun(run_id, "acme", warehouse, window or seconds(0, total), total, master=master)
    chunks = [Chunk(n, n * 10, 10, 10) for n in range(total // 10)]
    await store.begin(run, chunks)
    for chunk in chunks:
        (page,) = chunk.pages()
        rows = [row for row in _rows(page.offset, warehouse) if row[0] not in letters]
        here = [letters[n] for n in sorted(letters) if page.offset <= n < page.end]
        await store.land_page(run_id, chunk.index, PageResult(page, page.size, rows, here))
    if published:
        await store.publish(run_id, "{}")
    else:
        await store.refuse(run_id, "{}")
    return run


def _rows(first: int, warehouse: str) -> list[MovementRow]:
    return [(*row[:3], warehouse, *row[4:]) for row in some_rows(10, first)]


async def ledger_of(url: str, run_id: str) -> tuple[int, ...]:
    """Fetched, loaded, rejected, trimmed and filtered."""
    database = Database(url)
    try:
        async with database.reading() as connection:
            return tuple(map(int, (await connection.execute(LEDGER, {"run": run_id})).one()))
    finally:
        await database.close()


async def shown_positions(url: str) -> list[int]:
    """The positions that a reader of the store sees."""
    database = Database(url)
    try:
        async with database.reading() as connection:
            return list((await connection.execute(SHOWN)).scalars())
    finally:
        await database.close()

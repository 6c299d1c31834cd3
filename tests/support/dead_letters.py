"""For the tests of dead letters: a store with runs whose rejects are valid by a fixed spec."""

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
    "JOIN sync_runs r ON r.run_key = c.run_key WHERE r.run_id = :run"
)
SHOWN = text("SELECT position FROM published_movements ORDER BY position")


def fixed_spec(**parts: Any) -> SourceSpec:
    """Return a spec that accepts negative units, by dropping their sign."""
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
    """Return a record with negative units."""
    row = some_rows(1, position)[0]
    fields = {"id": row.movement_id, "sku_id": "SKU-1", "warehouse_id": "WH-01", "units": -3}
    return fields | {"timestamp_utc": row.timestamp_utc.isoformat()} | parts


def dead_letter(position: int, **parts: Any) -> DeadLetter:
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
    """Land a run of one row per second in chunks of ten, with dead letters in place of some rows."""
    run = SyncRun(run_id, "acme", warehouse, window or seconds(0, total), total, master=master)
    chunks = [Chunk(n, n * 10, 10, 10) for n in range(total // 10)]
    await store.runs.begin(run, chunks)
    for chunk in chunks:
        (page,) = chunk.pages()
        rows = [row for row in _rows(page.offset, warehouse) if row.position not in letters]
        here = [letters[n] for n in sorted(letters) if page.offset <= n < page.end]
        await store.chunks.land_page(run_id, chunk.index, PageResult(page, page.size, rows, here))
    if published:
        await store.publications.publish(run_id, "{}")
    else:
        await store.runs.refuse(run_id, "{}")
    return run


def _rows(first: int, warehouse: str) -> list[MovementRow]:
    return [row._replace(warehouse_id=warehouse) for row in some_rows(10, first)]


async def ledger_of(url: str, run_id: str) -> tuple[int, ...]:
    """Return the counts of fetched, loaded, rejected, trimmed and filtered records."""
    database = Database(url)
    try:
        async with database.reading() as connection:
            return tuple(map(int, (await connection.execute(LEDGER, {"run": run_id})).one()))
    finally:
        await database.close()


async def shown_positions(url: str) -> list[int]:
    """Return the positions that a reader of the store sees."""
    database = Database(url)
    try:
        async with database.reading() as connection:
            return list((await connection.execute(SHOWN)).scalars())
    finally:
        await database.close()

"""Acme's WMS, simulated: its spec, and what a reader of the store sees after a sync."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml
from sqlalchemy import text

from simulator.scenario import Scenario
from simulator.server import Server, serve
from sku_velocity.store import Store
from sku_velocity.store.database import Database
from tests.support.scripted_server import ScriptedServer

TOKEN = "s3cret-token"
WHOLE = {"start": "2026-03-01T00:00:00Z", "end": "2026-03-08T00:00:00Z"}
ROWS = text("SELECT count(*), coalesce(sum(units_moved), 0), count(DISTINCT run_id) FROM published_movements")


@contextmanager
def wms(tmp_path: Path, **scenario: Any) -> Iterator[tuple[Server, str]]:
    """A simulated WMS of 1,000 records, and the path of its spec with pages of 100."""
    with serve(Scenario(token=TOKEN, bad_ratio=0.02, **scenario)) as server:
        yield server, spec_file(server, tmp_path)


def spec_file(server: Server | ScriptedServer, directory: Path, **parts: Any) -> str:
    """Write the server's spec, with `parts` replaced, and return its path."""
    path = directory / "acme.yaml"
    path.write_text(yaml.safe_dump(spec_of(server) | parts))
    return str(path)


def spec_of(server: Server | ScriptedServer) -> dict[str, Any]:
    return {
        "name": "acme",
        "base_url": server.url,
        "request": {"params": {"warehouse": "{warehouse}"}},
        "records": {"path": "records"},
        "total": {"from": "body", "path": "total"},
        "order": {"stable": True},
        "paging": {"page_size": 101},  # 100 new records and one of the previous page
        "pace": {"requests_per_second": 200},
        "fields": {"movement_id": "movement_id"},
    }


def published(url: str) -> tuple[int, int, int]:
    """Return the rows, units and runs that a reader of the store sees."""

    async def look() -> tuple[int, int, int]:
        database = Database(url)
        try:
            async with database.reading() as connection:
                rows, units, runs = (await connection.execute(ROWS)).one()
                return int(rows), int(units), int(runs)
        finally:
            await database.close()

    return asyncio.run(look())


def dead_letters(url: str, run: str) -> int:
    async def count() -> int:
        async with Store.open(url) as store:
            return len(await store.dead_letters.of(run))

    return asyncio.run(count())

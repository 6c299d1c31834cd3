"""For the tests of the push: engine specs, records, published runs, and a push without Prefect."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import yaml
from pydantic import SecretStr

from simulator.server import EngineServer, Server, serve_engine
from simulator.slotting import EngineScenario
from sku_velocity.model.chunk import Chunk, PageResult
from sku_velocity.model.movement import MovementRow
from sku_velocity.model.push import Batch, movement_batch
from sku_velocity.model.run import SyncRun
from sku_velocity.model.window import Window
from sku_velocity.slotting.client import SlottingClient
from sku_velocity.slotting.spec import EngineSpec, parse_engine
from sku_velocity.source.paging import plan_chunks
from sku_velocity.steps.push import plan_parts, push_chunk
from sku_velocity.store import Store
from tests.support.acme import WHOLE, wms
from tests.support.steps_driver import Content

MIDNIGHT = datetime(2026, 3, 1, tzinfo=UTC)
ENGINE_TOKEN = "s3cret-engine-token"
FAST = {"requests_per_second": 5000, "max_concurrency": 4}


def engine_spec(url: str, **parts: Any) -> EngineSpec:
    return parse_engine({"name": "slots", "base_url": url, "pace": FAST, **parts}, "test")


def some_rows(count: int, first: int = 0) -> list[MovementRow]:
    return [
        MovementRow(position, f"m-{position}", "SKU-1", "WH-01", 1, MIDNIGHT + timedelta(seconds=position))
        for position in range(first, first + count)
    ]


def a_batch(count: int = 2) -> Batch:
    return movement_batch("acme", "run-1", "0-0", some_rows(count))


def reply_body(accepted: list[str], rejected: dict[str, str] | None = None) -> bytes:
    """Return the body of an engine's response."""
    refused = [{"id": id, "reason": reason} for id, reason in (rejected or {}).items()]
    return json.dumps({"accepted": accepted, "rejected": refused}).encode()


def seconds(start: float, end: float) -> Window:
    """Return the window of the rows at these positions."""
    return Window(MIDNIGHT + timedelta(seconds=start), MIDNIGHT + timedelta(seconds=end))


async def publish(store: Store, run_id: str, window: Window, chunk_size: int = 10, **options: Any) -> SyncRun:
    """Publish a run of one row per second."""
    first = int((window.start - MIDNIGHT).total_seconds())
    count = int((window.end - window.start).total_seconds())
    run = SyncRun(run_id, "acme", "WH-01", window, count)
    chunks = plan_chunks(count, chunk_size, 0)
    await store.runs.begin(run, chunks)
    for chunk in chunks:
        await land(store, run_id, chunk, first)
    if options.get("shown", True):
        await store.publications.publish(run_id, "{}")
    return run


async def land(store: Store, run_id: str, chunk: Chunk, first: int) -> None:
    (page,) = chunk.pages()
    rows = [row._replace(position=row.position - first) for row in some_rows(page.size, first + page.offset)]
    await store.chunks.land_page(run_id, chunk.index, PageResult(page, page.size, rows, []))


async def push_all(store: Store, spec: EngineSpec, run_id: str, token: str | None = None) -> None:
    """Push what is left of a run as the operation does, with waits divided by 100."""

    async def sleep(seconds: float) -> None:
        await asyncio.sleep(seconds / 100)

    secret = SecretStr(token) if token else None
    async with SlottingClient.open(spec, secret, sleep=sleep) as client:
        await push_parts(client, store, run_id)


async def push_parts(client: SlottingClient, store: Store, run_id: str, spec_changes: bool = False) -> None:
    """Push what is left of a run: what must be answered before, then its chunks all at once."""
    found = await store.runs.find(run_id)
    assert found
    plan = await plan_parts(store, found, client.spec.name, spec_changes)
    for parts in (plan.unanswered, plan.first, plan.parts):
        async with asyncio.TaskGroup() as pushing:
            for run, chunk in parts:
                pushing.create_task(push_chunk(client, store, run.id, chunk.index))


@contextmanager
def both(tmp_path: Path, **scenario: Any) -> Iterator[tuple[Server, EngineServer, dict[str, Any]]]:
    """A WMS, a slotting engine, and the parameters that read from one and push to the other."""
    behaviour = EngineScenario(token=ENGINE_TOKEN, **scenario)
    with wms(tmp_path) as (server, source), serve_engine(behaviour) as engine:
        path = tmp_path / "slots.yaml"
        pace = {"requests_per_second": 200}
        path.write_text(yaml.safe_dump({"name": "slots", "base_url": engine.url, "pace": pace}))
        yield server, engine, {"source": source, "push": str(path), **WHOLE}


def engine_file(directory: Path, engine: EngineServer) -> str:
    path = directory / "slots.yaml"
    path.write_text(yaml.safe_dump({"name": "slots", "base_url": engine.url, "pace": FAST}))
    return str(path)


def held(engine: EngineServer) -> Content:
    """Return the records that the engine holds, as `published` returns those of a store."""
    return Counter(
        (each["id"], each["sku_id"], each["units_moved"], each["timestamp_utc"][:19])
        for each in engine.simulator.movements.current.values()
    )

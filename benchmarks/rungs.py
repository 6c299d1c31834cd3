"""Takes chunks through the first steps of a sync, one after the other: one process of `chunk`, no Prefect.

Its last line tells the CPU seconds when its imports were done and when the measured chunks began, and the
wall seconds that these took.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
import uuid
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

from sku_velocity import steps
from sku_velocity.models import Chunk, SyncRun, Window
from sku_velocity.source.client import SourceClient
from sku_velocity.source.requests import Requests
from sku_velocity.source.spec import load_spec
from sku_velocity.source.window import WindowReader
from sku_velocity.store import Store

WAREHOUSE = "WH-01"
WARM_UP = 10  # chunks before those that are measured
IMPORTED = time.process_time()

Step = Callable[[Chunk], Awaitable[object]]


def step_of(rung: str, reader: WindowReader, store: Store, run: SyncRun) -> Step:
    """What is done with a chunk, up to this rung."""
    requests = Requests(reader.client.spec, reader.warehouse, reader.window)

    async def fetch(chunk: Chunk) -> None:
        for page in chunk.pages():
            ask = requests.page(page.offset - page.before, page.before + page.size)
            await reader.client.fetch(reader.client.build_request(ask), bytes)

    async def read(chunk: Chunk) -> None:
        for page in chunk.pages():
            await reader.read(page)

    async def write(chunk: Chunk) -> None:
        await steps.read_chunk(reader, store, run, chunk)

    return {"fetch": fetch, "read": read, "write": write}[rung]


async def climb(rung: str, spec: Path, store_url: str, number: int) -> dict[str, float]:
    async with SourceClient.open(load_spec(spec), None) as client, Store.open(store_url) as store:
        reader = WindowReader.of(client, WAREHOUSE, Window.everything())
        run = await steps.plan(reader, store, str(uuid.uuid4()))
        chunks = [batch.chunk for batch in await store.batches(run.id)]
        step = step_of(rung, reader, store, run)
        for chunk in chunks[:WARM_UP]:
            await step(chunk)
        begun, started = time.process_time(), time.monotonic()
        for chunk in chunks[WARM_UP : WARM_UP + number]:
            await step(chunk)
        return {"imported": IMPORTED, "begun": begun, "wall": time.monotonic() - started}


def main(arguments: Sequence[str]) -> None:
    rung, spec, store_url, number = arguments
    print(json.dumps(asyncio.run(climb(rung, Path(spec), store_url, int(number)))))


if __name__ == "__main__":
    main(sys.argv[1:])

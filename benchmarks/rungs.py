"""Take chunks through the first steps of a sync, one after the other: one process of `chunk`, no Prefect.

The last line holds the CPU seconds when the imports were done and when the measured chunks began, and the
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

from sku_velocity.model.run import Plan
from sku_velocity.model.window import Window
from sku_velocity.process.garbage import relaxed_collection
from sku_velocity.source.client import SourceClient
from sku_velocity.source.requests import Requests
from sku_velocity.source.spec import load_spec
from sku_velocity.source.window import WindowReader
from sku_velocity.steps.window import plan, read_chunk
from sku_velocity.store import Store

WAREHOUSE = "WH-01"
WARM_UP = 10  # chunks before the measured ones
IMPORTED = time.process_time()

Step = Callable[[int], Awaitable[object]]


def step_of(rung: str, reader: WindowReader, store: Store, planned: Plan) -> Step:
    """Return what is done with the n-th chunk of a plan, up to this rung."""
    requests = Requests(reader.client.spec, reader.warehouse, reader.window)
    chunks, pending = [progress.chunk for progress in planned.chunks], planned.pending

    async def fetch(number: int) -> None:
        for page in chunks[number].pages():
            ask = requests.page(page.offset - page.before, page.before + page.size)
            await reader.client.fetch(reader.client.build_request(ask), bytes)

    async def read(number: int) -> None:
        for page in chunks[number].pages():
            await reader.read(page)

    async def write(number: int) -> None:
        await read_chunk(reader, store, planned.run, pending[number])

    return {"fetch": fetch, "read": read, "write": write}[rung]


async def climb(rung: str, spec: Path, store_url: str, chunks: int) -> dict[str, float]:
    async with SourceClient.open(load_spec(spec), None) as client, Store.open(store_url) as store:
        reader = WindowReader.of(client, WAREHOUSE, Window.everything())
        run = await plan(reader, store, str(uuid.uuid4()))
        step = step_of(rung, reader, store, Plan(run, await store.chunks.of(run.id)))
        for number in range(WARM_UP):
            await step(number)
        begun, started = time.process_time(), time.monotonic()
        for number in range(WARM_UP, WARM_UP + chunks):
            await step(number)
        return {"imported": IMPORTED, "begun": begun, "wall": time.monotonic() - started}


def main(arguments: Sequence[str]) -> None:
    rung, spec, store_url, chunks = arguments
    with relaxed_collection():  # as in every run of the pipeline
        report = asyncio.run(climb(rung, Path(spec), store_url, int(chunks)))
    print(json.dumps(report))


if __name__ == "__main__":
    main(sys.argv[1:])

"""The pipeline without Prefect: its steps on one event loop, from the source into a published window."""

import argparse
import asyncio
import uuid
from pathlib import Path

from sku_velocity.completeness import verdict_of
from sku_velocity.model.chunk import ChunkProgress
from sku_velocity.model.run import Plan, Verdict
from sku_velocity.model.window import Window
from sku_velocity.process.garbage import relaxed_collection
from sku_velocity.source.client import SourceClient
from sku_velocity.source.spec import load_spec
from sku_velocity.source.window import WindowReader
from sku_velocity.steps.window import plan, prove_window, read_chunk
from sku_velocity.store import Store

ADMITTED = 64  # parallel chunks, like the flow's task runner: each may need a connection to the store


async def sync(spec: Path, store_url: str) -> Verdict:
    async with SourceClient.open(load_spec(spec), None) as client, Store.open(store_url) as store:
        reader = WindowReader.of(client, "WH-01", Window.everything())
        run = await plan(reader, store, str(uuid.uuid4()))
        pending = Plan(run, await store.chunks.of(run.id)).pending
        places = asyncio.Semaphore(ADMITTED)

        async def ingest(progress: ChunkProgress) -> None:
            async with places:
                await read_chunk(reader, store, run, progress)

        async with asyncio.TaskGroup() as reading:
            for progress in pending:
                reading.create_task(ingest(progress))
        proof = await prove_window(reader, store, run, max_reject_ratio=0.05)
        verdict = verdict_of(proof.checks, run.repairs)
        if verdict is not Verdict.INCOMPLETE:
            await store.publications.publish(run.id, "{}", verdict)
        return verdict


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--spec", type=Path, required=True)
    parser.add_argument("--store", required=True)
    options = parser.parse_args()
    with relaxed_collection():
        verdict = asyncio.run(sync(options.spec, options.store))
    print(verdict)
    return 0 if verdict is not Verdict.INCOMPLETE else 1


if __name__ == "__main__":
    raise SystemExit(main())

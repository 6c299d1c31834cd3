"""Take chunks through the ingest task, one after the other: one process of `chunk`, under Prefect.

The last line is like that of `rungs`.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from flows.runtime.connections import RunResources
from flows.runtime.retries import TASK_RETRY, result_of
from flows.tasks.window import ingest_chunk, plan_window
from prefect import flow, task, unmapped
from pydantic import SecretStr

from benchmarks.rungs import WAREHOUSE, WARM_UP
from blocks.store import VelocityStore
from blocks.wms import WmsSource
from flows.runtime.task_runner import EventLoopTaskRunner, as_they_complete
from sku_velocity.model.chunk import ChunkProgress
from sku_velocity.model.run import SyncRun
from sku_velocity.model.window import Window
from sku_velocity.source.spec import load_spec
from sku_velocity.steps.window import read_chunk

IMPORTED = time.process_time()


@task(task_run_name="ingest {run.label}", **TASK_RETRY)
async def ingest_without_artifact(connections: RunResources, run: SyncRun, planned: Any) -> ChunkProgress:
    """Do what `ingest_chunk` does with a planned chunk, without the artifact."""
    async with connections.store() as store, connections.reader_of(run) as reader:
        progress, _ = await read_chunk(reader, store, run, planned)
    return progress


RUNGS = {"task": ingest_without_artifact, "artifact": ingest_chunk}


def climb(rung: str, spec: Path, store_url: str, chunks: int) -> dict[str, float]:
    connections = RunResources(WmsSource(spec=load_spec(spec)), VelocityStore(url=SecretStr(store_url)))

    async def ingest(run: SyncRun, planned: Sequence[Any]) -> None:
        futures = RUNGS[rung].map(unmapped(connections), unmapped(run), planned)
        async for future in as_they_complete(futures):
            future.result()

    @flow(name=f"rung-{rung}", task_runner=EventLoopTaskRunner(max_concurrency=1), persist_result=False)
    async def run_flow() -> dict[str, float]:
        plan = await result_of(plan_window.submit(connections, WAREHOUSE, Window.everything(), None))
        planned = plan.pending
        await ingest(plan.run, planned[:WARM_UP])
        begun, started = time.process_time(), time.monotonic()
        await ingest(plan.run, planned[WARM_UP : WARM_UP + chunks])
        return {"imported": IMPORTED, "begun": begun, "wall": time.monotonic() - started}

    return asyncio.run(run_flow())


def main(arguments: Sequence[str]) -> None:
    rung, spec, store_url, chunks = arguments
    print(json.dumps(climb(rung, Path(spec), store_url, int(chunks))))


if __name__ == "__main__":
    main(sys.argv[1:])

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

from prefect import flow
from pydantic import SecretStr

from benchmarks.rungs import WAREHOUSE, WARM_UP
from flows.runtime.prefect_context import PrefectContext
from flows.runtime.task_runner import EventLoopTaskRunner
from sku_velocity.model.chunk import ChunkProgress
from sku_velocity.model.run import SyncRun
from sku_velocity.model.window import Window
from sku_velocity.source.spec import load_spec
from sku_velocity.steps.access import FileSource, UrlStore
from sku_velocity.steps.requests import SyncRequest
from sku_velocity.steps.run_context import RunContext, step
from sku_velocity.steps.sync import Wanted, ingest_chunk, read_window
from sku_velocity.steps.window import read_chunk

IMPORTED = time.process_time()


@step("ingest {run.label}")
async def ingest_without_artifact(
    context: RunContext, run: SyncRun, progress: ChunkProgress
) -> ChunkProgress:
    """Do what `ingest_chunk` does with a planned chunk, without the artifact."""
    async with context.store() as store, context.reader_of(run) as reader:
        return (await read_chunk(reader, store, run, progress))[0]


RUNGS = {"task": ingest_without_artifact, "artifact": ingest_chunk}


def climb(rung: str, spec: Path, store_url: str, chunks: int) -> dict[str, float]:
    async def ingest(context: RunContext, run: SyncRun, planned: Sequence[ChunkProgress]) -> None:
        async for landed in context.perform_each(RUNGS[rung], [(run, progress) for progress in planned]):
            if isinstance(landed, BaseException):
                raise landed

    @flow(name=f"rung-{rung}", task_runner=EventLoopTaskRunner(max_concurrency=1), persist_result=False)
    async def run_flow() -> dict[str, float]:
        context, everything = PrefectContext(), Window.everything()
        context.source, context.store_access = FileSource(load_spec(spec)), UrlStore(SecretStr(store_url))
        request = SyncRequest(source=str(spec), warehouse=WAREHOUSE)
        plan, _ = await context.perform(read_window, Wanted(WAREHOUSE, everything), request)
        planned = plan.pending
        await ingest(context, plan.run, planned[:WARM_UP])
        begun, started = time.process_time(), time.monotonic()
        await ingest(context, plan.run, planned[WARM_UP : WARM_UP + chunks])
        return {"imported": IMPORTED, "begun": begun, "wall": time.monotonic() - started}

    return asyncio.run(run_flow())


def main(arguments: Sequence[str]) -> None:
    rung, spec, store_url, chunks = arguments
    print(json.dumps(climb(rung, Path(spec), store_url, int(chunks))))


if __name__ == "__main__":
    main(sys.argv[1:])

"""Map tiny tasks in one way: one process of `mapping`; its last line holds the cost."""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
from collections.abc import Sequence
from uuid import UUID

from prefect import flow, runtime, task
from prefect.cache_policies import NO_CACHE
from prefect.flows import Flow
from prefect.task_runners import TaskRunner, ThreadPoolTaskRunner

from benchmarks.processes import high_water
from flows.runtime.task_runner import EventLoopTaskRunner

MAX_PARALLEL = 64  # the default of the pipeline's runner, and of the semaphore
WORKERS = 16
WAYS = ("gather", "event-loop", "thread-pool", "thread-pool-16")


@task(cache_policy=NO_CACHE, persist_result=False)
async def tiny(number: int) -> int:
    await asyncio.sleep(0)
    return number


async def gathered(tasks: int) -> tuple[UUID, list[int]]:
    places = asyncio.Semaphore(MAX_PARALLEL)

    async def bounded(number: int) -> int:
        async with places:
            return await tiny(number)

    return runtime.flow_run.id, await asyncio.gather(*map(bounded, range(tasks)))


async def mapped(tasks: int) -> tuple[UUID, list[int]]:
    futures = tiny.map(range(tasks))
    return runtime.flow_run.id, [future.result() for future in futures]


def flow_of(way: str) -> Flow[[int], object]:
    """Return the flow that maps in this way."""
    if way == "gather":
        return flow(name=way, persist_result=False)(gathered)
    runner: TaskRunner = {
        "event-loop": lambda: EventLoopTaskRunner(MAX_PARALLEL),
        "thread-pool": lambda: ThreadPoolTaskRunner(),
        "thread-pool-16": lambda: ThreadPoolTaskRunner(max_workers=WORKERS),
    }[way]()
    return flow(name=way, task_runner=runner, persist_result=False)(mapped)


def main(arguments: Sequence[str]) -> None:
    way, tasks = arguments[0], int(arguments[1])
    run = flow_of(way)
    cpu, wall = time.process_time(), time.monotonic()
    flow_run_id, numbers = asyncio.run(run(tasks))
    wall = time.monotonic() - wall
    assert numbers == list(range(tasks)), "a task's result is missing or out of order"
    report = {
        "flow_run_id": str(flow_run_id),
        "cpu_before": cpu,
        "wall": wall,
        "peak": high_water(os.getpid()),
    }
    print(json.dumps(report))


if __name__ == "__main__":
    main(sys.argv[1:])

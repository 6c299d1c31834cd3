"""A push that is killed repeatedly: at its end the engine holds each record exactly once."""

from __future__ import annotations

import asyncio
import multiprocessing
import random
import time
from collections import Counter
from collections.abc import Iterator
from multiprocessing.context import ForkServerContext

import pytest

from simulator.faults import Fault
from simulator.server import EngineServer, serve_engine
from simulator.slotting import EngineScenario
from sku_velocity.store import Store
from tests.support.engine import engine_spec, publish, push_all, seconds

KILLS = 8
RECORDS = 2_400
PATIENCE = 30.0  # seconds
# Some answers are lost, some batches are refused, a few records are rejected, and each answer takes time.
SCENARIO = EngineScenario(
    seed=7,
    reject_ratio=0.02,
    latency=0.004,
    faults=(Fault("reset", ratio=0.05, times=1), Fault("500", ratio=0.05, times=1)),
)


@pytest.fixture(scope="module")
def processes() -> ForkServerContext:
    """Fork pushing processes off one that has imported everything, to avoid a start of Python per kill."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([__name__])
    return context


@pytest.fixture(scope="module")
def engine() -> Iterator[EngineServer]:
    with serve_engine() as running:
        yield running


def push(engine_url: str, store_url: str) -> None:
    """Push the rest of the run. The body of a process that gets killed."""

    async def run() -> None:
        async with Store.open(store_url) as store:
            await push_all(store, engine_spec(engine_url, batch_size=10), "run")

    asyncio.run(run())


async def prepare(store_url: str) -> None:
    async with Store.open(store_url) as store:
        await publish(store, "run", seconds(0, RECORDS), chunk_size=200)


async def ledger(store_url: str) -> tuple[int, int, int, int]:
    """Return the counts of accepted and rejected records, dead letters, and unpushed chunks."""
    async with Store.open(store_url) as store:
        pushed = await store.pushes.read("run", "slots")
        letters = await store.dead_letters.of("run")
        left = await store.pushes.unpushed("run", "slots")
    return (
        sum(each.accepted for each in pushed),
        sum(each.rejected for each in pushed),
        len(letters),
        len(left),
    )


def kill_one(
    processes: ForkServerContext, engine: EngineServer, store_url: str, chance: random.Random
) -> int:
    """Start a push and kill it after a random number of requests. Return the requests it sent."""
    seen = engine.stats().requests
    enough = seen + chance.randint(1, 15)
    process = processes.Process(target=push, args=(engine.url, store_url))
    process.start()
    deadline = time.monotonic() + PATIENCE
    while engine.stats().requests < enough and process.is_alive() and time.monotonic() < deadline:
        time.sleep(0.001)
    time.sleep(chance.uniform(0, 0.01))
    process.kill()
    process.join()
    assert process.exitcode == -9, "the push ended before it was killed"
    return engine.stats().requests - seen


def test_a_push_killed_at_random_moments_leaves_each_record_with_the_engine_once(
    processes: ForkServerContext, engine: EngineServer, store_url: str
) -> None:
    engine.play(SCENARIO)
    asyncio.run(prepare(store_url))
    chance = random.Random(20)
    reached = [kill_one(processes, engine, store_url, chance) for _ in range(KILLS)]
    assert min(reached) > 0 and asyncio.run(ledger(store_url))[3] > 0  # each during the push
    push(engine.url, store_url)
    movements = engine.simulator.movements
    all_ids = Counter(f"m-{position}" for position in range(RECORDS))
    assert movements.accepted + movements.rejected == all_ids
    assert engine.simulator.replayed > 0  # answers lost to a kill
    rejected = len(movements.rejected)
    assert asyncio.run(ledger(store_url)) == (RECORDS - rejected, rejected, rejected, 0)

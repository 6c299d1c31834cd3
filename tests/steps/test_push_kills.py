"""A push that is killed repeatedly: at its end the engine holds each record exactly once."""

from __future__ import annotations

import asyncio
import multiprocessing
import random
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from multiprocessing.context import ForkServerContext

import pytest

from simulator.faults import Fault
from simulator.server import EngineServer, serve_engine
from simulator.slotting import EngineScenario
from sku_velocity.model.chunk import PageResult
from sku_velocity.model.push import PushKind
from sku_velocity.model.run import SyncRun
from sku_velocity.source.paging import plan_chunks
from sku_velocity.store import Store
from tests.support.engine import engine_spec, publish, push_all, seconds, some_rows
from tests.support.published_store import table

KILLS = 8
RECORDS = 2_400
REVISED = 600
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


def push(engine_url: str, store_url: str, run_id: str = "run") -> None:
    """Push the rest of a run. The body of a process that gets killed."""

    async def run() -> None:
        async with Store.open(store_url) as store:
            await push_all(store, engine_spec(engine_url, batch_size=10), run_id)

    asyncio.run(run())


async def prepare(store_url: str, records: int = RECORDS) -> None:
    async with Store.open(store_url) as store:
        await publish(store, "run", seconds(0, records), chunk_size=200)


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
    processes: ForkServerContext,
    engine: EngineServer,
    store_url: str,
    chance: random.Random,
    run_id: str = "run",
    most: int = 15,
) -> int:
    """Start a push and kill it after a random number of requests. Return the requests it sent."""
    seen = engine.stats().requests
    enough = seen + chance.randint(1, most)
    process = processes.Process(target=push, args=(engine.url, store_url, run_id))
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


async def publish_revision(store_url: str, run_id: str, seed: int) -> None:
    """Publish the window again: some rows have other units, some are gone, some are new."""
    chance = random.Random(seed)
    window = seconds(0, REVISED)
    rows = [
        row._replace(units_moved=chance.choice([1, 1, 1, seed]), movement_id=f"m-{row.position}")
        for row in some_rows(REVISED)
        if chance.random() > 0.05
    ]
    rows = [row._replace(position=place) for place, row in enumerate(rows)]
    async with Store.open(store_url) as store:
        chunks = plan_chunks(len(rows), 200, 0)
        await store.runs.begin(SyncRun(run_id, "acme", "WH-01", window, len(rows)), chunks)
        for chunk in chunks:
            page = PageResult(next(chunk.pages()), chunk.size, rows[chunk.offset : chunk.end], [])
            await store.chunks.land_page(run_id, chunk.index, page)
        await store.publications.publish(run_id, "{}")


def published(store_url: str) -> dict[str, int]:
    sql = "SELECT movement_id, units_moved FROM published_movements"
    return dict(asyncio.run(table(store_url, sql)))


def held(engine: EngineServer) -> dict[str, int]:
    return {id: record["units_moved"] for id, record in engine.simulator.movements.current.items()}


def test_revisions_whose_push_is_killed_leave_the_engine_with_what_is_published(
    processes: ForkServerContext, engine: EngineServer, store_url: str
) -> None:
    engine.play(replace(SCENARIO, reject_ratio=0))
    asyncio.run(prepare(store_url, REVISED))
    push(engine.url, store_url)
    chance = random.Random(3)
    asyncio.run(publish_revision(store_url, "second", 5))
    for _ in range(4):
        kill_one(processes, engine, store_url, chance, "second", most=5)
    push(engine.url, store_url, "second")
    assert held(engine) == published(store_url) and asyncio.run(kind_of(store_url, "second")) == "corrections"
    asyncio.run(publish_revision(store_url, "third", 7))
    kill_one(processes, engine, store_url, chance, "third", most=5)
    asyncio.run(publish_revision(store_url, "fourth", 9))  # while the third is only pushed in part
    for _ in range(4):
        kill_one(processes, engine, store_url, chance, "fourth")
    push(engine.url, store_url, "fourth")
    push(engine.url, store_url, "third")
    assert held(engine) == published(store_url) and asyncio.run(kind_of(store_url, "fourth")) == "replacement"


async def kind_of(store_url: str, run_id: str) -> PushKind:
    async with Store.open(store_url) as store:
        return await store.pushes.kind(run_id, "slots", False)

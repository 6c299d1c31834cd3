"""A replayed row is sent to the slotting engine by the next push, and no row is sent twice."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace

import pytest

from simulator.server import EngineServer, serve_engine
from sku_velocity.model.dead_letter import DeadLetterFilter, DeadLetterState
from sku_velocity.model.movement import DeadLetter, Reason
from sku_velocity.steps.replay import RunReplay, replay_run
from sku_velocity.store import Store
from tests.support.dead_letters import OPEN, dead_letter, fixed_spec, land_run
from tests.support.engine import engine_spec, push_all

pytestmark = pytest.mark.anyio

BAD = {3: dead_letter(3), 6: dead_letter(6), 15: dead_letter(15)}


@pytest.fixture
def engine() -> Iterator[EngineServer]:
    with serve_engine() as running:
        yield running


async def replay(store: Store) -> RunReplay:
    run = await store.runs.find("run")
    assert run
    return await replay_run(store, fixed_spec(), run, OPEN, "jane")


async def push(store: Store, engine: EngineServer) -> Counter[str]:
    await push_all(store, engine_spec(engine.url, batch_size=4), "run")
    return engine.accepted


def ids(*positions: int) -> Counter[str]:
    return Counter(f"m-{position}" for position in positions)


async def test_the_next_push_sends_only_the_replayed_rows_of_a_pushed_chunk(
    store: Store, engine: EngineServer
) -> None:
    await land_run(store, "run", BAD)
    assert await push(store, engine) == ids(*(n for n in range(20) if n not in BAD))
    report = await replay(store)
    assert (report.loaded, report.unsent) == (3, 3)
    assert len(await store.pushes.unpushed("run", "slots")) == 2
    engine.reset_stats()
    assert await push(store, engine) == ids(*range(20)) and engine.stats().requests == 2
    assert await store.pushes.unpushed("run", "slots") == []
    assert [(each.accepted, each.batches) for each in await store.pushes.read("run", "slots")] == [
        (10, 3),
        (10, 4),
    ]
    assert (await replay(store)).validated == 0


async def test_rows_replayed_before_the_first_push_are_sent_with_the_others(
    store: Store, engine: EngineServer
) -> None:
    await land_run(store, "run", BAD)
    assert (await replay(store)).unsent == 0
    assert await push(store, engine) == ids(*range(20))


async def test_no_row_is_added_to_an_open_batch(store: Store, engine: EngineServer) -> None:
    await land_run(store, "run", BAD)
    await store.pushes.begin("run", 0, "slots")
    opened = await store.pushes.next_batch("run", 0, "slots", 6)
    report = await replay(store)
    assert (report.loaded, report.waiting) == (1, 2)
    assert opened and await store.pushes.next_batch("run", 0, "slots", 6) == replace(opened, is_new=False)
    await push(store, engine)
    assert (await replay(store)).unsent == 2
    assert await push(store, engine) == ids(*range(20))


async def test_a_concurrent_push_and_replay_send_each_row_once(
    store: Store, engine: EngineServer, store_url: str
) -> None:
    await land_run(store, "run", {n: dead_letter(n) for n in range(0, 60, 4)}, total=60)
    async with Store.open(store_url) as other:
        await asyncio.gather(push(store, engine), *(replay(other) for _ in range(4)))
    await replay(store)
    assert await push(store, engine) == ids(*range(60))


async def test_a_second_rejection_reopens_a_discarded_letter_and_keeps_its_history(
    store: Store,
) -> None:
    await land_run(store, "run", {})
    for engine in ("slots", "others"):
        await store.pushes.begin("run", 0, engine)
        opened = await store.pushes.next_batch("run", 0, engine, 10)
        assert opened
        await store.pushes.settle("run", 0, engine, opened, [DeadLetter(2, "{}", (Reason("", engine),))])
        if engine == "slots":
            assert await store.dead_letters.discard(DeadLetterFilter(stage="push"), "joe", "we know") == 1
    (stored,) = await store.dead_letters.read(DeadLetterFilter())
    assert (stored.state, stored.reasons) == (DeadLetterState.OPEN, "slots; others")
    assert stored.change and (stored.change.by, stored.change.note) == ("joe", "we know")

"""Velocity classes on each store, against the simulated engine: it is sent changes, and nothing else."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest

from simulator.faults import Fault
from simulator.server import EngineServer, serve_engine
from simulator.slotting import EngineScenario
from sku_velocity.errors import EngineUnavailableError
from sku_velocity.model.push import SkuClass
from sku_velocity.slotting.client import SlottingClient
from sku_velocity.steps.push import ClassPush, push_classes
from sku_velocity.store import Store
from tests.support.engine import engine_spec

pytestmark = pytest.mark.anyio

CLASSES = [SkuClass("WH-01", f"SKU-{number}", "C", "C", None) for number in range(10)]
RISEN = [replace(each, abc_lines="A") if each.sku_id in ("SKU-3", "SKU-7") else each for each in CLASSES]


@pytest.fixture
def engine() -> Iterator[EngineServer]:
    with serve_engine() as running:
        yield running


async def push(
    engine: EngineServer, store: Store, classes: list[SkuClass], source: str = "acme"
) -> ClassPush:
    async def no_wait(seconds: float) -> None:
        pass

    spec = engine_spec(engine.url, batch_size=4)
    async with SlottingClient.open(spec, None, sleep=no_wait) as client:
        return await push_classes(client, store, source, classes)


def known(engine: EngineServer) -> dict[str, str]:
    return {id: record["abc_lines"] for id, record in engine.simulator.classes.current.items()}


def as_sent(classes: list[SkuClass]) -> dict[str, str | None]:
    return {each.id: each.abc_lines for each in classes}


async def test_an_engine_is_sent_all_classes_first_and_then_changes(
    store: Store, engine: EngineServer
) -> None:
    assert await push(engine, store, CLASSES) == ClassPush("slots", 10, 0)
    assert engine.stats().requests == 3 and known(engine) == as_sent(CLASSES)
    assert await push(engine, store, CLASSES) == ClassPush("slots", 0, 0)
    assert await push(engine, store, RISEN) == ClassPush("slots", 2, 0)
    assert engine.stats().requests == 4 and known(engine) == as_sent(RISEN)


async def test_a_class_that_changes_back_is_sent_again(store: Store, engine: EngineServer) -> None:
    for classes in (CLASSES, RISEN, CLASSES, RISEN):
        await push(engine, store, classes)
        assert known(engine) == as_sent(classes)


async def test_classes_with_a_lost_answer_are_sent_again(store: Store, engine: EngineServer) -> None:
    await push(engine, store, CLASSES)
    engine.play(EngineScenario(faults=(Fault("reset", 0),)))  # it accepts the batch, but its answer is lost
    with pytest.raises(EngineUnavailableError):
        await push(engine, store, RISEN)
    assert known(engine) == {"WH-01/SKU-3": "A", "WH-01/SKU-7": "A"}
    engine.clear()
    assert (await push(engine, store, CLASSES)).accepted == 2
    assert known(engine) == {"WH-01/SKU-3": "C", "WH-01/SKU-7": "C"}


async def test_rejected_classes_are_sent_again(store: Store, engine: EngineServer) -> None:
    engine.play(EngineScenario(reject_ratio=1))
    assert await push(engine, store, CLASSES) == ClassPush("slots", 0, 10)
    engine.play(replace(engine.simulator.scenario, reject_ratio=0))
    assert await push(engine, store, CLASSES) == ClassPush("slots", 10, 0)


async def test_sources_are_kept_apart(store: Store, engine: EngineServer) -> None:
    await push(engine, store, CLASSES)
    assert (await push(engine, store, CLASSES, source="other")).accepted == 10

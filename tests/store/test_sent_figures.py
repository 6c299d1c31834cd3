"""Velocity figures on each store, against the simulated engine: it is sent changes, and nothing else."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import pytest

from simulator.faults import Fault
from simulator.server import EngineServer, serve_engine
from simulator.slotting import EngineScenario
from sku_velocity.errors import EngineUnavailableError
from sku_velocity.model.push import SkuFigures
from sku_velocity.model.velocity_fields import NAMES
from sku_velocity.slotting.client import SlottingClient
from sku_velocity.steps.push import ClassPush, push_classes
from sku_velocity.store import Store
from sku_velocity.store.velocity import COLUMNS
from tests.support.engine import engine_spec

pytestmark = pytest.mark.anyio


def figures(risen: Sequence[int] = (), skus: Sequence[int] = range(10)) -> list[SkuFigures]:
    classes = {number: {"abc_lines": "A" if number in risen else "C", "xyz": None} for number in skus}
    return [SkuFigures("WH-01", f"SKU-{number}", values) for number, values in classes.items()]


CLASSES, RISEN = figures(), figures(risen=(3, 7))


@pytest.fixture
def engine() -> Iterator[EngineServer]:
    with serve_engine() as running:
        yield running


async def push(
    engine: EngineServer,
    store: Store,
    classes: list[SkuFigures],
    source: str = "acme",
    fields: Sequence[str] = ("abc_lines", "xyz"),
) -> ClassPush:
    async def no_wait(seconds: float) -> None:
        pass

    spec = engine_spec(engine.url, batch_size=4, velocity_fields=fields)
    async with SlottingClient.open(spec, None, sleep=no_wait) as client:
        return await push_classes(client, store, source, "WH-01", classes)


def known(engine: EngineServer) -> dict[str, str]:
    return {id: record["abc_lines"] for id, record in engine.simulator.classes.current.items()}


def as_sent(classes: list[SkuFigures]) -> dict[str, str | None]:
    return {each.id: each.values["abc_lines"] for each in classes}


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


async def test_a_sku_without_velocity_is_sent_once_with_null(store: Store, engine: EngineServer) -> None:
    await push(engine, store, CLASSES)
    left = figures(skus=range(8))
    assert await push(engine, store, left) == ClassPush("slots", 2, 0)
    assert known(engine) == as_sent(left) | {"WH-01/SKU-8": None, "WH-01/SKU-9": None}
    assert await push(engine, store, left) == ClassPush("slots", 0, 0)
    assert (await push(engine, store, CLASSES)).accepted == 2 and known(engine) == as_sent(CLASSES)


async def test_a_warehouse_keeps_its_figures_when_another_is_pushed(
    store: Store, engine: EngineServer
) -> None:
    await push(engine, store, CLASSES)
    other = [replace(each, warehouse_id="WH-02") for each in CLASSES[:2]]
    async with SlottingClient.open(engine_spec(engine.url), None) as client:
        assert await push_classes(client, store, "acme", "WH-02", other) == ClassPush("slots", 2, 0)
    assert known(engine) == as_sent(CLASSES) | as_sent(other)


async def test_another_list_of_fields_sends_every_sku(store: Store, engine: EngineServer) -> None:
    await push(engine, store, CLASSES)
    more = [replace(each, values={**each.values, "units_91": 7}) for each in CLASSES]
    fields: Sequence[str] = ("abc_lines", "xyz", "units_91")
    assert (await push(engine, store, more, fields=fields)).accepted == 10
    assert engine.simulator.classes.current["WH-01/SKU-1"]["units_91"] == 7


def test_the_fields_of_an_engine_are_the_columns_of_velocity() -> None:
    assert ("source", "warehouse_id", "as_of", "sku_id", *NAMES) == COLUMNS

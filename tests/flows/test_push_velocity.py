"""Velocity classes pushed by a flow: a task that is retried, and a result that counts."""

from __future__ import annotations

import asyncio

import pytest
from prefect import flow
from pydantic import SecretStr

from blocks import SlottingEngine, VelocityStore
from flows.runtime.connections import PushResources
from flows.tasks.push import push_velocity
from simulator.server import serve_engine
from sku_velocity.model.push import SkuClass
from sku_velocity.steps.push import ClassPush
from tests.support.engine import engine_spec


@pytest.mark.usefixtures("prefect_server")
def test_a_flow_tells_an_engine_of_the_classes_that_changed(sqlite_url: str) -> None:
    classes = [SkuClass("WH-01", f"SKU-{number}", "A", "B", "X") for number in range(5)]

    @flow
    async def refresh(outlet: PushResources) -> ClassPush:
        return await push_velocity(outlet, "acme", classes)

    with serve_engine() as engine:
        block = SlottingEngine(spec=engine_spec(engine.url))
        outlet = PushResources(block, VelocityStore(url=SecretStr(sqlite_url)))
        told = [asyncio.run(refresh(outlet)) for _ in range(2)]
    assert told == [ClassPush("slots", 5, 0), ClassPush("slots", 0, 0)]
    assert len(engine.simulator.classes.accepted) == 5

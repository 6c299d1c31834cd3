"""A flow pushes velocity classes in a retried task, and gets the counts as the result."""

from __future__ import annotations

import asyncio

import pytest
from flows.runtime.connections import PushResources
from flows.tasks.push import push_velocity
from prefect import flow
from pydantic import SecretStr

from blocks import SlottingEngine, VelocityStore
from simulator.server import serve_engine
from sku_velocity.model.push import SkuClass
from sku_velocity.steps.push import ClassPush
from tests.support.engine import engine_spec


@pytest.mark.usefixtures("prefect_server")
def test_a_flow_sends_an_engine_only_the_changed_classes(sqlite_url: str) -> None:
    classes = [SkuClass("WH-01", f"SKU-{number}", "A", "B", "X") for number in range(5)]

    @flow
    async def refresh(target: PushResources) -> ClassPush:
        return await push_velocity(target, "acme", classes)

    with serve_engine() as engine:
        block = SlottingEngine(spec=engine_spec(engine.url))
        target = PushResources(block, VelocityStore(url=SecretStr(sqlite_url)))
        pushed = [asyncio.run(refresh(target)) for _ in range(2)]
    assert pushed == [ClassPush("slots", 5, 0), ClassPush("slots", 0, 0)]
    assert len(engine.simulator.classes.accepted) == 5

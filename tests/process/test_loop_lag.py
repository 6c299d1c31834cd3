"""A loop that does not keep up is seen, and told from one that does."""

from __future__ import annotations

import asyncio
import time

import pytest

from sku_velocity.process.loop_lag import LoopHealth, LoopLagSampler
from tests.support.fake_clock import FakeClock

pytestmark = pytest.mark.anyio


async def watched(*lags: float) -> LoopHealth:
    """What a watch makes of sleeps that are so many seconds too long."""
    clock, late = FakeClock(), iter(lags)

    async def oversleep(seconds: float) -> None:
        await clock.sleep(seconds + next(late))

    watch = LoopLagSampler(clock, oversleep)
    for _ in lags:
        await watch.sample()
    return watch.health


async def test_a_loop_that_wakes_in_time_is_well() -> None:
    health = await watched(*[0.0] * 50, 0.02)
    assert health.lag_p99_ms == 20 and not health.is_starved


async def test_a_rare_stall_is_no_starvation() -> None:
    health = await watched(*[0.001] * 999, 3.0)
    assert health.lag_p99_ms == 1 and not health.is_starved


async def test_one_wake_up_in_fifty_that_is_late_is_starvation() -> None:
    health = await watched(*[0.0] * 49, 0.4)
    assert health.lag_p99_ms == 400 and health.is_starved


async def test_without_a_sample_nothing_is_said() -> None:
    assert await watched() == LoopHealth(0, 0)


async def test_a_real_loop_that_is_blocked_shows_it_and_its_tasks() -> None:
    async with LoopLagSampler.open() as watch:
        async with asyncio.TaskGroup() as group:
            for _ in range(5):
                group.create_task(asyncio.sleep(0.2))
            await asyncio.sleep(0.01)
            time.sleep(0.3)  # noqa: ASYNC251  # this is what a starved loop looks like
        await asyncio.sleep(0.06)
    assert watch.health.lag_p99_ms >= 200 and watch.health.most_tasks >= 3

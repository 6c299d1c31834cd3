"""A starved event loop is detected and distinguished from a healthy one."""

from __future__ import annotations

import asyncio
import time

import pytest

from sku_velocity.process.loop_lag import LoopHealth, LoopLagSampler
from tests.support.fake_clock import FakeClock

pytestmark = pytest.mark.anyio


async def measured(*lags: float) -> LoopHealth:
    """Return the health measured for sleeps that are this many seconds too long."""
    clock, late = FakeClock(), iter(lags)

    async def oversleep(seconds: float) -> None:
        await clock.sleep(seconds + next(late))

    sampler = LoopLagSampler(clock, oversleep)
    for _ in lags:
        await sampler.sample()
    return sampler.health


async def test_a_loop_that_wakes_in_time_is_healthy() -> None:
    health = await measured(*[0.0] * 50, 0.02)
    assert health.lag_p99_ms == 20 and not health.is_starved


async def test_a_rare_stall_is_not_starvation() -> None:
    health = await measured(*[0.001] * 999, 3.0)
    assert health.lag_p99_ms == 1 and not health.is_starved


async def test_one_late_wake_up_in_fifty_is_starvation() -> None:
    health = await measured(*[0.0] * 49, 0.4)
    assert health.lag_p99_ms == 400 and health.is_starved


async def test_without_a_sample_health_is_zero() -> None:
    assert await measured() == LoopHealth(0, 0)


async def test_a_blocked_loop_reports_its_lag_and_its_tasks() -> None:
    async with LoopLagSampler.open() as sampler:
        async with asyncio.TaskGroup() as group:
            for _ in range(5):
                group.create_task(asyncio.sleep(0.2))
            await asyncio.sleep(0.01)
            time.sleep(0.3)  # noqa: ASYNC251  # this is what a starved loop looks like
        await asyncio.sleep(0.06)
    assert sampler.health.lag_p99_ms >= 200 and sampler.health.most_tasks >= 3

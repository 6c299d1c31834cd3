"""The pacer finds the rate and the number of requests in flight that a source currently allows."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack

import pytest

from simulator.traffic import Ceiling
from sku_velocity.http.adaptive_rate import AdaptiveRate
from sku_velocity.http.in_flight import InFlightLimit
from sku_velocity.http.pacing import Pacer
from sku_velocity.http.spec import PaceSpec
from tests.support.fake_clock import FakeClock

pytestmark = pytest.mark.anyio


class Source:
    """A source with a ceiling and one pacer, on a fake clock."""

    def __init__(self, ceiling: int, rate: float) -> None:
        self.clock = FakeClock()
        self.ceiling = Ceiling(ceiling)
        self.pacer = Pacer(PaceSpec(requests_per_second=rate), self.clock, self.clock.sleep)

    async def ask_until(self, end: float) -> tuple[int, int]:
        """Send requests until then. Return how many passed and how many were refused."""
        passed = refused = 0
        while self.clock.now < end:
            async with self.pacer.slot() as started:
                await self.pacer.before_send()
                wait = self.ceiling.admit(self.clock.now)
                if wait:
                    self.pacer.on_refusal(started)
                    self.pacer.pause(wait)
                    refused += 1
                else:
                    self.pacer.on_success(started)
                    passed += 1
        return passed, refused


@pytest.mark.parametrize("rate", [5, 20, 50])
async def test_a_correct_ceiling_is_used_to_97_percent_and_never_hit(rate: int) -> None:
    passed, refused = await Source(rate, rate).ask_until(60)
    assert refused == 0 and passed >= 0.97 * 60 * rate


@pytest.mark.parametrize("rate", [20, 50, 200])
async def test_a_halved_ceiling_is_hit_at_most_three_times_and_then_used(rate: int) -> None:
    source = Source(rate, rate)
    await source.ask_until(10)
    source.ceiling.halve()
    _, refused = await source.ask_until(20)
    assert 1 <= refused <= 3
    passed, refused = await source.ask_until(140)
    assert passed >= 0.9 * 120 * rate / 2 and refused <= 8


async def test_a_ceiling_that_is_raised_again_is_found() -> None:
    source = Source(25, 50)
    await source.ask_until(30)
    source.ceiling.limit = 50
    await source.ask_until(130)
    assert (await source.ask_until(140))[0] >= 0.9 * 10 * 50
    assert source.pacer.requests_per_second <= 50


async def test_a_stray_refusal_is_forgotten_within_seconds() -> None:
    source = Source(50, 50)
    source.pacer.on_refusal(source.clock.now)
    await source.ask_until(15)
    assert source.pacer.requests_per_second == 50


def test_a_first_refusal_eases_the_rate_and_a_second_halves_it() -> None:
    clock = FakeClock()
    rate = AdaptiveRate(100, clock)
    rates = []
    for clock.now in (1.0, 2.0, 3.0):
        rate.on_refusal(clock.now)
        rates.append(rate.now)
    assert rates == [90, 45, 22.5]


def test_a_proven_rate_is_restored_after_a_higher_one_is_refused() -> None:
    clock = FakeClock()
    rate = AdaptiveRate(100, clock)
    for clock.now in (1.0, 2.0):
        rate.on_refusal(clock.now)
    clock.now = 6.0
    rate.on_success(clock.now)
    assert rate.now == 50
    rate.on_refusal(clock.now)
    assert rate.now == 45


def test_time_spent_paused_proves_nothing() -> None:
    clock = FakeClock()
    rate = AdaptiveRate(100, clock)
    rate.on_refusal(0.0)
    rate.pause(until=10.0)
    clock.now = 11.0
    rate.on_success(10.5)
    assert rate.now == 90
    rate.on_refusal(clock.now)
    assert rate.now == 45


def test_refusals_of_one_round_trip_count_once() -> None:
    clock = FakeClock()
    clock.now = 1.0
    rate, flight = AdaptiveRate(40, clock), InFlightLimit(12, clock)
    clock.now = 2.0
    for started in (1.91, 1.93, 1.95):
        rate.on_refusal(started)
        flight.on_overload(started)
    assert rate.now == 36 and flight.window == 6


async def test_no_more_requests_are_in_flight_than_the_window_allows() -> None:
    clock = FakeClock()
    flight, in_flight, most = InFlightLimit(4, clock), 0, []
    flight.on_overload(0.0)

    async def request() -> None:
        nonlocal in_flight
        async with flight.slot():
            in_flight += 1
            most.append(in_flight)
            await asyncio.sleep(0)
            in_flight -= 1

    await asyncio.gather(*(request() for _ in range(20)))
    assert max(most) == flight.window == 2 and len(most) == 20


async def test_a_cancelled_wait_leaves_its_slot_to_others() -> None:
    flight = InFlightLimit(1, FakeClock())
    async with flight.slot():
        waiting = asyncio.create_task(flight.slot().__aenter__())
        await asyncio.sleep(0)
        waiting.cancel()
    async with asyncio.timeout(1), flight.slot():
        pass


async def test_a_wait_cancelled_while_it_is_woken_wakes_the_next() -> None:
    flight = InFlightLimit(1, FakeClock())
    async with AsyncExitStack() as holding:
        await holding.enter_async_context(flight.slot())
        first, second = (asyncio.create_task(flight.slot().__aenter__()) for _ in range(2))
        await asyncio.sleep(0)
    first.cancel()  # it has been woken, and has not run since
    async with asyncio.timeout(1):
        await second
    assert first.cancelled()


def test_a_window_of_successes_widens_it_by_one_up_to_the_limit() -> None:
    clock = FakeClock()
    flight = InFlightLimit(8, clock)
    flight.on_overload(0.0)
    for _ in range(5):
        flight.on_success()
    assert flight.window == 5
    for _ in range(100):
        flight.on_success()
    assert flight.window == 8


def test_overload_never_closes_the_window() -> None:
    clock = FakeClock()
    flight = InFlightLimit(2, clock)
    for _ in range(5):
        clock.now += 1
        flight.on_overload(clock.now)
    assert flight.window == 1

"""The pacer on a fake clock that advances only by sleeping."""

import asyncio

import pytest

from sku_velocity.http.pacing import SHARE_OF_CEILING, Pacer
from sku_velocity.http.spec import PaceSpec
from tests.support.fake_clock import FakeClock

pytestmark = pytest.mark.anyio


async def starts(pacer: Pacer, clock: FakeClock, count: int) -> list[float]:
    times = []
    for _ in range(count):
        await pacer.start()
        times.append(clock.now)
    return times


@pytest.mark.parametrize("rate", [1, 5, 20, 50, 333])
async def test_no_second_has_more_starts_than_the_ceiling(rate: int) -> None:
    clock = FakeClock()
    times = await starts(Pacer(PaceSpec(requests_per_second=rate), clock, clock.sleep), clock, 3 * rate + 1)
    assert all(later - first >= 1 for first, later in zip(times, times[rate:], strict=False))


@pytest.mark.parametrize("rate", [1, 5, 20, 50, 333])
async def test_the_rate_is_reached(rate: int) -> None:
    clock = FakeClock()
    times = await starts(Pacer(PaceSpec(requests_per_second=rate), clock, clock.sleep), clock, 10 * rate + 1)
    assert 10 * rate / times[-1] == pytest.approx(rate * SHARE_OF_CEILING)


async def test_a_late_start_does_not_delay_those_behind_it() -> None:
    clock = FakeClock()

    async def oversleep(seconds: float) -> None:
        await clock.sleep(seconds + 0.005 if seconds > 0 else 0)

    pacer = Pacer(PaceSpec(requests_per_second=50), clock, oversleep)
    times = await starts(pacer, clock, 101)
    assert times[-1] == pytest.approx(100 / (50 * SHARE_OF_CEILING), abs=0.006)


async def test_a_burst_may_start_at_once_and_no_more() -> None:
    clock = FakeClock()
    pacer = Pacer(PaceSpec(requests_per_second=10, burst=4), clock, clock.sleep)
    clock.now = 100.0
    times = await starts(pacer, clock, 6)
    assert times[:4] == pytest.approx([100.0] * 4) and times[4] > 100.09 and times[5] > times[4] + 0.09


async def test_a_pause_stops_every_start() -> None:
    clock = FakeClock()
    pacer = Pacer(PaceSpec(requests_per_second=10), clock, clock.sleep)
    await pacer.start()
    pacer.pause(30)
    times = await starts(pacer, clock, 3)
    assert times[0] == 30 and times[1] > 30


async def test_waiting_requests_are_paused_and_then_spaced_again() -> None:
    clock = FakeClock()
    pacer = Pacer(PaceSpec(requests_per_second=10), clock, clock.sleep)
    times: list[float] = []

    async def one() -> None:
        await pacer.start()
        times.append(clock.now)

    await pacer.start()
    waiting = [asyncio.create_task(one()) for _ in range(4)]
    pacer.pause(5)
    await asyncio.gather(*waiting)
    assert min(times) >= 5 and len({round(time, 6) for time in times}) == 4


async def test_requests_in_flight_are_bounded() -> None:
    clock = FakeClock()
    pacer = Pacer(PaceSpec(requests_per_second=1000, max_concurrency=3), clock, clock.sleep)
    in_flight = most = 0

    async def request() -> None:
        nonlocal in_flight, most
        async with pacer.slot():
            in_flight += 1
            most = max(most, in_flight)
            await asyncio.sleep(0.001)
            in_flight -= 1

    await asyncio.gather(*(request() for _ in range(20)))
    assert most == 3


@pytest.mark.parametrize(("rate", "most"), [(1, 1), (5, 5), (50, 50), (0.7, 1), (3.5, 4)])
async def test_requests_delayed_by_a_busy_loop_are_not_sent_all_at_once(rate: float, most: int) -> None:
    clock = FakeClock()
    pacer = Pacer(PaceSpec(requests_per_second=rate), clock, clock.sleep)
    times = []
    for _ in range(3 * most + 1):
        await pacer.before_send()
        times.append(clock.now)
    assert all(later - first >= 1 for first, later in zip(times, times[most:], strict=False))


@pytest.mark.parametrize("rate", [1, 5, 50])
async def test_a_request_that_is_written_late_counts_from_then_on(rate: int) -> None:
    clock = FakeClock()
    pacer = Pacer(PaceSpec(requests_per_second=rate), clock, clock.sleep)
    written = []
    for number in range(4 * rate + 1):
        await pacer.before_send()
        clock.now += 0.3 if number % 3 == 0 else 0.01  # the process waits for a CPU
        pacer.after_send()
        written.append(clock.now)
    assert all(later - first >= 1 for first, later in zip(written, written[rate:], strict=False))


async def test_requests_written_at_the_same_time_are_recorded_in_their_order() -> None:
    clock = FakeClock()
    pacer = Pacer(PaceSpec(requests_per_second=2), clock, clock.sleep)
    await pacer.before_send()
    await pacer.before_send()
    clock.now = 0.5
    pacer.after_send()
    clock.now = 0.75
    pacer.after_send()
    await pacer.before_send()
    assert clock.now == pytest.approx(1.5)
    await pacer.before_send()
    assert clock.now == pytest.approx(1.75)

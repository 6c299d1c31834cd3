"""Several processes share one pace through the store: its sum is never exceeded, and each gets a part."""

from __future__ import annotations

import asyncio
import time
from bisect import bisect_left
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest
from sqlalchemy.ext.asyncio import AsyncConnection

from sku_velocity.errors import ConfigurationError, StoreUnavailableError
from sku_velocity.http.pacing import Pacer
from sku_velocity.http.spec import PaceSpec
from sku_velocity.steps.access import LOG
from sku_velocity.steps.shared_pace import RENEWAL_VARIABLE, SharedPace, Terms, shared_pace
from sku_velocity.store import Store, paces
from sku_velocity.store.paces import fair_share

pytestmark = pytest.mark.anyio

QUICK = Terms(renewal=0.2, valid=1.0, expiry=2.0, idle=0.5)


def pace(rate: float) -> PaceSpec:
    return PaceSpec(requests_per_second=rate, max_concurrency=2, shared_limit="acme")


async def until(condition: Callable[[], object]) -> None:
    """Wait for a condition that depends on another process."""
    async with asyncio.timeout(60):
        while not condition():  # noqa: ASYNC110  # another process fulfils the condition
            await asyncio.sleep(0.05)


class Client:
    """A client that sends requests as fast as its share of the pace allows."""

    def __init__(self, pacer: Pacer) -> None:
        self.sent_at: list[float] = []
        self.pacer = pacer
        self._task = asyncio.create_task(self._send_requests())

    async def _send_requests(self) -> None:
        while True:
            async with self.pacer.slot():
                await self.pacer.before_send()
                self.sent_at.append(time.monotonic())

    @property
    def share(self) -> float:
        """The requests/s that it may currently send."""
        return self.pacer.requests_per_second

    async def send(self, count: int) -> None:
        """Wait until `count` more requests are sent."""
        enough = len(self.sent_at) + count
        await until(lambda: len(self.sent_at) >= enough)

    async def stop(self) -> None:
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)


@asynccontextmanager
async def process(store: Store, of: PaceSpec, terms: Terms = QUICK) -> AsyncIterator[Client]:
    """A process that sends requests at the shared pace."""
    pacer = Pacer(of)
    async with shared_pace(store, of, pacer, terms=terms):
        client = Client(pacer)
        try:
            yield client
        finally:
            await client.stop()


def most_in_a_second(*clients: Client) -> int:
    times = sorted(moment for client in clients for moment in client.sent_at)
    return max(bisect_left(times, first + 1) - i for i, first in enumerate(times))


async def slots(store: Store) -> int:
    return sum((await store.paces.of("acme")).values())


async def test_a_single_process_has_the_whole_pace_and_releases_it_at_the_end(store: Store) -> None:
    async with process(store, pace(20)) as single:
        await until(lambda: single.share == 20)
        assert await slots(store) == 20
        await single.send(20)
    assert await slots(store) == 0
    assert most_in_a_second(single) <= 20


async def test_processes_never_exceed_the_pace_together_and_each_has_an_equal_part(store: Store) -> None:
    shared = pace(20)
    async with process(store, shared) as first:
        await until(lambda: first.share == 20)
        async with process(store, shared) as second:
            await until(lambda: (first.share, second.share) == (10, 10))
            async with process(store, shared) as third:
                await until(lambda: sorted((first.share, second.share, third.share)) == [6, 7, 7])
                await third.send(10)
            await until(lambda: (first.share, second.share) == (10, 10))
        await until(lambda: first.share == 20)  # it has the whole pace again
    assert most_in_a_second(first, second, third) <= 20


async def test_a_fractional_rate_is_used_in_full(store: Store) -> None:
    async with process(store, pace(3.5)) as single:
        await until(lambda: single.share == pytest.approx(3.5))
        assert await slots(store) == 3


async def test_a_process_without_requests_holds_no_slots(store: Store) -> None:
    shared = pace(20)
    pacer = Pacer(shared)
    async with shared_pace(store, shared, pacer, terms=QUICK):
        for _ in range(2):
            assert await slots(store) == 0
            async with pacer.slot():
                assert pacer.requests_per_second > 0
            async with asyncio.timeout(60):
                while await slots(store):  # noqa: ASYNC110  # the store sends no notification
                    await asyncio.sleep(0.05)


class Killed(SharedPace):
    """A share of a process that dies: it is neither renewed nor released."""

    async def release(self) -> None:
        pass


async def test_the_share_of_a_dead_process_is_taken_over_once_it_has_expired(store: Store) -> None:
    shared, pacer = pace(20), Pacer(pace(20))
    killed = Killed(store, shared, pacer, LOG, QUICK)
    renewal, client = asyncio.create_task(killed.maintain()), Client(pacer)
    await until(lambda: client.share == 20)
    renewal.cancel()
    died = time.monotonic()
    async with process(store, shared) as other:
        await until(lambda: other.sent_at)
        await other.send(20)
        await client.stop()
    assert client.sent_at[-1] < died + QUICK.valid + 0.1 < other.sent_at[0] + 0.1
    assert other.sent_at[0] > died + QUICK.expiry - QUICK.renewal - 0.5
    assert most_in_a_second(client, other) <= 20


async def test_a_process_that_cannot_renew_stops_and_resumes_when_it_can(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fail(*arguments: object) -> None:
        raise StoreUnavailableError("away")

    async with process(store, pace(20)) as single:
        await single.send(1)
        with monkeypatch.context() as away:
            away.setattr(store.paces, "renew", fail)
            await until(single.pacer.starved.is_set)
            count = len(single.sent_at)
            await asyncio.sleep(0.3)
            assert len(single.sent_at) == count
        await single.send(5)


async def test_a_process_that_is_cut_off_while_it_renews_does_not_stop_the_others(
    postgresql_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(paces, "STALLED", 0.5)
    now, locked, is_back = paces._now, asyncio.Event(), asyncio.Event()

    async def wait(connection: AsyncConnection) -> float:
        locked.set()
        await is_back.wait()
        return await now(connection)

    async with Store.open(postgresql_url) as store, Store.open(postgresql_url) as other:
        with monkeypatch.context() as cut:
            cut.setattr(paces, "_now", wait)
            cut_off = asyncio.create_task(store.paces.renew("acme", "cut off", 20, 0, True, 20))
            await locked.wait()
        async with asyncio.timeout(30):
            assert await other.paces.renew("acme", "other", 20, 0, True, 20) == (20, 20)
        is_back.set()
        with pytest.raises(StoreUnavailableError):
            await cut_off
        assert await store.paces.of("acme") == {"other": 20}
        assert await store.paces.renew("acme", "cut off", 20, 0, True, 20) == (0, 10)


async def test_a_process_that_was_frozen_sends_nothing_with_an_expired_share() -> None:
    now = 0.0
    pacer = Pacer(pace(20), clock=lambda: now)
    pacer.set_rate(20, until=10)
    await pacer.before_send()
    now = 10.0
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.05):
            await pacer.before_send()
    assert pacer.starved.is_set()
    pacer.set_rate(20, until=20)
    await pacer.before_send()


async def test_the_interval_of_renewals_is_a_setting(
    sqlite_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(RENEWAL_VARIABLE, "0.5")
    assert Terms.of_environment() == Terms(renewal=0.5)
    monkeypatch.setenv(RENEWAL_VARIABLE, "20")
    async with Store.open(sqlite_url) as store:
        with pytest.raises(ConfigurationError, match="SKU_VELOCITY_PACE_RENEWAL: .* from 0.2 to 5"):
            async with shared_pace(store, pace(20), Pacer(pace(20))):
                pass


@pytest.mark.parametrize("wanting", [1, 3, 7, 20, 33])
def test_the_slots_are_divided_without_rest_and_every_process_has_its_turn(wanting: int) -> None:
    names, slots = [f"{n:02}" for n in range(wanting)], 20
    turns = [[fair_share(name, names, slots, turn * 20.0) for name in names] for turn in range(wanting)]
    assert all(sum(turn) == slots and max(turn) - min(turn) <= 1 for turn in turns)
    assert all(any(turn[place] for turn in turns) for place in range(wanting))

"""Processes that share a limit of a real Prefect server keep its pace together."""

from __future__ import annotations

import asyncio
import time
from bisect import bisect_left
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from prefect.client.orchestration import get_client

from blocks.shared_pace import Shares, Terms, create_shared_limit, shared_pace
from flows.__main__ import main
from sku_velocity.errors import ConfigurationError
from sku_velocity.http.pacing import Pacer
from sku_velocity.http.spec import PaceSpec
from tests.support.prefect_server import PrefectServer

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("prefect_server")]


def pace(rate: float = 20) -> PaceSpec:
    return PaceSpec(requests_per_second=rate, max_concurrency=2, shared_limit=f"wms-{uuid4().hex}")


async def slots(of: PaceSpec) -> int:
    """How many are leased just now."""
    assert of.shared_limit
    async with get_client() as api:
        return (await api.read_global_concurrency_limit_by_name(of.shared_limit)).active_slots


async def until(holds: Callable[[], object]) -> None:
    """Wait for what takes the server and the other process a few seconds."""
    async with asyncio.timeout(60):
        while not holds():  # noqa: ASYNC110  # what is awaited is another process's doing
            await asyncio.sleep(0.05)


class Asking:
    """Somebody who asks the source as often as his share of the pace allows."""

    def __init__(self, pacer: Pacer) -> None:
        self.left: list[float] = []
        self.pacer = pacer
        self._task = asyncio.create_task(self._ask())

    async def _ask(self) -> None:
        while True:
            async with self.pacer.slot():
                await self.pacer.before_send()
                self.left.append(time.monotonic())

    @property
    def share(self) -> float:
        """Requests/s that he may send just now."""
        return self.pacer.requests_per_second

    async def go_on(self, count: int) -> None:
        """Wait for so many more requests."""
        enough = len(self.left) + count
        await until(lambda: len(self.left) >= enough)

    async def stop(self) -> None:
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)


USUAL = Terms()


@asynccontextmanager
async def process(of: PaceSpec, terms: Terms = USUAL) -> AsyncIterator[Asking]:
    """What one process does: asks at the pace that it shares."""
    pacer = Pacer(of)
    async with shared_pace(of, pacer, terms):
        asking = Asking(pacer)
        try:
            yield asking
        finally:
            await asking.stop()


def most_in_a_second(times: list[float]) -> int:
    times = sorted(times)
    return max(bisect_left(times, first + 1) - i for i, first in enumerate(times))


async def test_one_alone_has_the_whole_pace_and_leaves_it_to_others() -> None:
    shared = pace(20)
    await create_shared_limit(shared)
    async with process(shared) as alone:
        await until(lambda: alone.share == 20)
        assert await slots(shared) == 20
        await alone.go_on(20)
    assert await slots(shared) == 0
    assert most_in_a_second(alone.left) <= 20


async def test_together_they_never_go_above_the_limit_and_each_has_a_share() -> None:
    shared = pace(20)
    await create_shared_limit(shared)
    async with process(shared) as first:
        await until(lambda: first.share == 20)
        async with process(shared) as second:
            await until(lambda: second.share > 0)
            await until(lambda: first.share + second.share == 20)
            assert min(first.share, second.share) >= 4
            await second.go_on(20)
        await until(lambda: first.share == 20)  # it has the whole pace again
    assert most_in_a_second(first.left + second.left) <= 20


async def test_a_rate_that_is_no_whole_number_is_used_whole() -> None:
    shared = pace(3.5)
    await create_shared_limit(shared)
    async with process(shared) as alone:
        await until(lambda: alone.share == pytest.approx(3.5))
        assert await slots(shared) == 3


async def test_who_asks_nothing_holds_nothing() -> None:
    shared = pace(20)
    await create_shared_limit(shared)
    pacer = Pacer(shared)
    async with shared_pace(shared, pacer, Terms(idle=0.5, reserve=0.5)):
        for _ in range(2):
            assert await slots(shared) == 0
            async with pacer.slot():
                assert pacer.requests_per_second > 0
            async with asyncio.timeout(60):
                while await slots(shared):  # noqa: ASYNC110  # the server tells nobody
                    await asyncio.sleep(0.05)


async def test_who_can_renew_nothing_stops_before_his_slots_are_given_to_others() -> None:
    shared = pace(20)
    await create_shared_limit(shared)
    assert shared.shared_limit
    async with process(shared, Terms(renewal=1, sure=3)) as alone, get_client() as api:
        await alone.go_on(1)
        await api.delete_global_concurrency_limit_by_name(shared.shared_limit)
        await until(lambda: not alone.share)
        await create_shared_limit(shared)  # and goes on when it can
        await alone.go_on(5)


async def test_leases_that_the_server_has_lost_are_taken_anew() -> None:
    shared = pace(20)
    await create_shared_limit(shared)
    pacer = Pacer(shared)
    pacer.set_rate(0)
    async with get_client() as api:
        shares = Shares(api, shared, pacer, Terms(renewal=1))
        keeping, asking = asyncio.create_task(shares.keep()), Asking(pacer)
        await until(lambda: asking.share == 20)
        lost = {lease.id for lease in shares.leases}
        for lease in lost:
            await api.release_concurrency_slots_with_lease(lease)
        await until(lambda: asking.share == 20 and lost.isdisjoint(lease.id for lease in shares.leases))
        assert await slots(shared) == 20
        await asking.stop()
        keeping.cancel()
        await shares.give_all_back()


@pytest.mark.parametrize(
    ("limit", "advice"),
    [
        (None, "save-source"),
        ({"limit": 20, "active": False}, "--enable"),
        ({"limit": 20, "slot_decay_per_second": 2.0}, "--slot-decay-per-second 0"),
        ({"limit": 21}, "--limit 20"),
    ],
)
async def test_a_limit_that_would_not_hold_is_refused(limit: dict[str, Any] | None, advice: str) -> None:
    shared = pace(20)
    if limit is not None:
        async with get_client() as api:
            await api.request("POST", "/v2/concurrency_limits/", json={"name": shared.shared_limit, **limit})
    with pytest.raises(ConfigurationError, match=advice):
        async with shared_pace(shared, Pacer(shared)):
            pass


async def test_a_lower_limit_than_the_spec_says_is_kept() -> None:
    shared = pace(20)
    await create_shared_limit(shared.model_copy(update={"requests_per_second": 5}))
    async with process(shared) as alone:
        await until(lambda: alone.share == 5)
        await alone.go_on(6)
    assert most_in_a_second(alone.left) <= 5


def test_saving_a_source_makes_its_limit(prefect_server: PrefectServer, tmp_path: Path) -> None:
    name = f"wms-{uuid4().hex}"
    spec = tmp_path / "acme.yaml"
    spec.write_text(
        "name: acme\nbase_url: http://127.0.0.1:9\nauth: {kind: none}\ntotal: {from: none}\n"
        "fields: {sku_id: sku}\n"
        f"pace: {{requests_per_second: 7.5, shared_limit: {name}}}\n"
    )
    assert main(["save-source", "acme-shared", "--spec", str(spec)]) == 0

    async def read() -> tuple[int, float]:
        async with get_client() as api:
            limit = await api.read_global_concurrency_limit_by_name(name)
            return limit.limit, limit.slot_decay_per_second

    assert asyncio.run(read()) == (7, 0)

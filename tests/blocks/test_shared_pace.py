"""Processes that share a limit of a real Prefect server do not exceed its pace together."""

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
    """Return how many slots are currently leased."""
    assert of.shared_limit
    async with get_client() as api:
        return (await api.read_global_concurrency_limit_by_name(of.shared_limit)).active_slots


async def until(condition: Callable[[], object]) -> None:
    """Wait for a condition that depends on the server or another process."""
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


USUAL = Terms()


@asynccontextmanager
async def process(of: PaceSpec, terms: Terms = USUAL) -> AsyncIterator[Client]:
    """A process that sends requests at the shared pace."""
    pacer = Pacer(of)
    async with shared_pace(of, pacer, terms):
        client = Client(pacer)
        try:
            yield client
        finally:
            await client.stop()


def most_in_a_second(times: list[float]) -> int:
    times = sorted(times)
    return max(bisect_left(times, first + 1) - i for i, first in enumerate(times))


async def test_a_single_process_has_the_whole_pace_and_releases_it_at_the_end() -> None:
    shared = pace(20)
    await create_shared_limit(shared)
    async with process(shared) as single:
        await until(lambda: single.share == 20)
        assert await slots(shared) == 20
        await single.send(20)
    assert await slots(shared) == 0
    assert most_in_a_second(single.sent_at) <= 20


async def test_processes_never_exceed_the_limit_together_and_each_has_a_share() -> None:
    shared = pace(20)
    await create_shared_limit(shared)
    async with process(shared) as first:
        await until(lambda: first.share == 20)
        async with process(shared) as second:
            await until(lambda: second.share > 0)
            await until(lambda: first.share + second.share == 20)
            assert min(first.share, second.share) >= 4
            await second.send(20)
        await until(lambda: first.share == 20)  # it has the whole pace again
    assert most_in_a_second(first.sent_at + second.sent_at) <= 20


async def test_a_fractional_rate_is_used_in_full() -> None:
    shared = pace(3.5)
    await create_shared_limit(shared)
    async with process(shared) as single:
        await until(lambda: single.share == pytest.approx(3.5))
        assert await slots(shared) == 3


async def test_a_process_without_requests_holds_no_slots() -> None:
    shared = pace(20)
    await create_shared_limit(shared)
    pacer = Pacer(shared)
    async with shared_pace(shared, pacer, Terms(idle=0.5, reserve=0.5)):
        for _ in range(2):
            assert await slots(shared) == 0
            async with pacer.slot():
                assert pacer.requests_per_second > 0
            async with asyncio.timeout(60):
                while await slots(shared):  # noqa: ASYNC110  # the server sends no notification
                    await asyncio.sleep(0.05)


async def test_a_process_that_cannot_renew_stops_before_its_slots_go_to_others() -> None:
    shared = pace(20)
    await create_shared_limit(shared)
    assert shared.shared_limit
    async with process(shared, Terms(renewal=1, valid=3)) as single, get_client() as api:
        await single.send(1)
        await api.delete_global_concurrency_limit_by_name(shared.shared_limit)
        await until(lambda: not single.share)
        await create_shared_limit(shared)  # it resumes as soon as it can
        await single.send(5)


async def test_leases_that_the_server_has_lost_are_leased_again() -> None:
    shared = pace(20)
    await create_shared_limit(shared)
    pacer = Pacer(shared)
    pacer.set_rate(0)
    async with get_client() as api:
        shares = Shares(api, shared, pacer, Terms(renewal=1))
        maintenance, client = asyncio.create_task(shares.maintain()), Client(pacer)
        await until(lambda: client.share == 20)
        lost = {lease.id for lease in shares.leases}
        for lease in lost:
            await api.release_concurrency_slots_with_lease(lease)
        await until(lambda: client.share == 20 and lost.isdisjoint(lease.id for lease in shares.leases))
        assert await slots(shared) == 20
        await client.stop()
        maintenance.cancel()
        await shares.release_all()


@pytest.mark.parametrize(
    ("limit", "advice"),
    [
        (None, "save-source"),
        ({"limit": 20, "active": False}, "--enable"),
        ({"limit": 20, "slot_decay_per_second": 2.0}, "--slot-decay-per-second 0"),
        ({"limit": 21}, "--limit 20"),
    ],
)
async def test_a_limit_that_would_not_limit_is_rejected(limit: dict[str, Any] | None, advice: str) -> None:
    shared = pace(20)
    if limit is not None:
        async with get_client() as api:
            await api.request("POST", "/v2/concurrency_limits/", json={"name": shared.shared_limit, **limit})
    with pytest.raises(ConfigurationError, match=advice):
        async with shared_pace(shared, Pacer(shared)):
            pass


async def test_a_limit_below_the_specs_pace_is_respected() -> None:
    shared = pace(20)
    await create_shared_limit(shared.model_copy(update={"requests_per_second": 5}))
    async with process(shared) as single:
        await until(lambda: single.share == 5)
        await single.send(6)
    assert most_in_a_second(single.sent_at) <= 5


def test_saving_a_source_creates_its_limit(prefect_server: PrefectServer, tmp_path: Path) -> None:
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

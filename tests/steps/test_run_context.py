"""Steps in the process: retried after a temporary failure, many at once, and a run within another one."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest
from pydantic import SecretStr

from sku_velocity.errors import ConfigurationError, StoreUnavailableError, VelocityError
from sku_velocity.model.window import Window
from sku_velocity.source.spec import parse_spec
from sku_velocity.steps.access import FileEngine, FileSource, UrlStore
from sku_velocity.steps.outcome import Outcome
from sku_velocity.steps.requests import SyncRequest
from sku_velocity.steps.run_context import RunContext, step
from tests.support.engine import engine_spec


def context(retries: int = 2) -> tuple[RunContext, list[float]]:
    """Return a context that does not wait, and the seconds that it would have waited."""
    waits: list[float] = []

    async def sleep(seconds: float) -> None:
        waits.append(seconds)

    return RunContext(retries=retries, sleep=sleep), waits


def failing(times: int, error: VelocityError) -> Callable[[RunContext], Awaitable[int]]:
    """Return a function that fails this many times, then returns the number of its attempt."""

    async def work(context: RunContext) -> int:
        if context.attempt <= times:
            raise error
        return context.attempt

    return work


def test_a_step_is_retried_after_a_temporary_failure_with_growing_delays() -> None:
    run, waits = context()
    assert asyncio.run(run.perform(step("read")(failing(2, StoreUnavailableError("away"))))) == 3
    assert 20 <= waits[0] <= 30 and 60 <= waits[1] <= 90 and len(waits) == 2


@pytest.mark.parametrize(
    ("retries", "error", "is_retried", "expected"),
    [
        (1, StoreUnavailableError("away"), True, 1),
        (2, ConfigurationError("wrong"), True, 0),
        (2, StoreUnavailableError("away"), False, 0),
    ],
)
def test_its_last_error_is_raised(
    retries: int, error: VelocityError, is_retried: bool, expected: int
) -> None:
    run, waits = context(retries)
    with pytest.raises(type(error)):
        asyncio.run(run.perform(step("read", is_retried=is_retried)(failing(9, error))))
    assert len(waits) == expected


def test_of_many_steps_a_failed_one_stops_no_other() -> None:
    @step("read {number}")
    async def read(context: RunContext, number: int) -> int:
        if number == 3:
            raise ConfigurationError("three")
        return number

    async def collect() -> list[object]:
        return [each async for each in context()[0].perform_each(read, [(number,) for number in range(200)])]

    results = asyncio.run(collect())
    assert sorted(each for each in results if isinstance(each, int)) == [n for n in range(200) if n != 3]
    assert [str(each) for each in results if not isinstance(each, int)] == ["three"]


def test_a_context_gives_each_window_an_id_that_it_keeps() -> None:
    run, other, everything = context()[0], context()[0], Window.everything()
    ids = [run.run_id("acme", name, everything) for name in ("WH-01", "WH-02", "WH-01")]
    assert ids[0] == ids[2] != ids[1] and other.run_id("acme", "WH-01", everything) not in ids


def test_a_run_within_another_one_uses_its_connections_and_so_its_pace(sqlite_url: str) -> None:
    url = "https://wms.example.com"
    spec = parse_spec({"name": "acme", "base_url": url, "auth": {"kind": "none"}}, "test")
    run, request = context()[0], SyncRequest(source="acme.yaml", warehouse="WH-01", push="slots.yaml")
    run.source, run.engine = FileSource(spec), FileEngine(engine_spec(url))
    run.store_access = UrlStore(SecretStr(sqlite_url))

    async def clients_of(context: RunContext) -> list[object]:
        async with context.client() as source, context.engine_client() as engine, context.store() as store:
            return [source, engine, store]

    async def operation(child: RunContext, request: SyncRequest) -> Outcome[list[object]]:
        await child.find(source=request.source, store=request.store, engine=request.push)
        return Outcome("Complete", "", await clients_of(child))

    async def compare() -> None:
        async with run.opened():
            assert (await run.run(operation, request)).report == await clients_of(run)

    asyncio.run(compare())

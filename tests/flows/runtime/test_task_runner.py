"""What a flow can rely on when its tasks run on one event loop, against a real Prefect server."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import anyio
import httpx
import pytest
from prefect import flow, task
from prefect.client.orchestration import get_client
from prefect.futures import as_completed, wait
from prefect.task_runners import ThreadPoolTaskRunner
from prefect.utilities.annotations import allow_failure

from flows.runtime.task_runner import EventLoopTaskRunner, as_they_complete, shared

pytestmark = pytest.mark.usefixtures("prefect_server")


@task
async def double(number: int) -> int:
    return 2 * number


@task
async def total(numbers: list[int], more: dict[str, int] | None = None) -> int:
    return sum(numbers) + sum((more or {}).values())


@task
async def fail(number: int = 0) -> None:
    raise ValueError(f"no {number}")


@contextmanager
def counting_server() -> Iterator[tuple[str, list[int]]]:
    """An HTTP server, and the client ports that have connected to it."""
    connections: list[int] = []

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def setup(self) -> None:
            connections.append(self.client_address[1])
            super().setup()

        def do_GET(self) -> None:
            self.send_response(204)
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}", connections
        server.shutdown()
        thread.join()


def loop_threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "event-loop-task-runner"]


# One loop, one pool


def test_mapped_tasks_share_one_loop_and_one_connection_pool() -> None:
    def open_client() -> httpx.AsyncClient:
        return httpx.AsyncClient(limits=httpx.Limits(max_connections=3), trust_env=False)

    @task
    async def fetch(url: str) -> tuple[int, int]:
        async with shared("client", open_client) as client:
            response = await client.get(url)
            return response.status_code, id(asyncio.get_running_loop())

    @flow(task_runner=EventLoopTaskRunner())
    def fetch_all(url: str) -> list[tuple[int, int]]:
        return fetch.map([f"{url}/{number}" for number in range(30)]).result()

    with counting_server() as (url, connections):
        answers = fetch_all(url)
    assert {status for status, _ in answers} == {204}
    assert len({loop for _, loop in answers}) == 1
    assert 1 <= len(connections) <= 3


def test_all_tasks_use_the_runners_one_prefect_client() -> None:
    @task
    async def client(number: int) -> int:
        return id(get_client())

    @flow(task_runner=EventLoopTaskRunner())
    def clients() -> list[int]:
        return client.map(range(10)).result()

    assert len(set(clients())) == 1, (
        "Prefect's engine created a client for a task. EventLoopTaskRunner enters a copy of its "
        "AsyncClientContext around each task, for AsyncClientContext.get_or_create() to take."
    )


def test_two_hundred_tasks_run_and_the_thread_ends() -> None:
    @flow(task_runner=EventLoopTaskRunner())
    def many() -> list[int]:
        return double.map(range(200)).result()

    assert many() == [2 * number for number in range(200)]
    assert not loop_threads()


def test_the_maximum_number_of_tasks_runs_at_once_and_no_more() -> None:
    running, most = 0, 0
    three = asyncio.Barrier(3)

    @task
    async def count(number: int) -> None:
        nonlocal running, most
        running += 1
        most = max(most, running)
        await three.wait()
        running -= 1

    @flow(task_runner=EventLoopTaskRunner(max_concurrency=3))
    def count_all() -> None:
        wait(count.map(range(12)))

    count_all()
    assert most == 3


# Futures


def test_upstream_futures_are_awaited_in_any_collection() -> None:
    @flow(task_runner=EventLoopTaskRunner(max_concurrency=1))
    def add() -> int:
        doubles = double.map([1, 2, 3])
        first = total.submit([doubles[0], doubles[1]], more={"third": doubles[2]})
        return total.submit([first, 30]).result()

    assert add() == 42


def test_a_task_starts_after_those_it_waits_for() -> None:
    order: list[str] = []

    @task
    async def note(name: str) -> None:
        order.append(name)

    @flow(task_runner=EventLoopTaskRunner())
    def in_order() -> None:
        first = note.submit("first")
        second = note.submit("second", wait_for=[first])
        note.submit("third", wait_for=[[first, second]]).wait()

    in_order()
    assert order == ["first", "second", "third"]


def test_a_failed_upstream_prevents_its_downstream_unless_allowed() -> None:
    @task
    async def describe(error: Exception) -> str:
        return str(error)

    @flow(task_runner=EventLoopTaskRunner())
    def downstream() -> tuple[str, str]:
        failed = fail.submit(1)
        blocked, allowed = describe.submit(failed), describe.submit(allow_failure(failed))
        wait([blocked])
        return blocked.state.name, allowed.result()

    assert downstream() == ("NotReady", "no 1")


def test_a_task_can_await_a_task_that_it_submits_even_with_one_slot() -> None:
    @task
    async def parent(number: int) -> int:
        async for child in as_they_complete([double.submit(number)]):
            return child.result()
        raise AssertionError

    @flow(task_runner=EventLoopTaskRunner(max_concurrency=1))
    def nested() -> int:
        return parent.submit(21).result()

    assert nested() == 42


def test_a_task_that_would_block_its_own_loop_raises() -> None:
    @task
    async def parent() -> int:
        return double.submit(21).result()

    @flow(task_runner=EventLoopTaskRunner())
    def nested() -> int:
        return parent.submit().result()

    with pytest.raises(RuntimeError, match="as_they_complete"):
        nested()


def test_prefects_wait_and_as_completed_return_all_futures() -> None:
    @flow(task_runner=EventLoopTaskRunner())
    def both() -> tuple[int, set[int]]:
        done, not_done = wait(double.map(range(5)), timeout=60)
        assert not not_done
        return len(done), {future.result() for future in as_completed(double.map(range(5)))}

    assert both() == (5, {0, 2, 4, 6, 8})


@pytest.mark.parametrize("runner", [EventLoopTaskRunner(), ThreadPoolTaskRunner(max_workers=4)])
def test_futures_are_yielded_as_they_complete_or_fail(runner: Any) -> None:
    @flow(task_runner=runner)
    async def take() -> list[str]:
        first = fail.submit()
        last = double.submit(1, wait_for=[allow_failure(first)])
        return [future.state.name async for future in as_they_complete([last, first, last])]

    assert asyncio.run(take()) == ["Failed", "Completed"]


def test_the_flows_own_loop_is_not_blocked_while_it_awaits_futures() -> None:
    opened = threading.Event()

    @task
    async def wait_for_flow() -> bool:
        return await asyncio.to_thread(opened.wait, 60)

    @flow(task_runner=EventLoopTaskRunner())
    async def take() -> list[bool]:
        future = wait_for_flow.submit()
        asyncio.get_running_loop().call_soon(opened.set)
        return [done.result() async for done in as_they_complete([future])]

    assert asyncio.run(take()) == [True]


def test_a_cancelled_consumer_loses_no_future() -> None:
    opened = threading.Event()

    @task
    async def wait_for_flow() -> bool:
        return await asyncio.to_thread(opened.wait, 60)

    @flow(task_runner=EventLoopTaskRunner())
    async def take_twice() -> list[bool]:
        future = wait_for_flow.submit()
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(anext(as_they_complete([future])), timeout=0.01)
        opened.set()
        return [done.result() async for done in as_they_complete([future])]

    assert asyncio.run(take_twice()) == [True]


# Failures and retries


def test_a_failing_task_does_not_affect_the_others() -> None:
    @flow(task_runner=EventLoopTaskRunner())
    def mixed() -> tuple[list[int], list[str]]:
        good, bad = double.map(range(5)), fail.map(range(3))
        wait([*good, *bad])
        return good.result(), [future.state.message for future in bad]

    results, messages = mixed()
    assert results == [0, 2, 4, 6, 8]
    assert all("ValueError: no" in message for message in messages)


@pytest.mark.parametrize("interruption", [KeyboardInterrupt, SystemExit])
def test_an_interruption_raised_in_a_task_does_not_stop_the_loop(
    interruption: type[BaseException],
) -> None:
    @task
    async def interrupt() -> None:
        raise interruption

    @flow(task_runner=EventLoopTaskRunner())
    def recover() -> tuple[bool, int]:
        broken = interrupt.submit()
        broken.wait()
        return broken.state.is_crashed(), double.submit(1).result()

    assert recover() == (True, 2)


def test_a_task_is_retried_as_often_as_configured() -> None:
    attempts: list[int] = []

    @task(retries=2)
    async def third_time_lucky() -> int:
        attempts.append(1)
        if len(attempts) < 3:
            raise ConnectionError
        return len(attempts)

    @flow(task_runner=EventLoopTaskRunner())
    def persist() -> int:
        return third_time_lucky.submit().result()

    assert persist() == 3


def test_tasks_that_wait_for_their_retry_do_not_block_others() -> None:
    ended: list[int] = []
    attempts: list[int] = []

    @task(retries=1, retry_delay_seconds=2)
    async def read(chunk: int) -> None:
        attempts.append(chunk)
        if chunk < 2 and attempts.count(chunk) == 1:
            raise ConnectionError
        ended.append(chunk)

    @flow(task_runner=EventLoopTaskRunner(max_concurrency=2))
    def read_all() -> None:
        wait(read.map(range(8)))

    read_all()
    assert set(ended[:6]) == set(range(2, 8))
    assert set(ended[6:]) == {0, 1}
    assert len(attempts) == 10


# The end


def test_exiting_cancels_running_tasks_and_lets_them_clean_up() -> None:
    started = threading.Event()
    cleaned_up: list[int] = []

    @task
    async def run_forever(number: int) -> None:
        started.set()
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0)
            cleaned_up.append(number)

    futures: list[Any] = []

    @flow(task_runner=EventLoopTaskRunner(max_concurrency=1))
    def interrupt_flow() -> None:
        futures.extend(run_forever.map(range(3)))
        futures.append(double.submit(1, wait_for=[futures[0]]))
        assert started.wait(60)
        raise ValueError("the flow")

    with pytest.raises(ValueError, match="the flow"):
        interrupt_flow()
    for future in futures:
        future.wait()
    assert cleaned_up == [0]
    assert all(future.state.is_crashed() for future in futures)
    assert not loop_threads()


def test_a_cancelled_flow_cancels_its_tasks() -> None:
    started, cancelled = asyncio.Event(), threading.Event()

    @task
    async def run_forever(loop: Any) -> None:
        loop.call_soon_threadsafe(started.set)
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            cancelled.set()
            raise

    @flow(task_runner=EventLoopTaskRunner())
    async def take() -> None:
        async for _ in as_they_complete([run_forever.submit(asyncio.get_running_loop())]):
            pass

    async def cancel() -> None:
        run = asyncio.create_task(take())
        await started.wait()
        run.cancel()
        with pytest.raises(asyncio.CancelledError):
            await run

    asyncio.run(cancel())
    assert cancelled.is_set()


def test_submitting_before_the_runner_starts_raises() -> None:
    with pytest.raises(RuntimeError, match="must be started"):
        EventLoopTaskRunner().submit(double, {"number": 1})


def test_equality_and_duplicates_depend_on_the_concurrency() -> None:
    runner = EventLoopTaskRunner(max_concurrency=5)
    assert runner == runner.duplicate() != EventLoopTaskRunner()
    assert runner.duplicate().max_concurrency == 5


# Sync tasks


def test_sync_tasks_run_in_threads_and_can_wait_for_each_other() -> None:
    @task
    def child() -> int:
        return threading.get_ident()

    @task
    def parent(number: int) -> bool:
        return child.submit().result() != threading.get_ident()

    @flow(task_runner=EventLoopTaskRunner(max_concurrency=2))
    def nested() -> list[bool]:
        return parent.map(range(4)).result()

    assert nested() == [True] * 4


# Shared resources


def test_shared_resources_are_opened_once_and_closed_in_reverse_order() -> None:
    events: list[str] = []

    @asynccontextmanager
    async def opening(name: str) -> AsyncIterator[str]:
        await asyncio.sleep(0)
        events.append(f"open {name}")
        async with anyio.create_task_group():  # must be exited by the asyncio task that entered it
            yield name
        events.append(f"close {name}")

    @asynccontextmanager
    async def opening_outer() -> AsyncIterator[str]:
        async with shared("inner", lambda: opening("inner")) as inner, opening("outer") as outer:
            yield f"{outer} on {inner}"

    @task
    async def use(number: int) -> str:
        async with shared("outer", opening_outer) as outer:
            events.append("use")
            return outer

    @flow(task_runner=EventLoopTaskRunner())
    def use_all() -> list[str]:
        return use.map(range(5)).result()

    assert use_all() == ["outer on inner"] * 5
    assert events == ["open inner", "open outer", *["use"] * 5, "close outer", "close inner"]


def test_a_failed_opening_can_be_tried_again() -> None:
    attempts: list[int] = []

    @asynccontextmanager
    async def opening() -> AsyncIterator[str]:
        attempts.append(1)
        if len(attempts) == 1:
            raise ConnectionError("unavailable")
        yield "open"

    @task(retries=1)
    async def use(number: int) -> str:
        async with shared("it", opening) as it:
            return it

    @flow(task_runner=EventLoopTaskRunner())
    def use_all() -> list[str]:
        return use.map(range(5)).result()

    assert use_all() == ["open"] * 5
    assert len(attempts) == 2


def test_a_resource_that_fails_to_close_does_not_prevent_others() -> None:
    closed: list[str] = []

    @asynccontextmanager
    async def opening(name: str) -> AsyncIterator[str]:
        yield name
        closed.append(name)
        if name == "second":
            raise OSError("stuck")

    @task
    async def use() -> None:
        for name in ("first", "second"):
            async with shared(name, lambda name=name: opening(name)):
                pass

    @flow(task_runner=EventLoopTaskRunner())
    def use_both() -> None:
        use.submit().result()

    use_both()
    assert closed == ["second", "first"]


def test_without_the_runner_each_use_opens_its_own_resource() -> None:
    events: list[str] = []

    @asynccontextmanager
    async def opening() -> AsyncIterator[None]:
        events.append("open")
        yield
        events.append("close")

    @task
    async def use_twice() -> None:
        for _ in range(2):
            async with shared("it", opening):
                pass

    @flow(task_runner=ThreadPoolTaskRunner(max_workers=1))
    def use_in_a_task() -> None:
        use_twice.submit().result()

    asyncio.run(use_twice.fn())
    use_in_a_task()
    assert events == ["open", "close"] * 4


def test_each_run_has_its_own_resources() -> None:
    opened: list[object] = []

    @asynccontextmanager
    async def opening() -> AsyncIterator[None]:
        opened.append(object())
        yield

    def it() -> AbstractAsyncContextManager[None]:
        return shared("it", opening)

    @task
    async def use(number: int) -> None:
        async with it(), it():
            pass

    @flow(task_runner=EventLoopTaskRunner())
    def use_all() -> None:
        wait(use.map(range(3)))

    use_all()
    use_all()
    assert len(opened) == 2

"""A Prefect task runner that runs all tasks of a flow run on one event loop."""

from __future__ import annotations

import asyncio
import concurrent.futures
import sys
import threading
from collections import deque
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable
from contextlib import suppress
from contextvars import Context, copy_context
from copy import copy
from dataclasses import dataclass
from functools import partial, wraps
from typing import Any, Self, TypeVar, cast
from uuid import UUID, uuid4

from prefect.client.schemas.objects import RunInput, State
from prefect.futures import PrefectConcurrentFuture, PrefectFuture
from prefect.states import Crashed
from prefect.task_runners import TaskRunner
from prefect.tasks import Task
from prefect.utilities.annotations import quote

from flows.runtime.ownership import untagged_tasks
from flows.runtime.prefect_internals import (
    AsyncClientContext,
    StopVisiting,
    run_task_async,
    run_task_sync,
    visit_collection,
)
from sku_velocity.process.shared_resources import LoopResources, current_resources, shared

__all__ = ["EventLoopTaskRunner", "as_they_complete", "shared"]

R = TypeVar("R")
F = TypeVar("F", bound=PrefectFuture[Any])


async def as_they_complete(futures: Iterable[F]) -> AsyncIterator[F]:
    """Yield the futures in the order in which they complete or fail, without blocking the caller's loop.

    A caller that stops early loses no future: it can request the remaining ones again.
    """
    loop = asyncio.get_running_loop()
    done: asyncio.Queue[Any] = asyncio.Queue()

    def enqueue(future: PrefectFuture[Any]) -> None:
        with suppress(RuntimeError):  # the caller has ended and its loop is closed
            loop.call_soon_threadsafe(done.put_nowait, future)

    pending = set(futures)
    expected = len(pending)
    while pending:  # keep no reference here, so that an unused result can be freed
        pending.pop().add_done_callback(enqueue)
    for _ in range(expected):
        future: F = await done.get()
        _cache_final_state(future)
        yield future


class EventLoopFuture(PrefectConcurrentFuture[R]):
    """A task run on an `EventLoopTaskRunner`. It always ends in a state, even if it crashes; no cancel."""

    def __init__(self, loop_thread: int | None) -> None:
        wrapped: concurrent.futures.Future[Any] = concurrent.futures.Future()
        wrapped.set_running_or_notify_cancel()  # a waiter that is cancelled must not cancel it for others
        super().__init__(task_run_id=uuid4(), wrapped_future=wrapped)
        self._loop_thread = loop_thread

    def wait(self, timeout: float | None = None) -> None:
        self._raise_if_blocking_own_loop()
        super().wait(timeout)

    def result(self, timeout: float | None = None, raise_on_failure: bool = True) -> R:
        self._raise_if_blocking_own_loop()
        return super().result(timeout, raise_on_failure)

    def _raise_if_blocking_own_loop(self) -> None:
        if threading.get_ident() == self._loop_thread and not self.wrapped_future.done():
            raise RuntimeError(
                "An async task blocks on a task of the same event loop, which cannot run meanwhile. "
                "Await it instead: `async for future in as_they_complete([future])`."
            )


class EventLoopTaskRunner(TaskRunner[PrefectFuture[Any]]):
    """Runs the async tasks of a flow run on one event loop, in one thread beside the flow's.

    So tasks can share what belongs to a loop, such as an HTTP client or a database engine: see `shared`. At
    most `max_concurrency` task functions run at once. Tasks that wait for others or for their retry do not
    count, nor do tasks that another task has submitted, which may be waiting for them. Sync tasks run in
    threads and count while they wait for a retry.

    Exiting the runner cancels the unfinished tasks: they get `CancelledError` at once, may await in their
    cleanup, and end as Crashed.
    """

    def __init__(self, max_concurrency: int = 64) -> None:
        if max_concurrency < 1:
            raise ValueError(f"max_concurrency must be at least 1, not {max_concurrency}")
        super().__init__()  # type: ignore[no-untyped-call]  # Prefect's is not annotated
        self.max_concurrency = max_concurrency
        self._run: _LoopRun | None = None

    def duplicate(self) -> Self:
        return type(self)(max_concurrency=self.max_concurrency)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, EventLoopTaskRunner) and self.max_concurrency == other.max_concurrency

    def submit(
        self,
        task: Task[..., Any],
        parameters: dict[str, Any],
        wait_for: Iterable[PrefectFuture[Any]] | None = None,
        dependencies: dict[str, set[RunInput]] | None = None,
    ) -> EventLoopFuture[Any]:
        """Submit a task to the loop and return at once, from any thread, including a task's own."""
        if self._run is None:
            raise RuntimeError("The task runner must be started before submitting work.")
        return self._run.submit(_TaskCall(task, parameters, wait_for, dependencies))

    def __enter__(self) -> Self:
        super().__enter__()
        run = _LoopRun(self.max_concurrency)
        run.open()
        self._run = run
        return self

    def __exit__(self, exc_type: Any, exc_value: Any, traceback: Any) -> None:
        run, self._run = self._run, None
        if run is not None:
            run.close()
        super().__exit__(exc_type, exc_value, traceback)


class _LoopRun:
    """The loop of one flow run: its thread, its tasks and their shared resources."""

    _loop: asyncio.AbstractEventLoop
    _resources: LoopResources
    _client: AsyncClientContext

    def __init__(self, max_concurrency: int) -> None:
        self._limit = _ConcurrencyLimit(max_concurrency)
        self._tasks: set[asyncio.Task[State[Any]]] = set()
        self._ready: concurrent.futures.Future[None] = concurrent.futures.Future()
        self._stopping = asyncio.Event()
        # Prefect's settings live in the caller's context. The thread is a daemon: an interpreter that is
        # torn down during the run must not wait for it.
        context = copy_context()
        self._thread = threading.Thread(
            target=lambda: context.run(asyncio.run, self._main()), name="event-loop-task-runner", daemon=True
        )

    def open(self) -> None:
        """Start the loop. Raises what prevents it from reaching Prefect's API."""
        self._thread.start()
        try:
            self._ready.result()
        except Exception:
            self._thread.join()
            raise

    def close(self) -> None:
        """Cancel running tasks, let them clean up, close the shared resources, and end the thread."""
        self._loop.call_soon_threadsafe(self._stopping.set)
        self._thread.join()

    def submit(self, call: _TaskCall) -> EventLoopFuture[Any]:
        future: EventLoopFuture[Any] = EventLoopFuture(self._thread.ident)
        self._loop.call_soon_threadsafe(self._start, call, future, copy_context())
        return future

    async def _main(self) -> None:
        self._loop, self._resources = asyncio.get_running_loop(), LoopResources()
        # For sync tasks. `_limit` bounds them; a bound here would deadlock tasks that wait for each other.
        self._loop.set_default_executor(concurrent.futures.ThreadPoolExecutor(max_workers=sys.maxsize))
        try:
            async with AsyncClientContext() as self._client:
                self._ready.set_result(None)
                await self._stopping.wait()
                await self._cancel_tasks()
                await self._resources.close()
        except BaseException as error:
            if self._ready.done():
                raise
            self._ready.set_exception(error)

    async def _cancel_tasks(self) -> None:
        while self._tasks:
            for task in self._tasks:
                task.cancel()
            await asyncio.wait(self._tasks)

    def _start(self, call: _TaskCall, future: EventLoopFuture[Any], context: Context) -> None:
        if self._stopping.is_set():
            future.wrapped_future.set_result(_crashed(asyncio.CancelledError()))
            return
        task = self._loop.create_task(self._execute(call, future), context=context)
        self._tasks.add(task)
        task.add_done_callback(partial(self._settle, future))

    def _settle(self, future: EventLoopFuture[Any], task: asyncio.Task[State[Any]]) -> None:
        self._tasks.discard(task)
        # Cancelled here means before its first step. After that, `_execute` turns everything into a state.
        future.wrapped_future.set_result(
            _crashed(asyncio.CancelledError()) if task.cancelled() else task.result()
        )

    async def _execute(self, call: _TaskCall, future: EventLoopFuture[Any]) -> State[Any]:
        is_nested = current_resources.get() is self._resources
        slot = _Slot(_ConcurrencyLimit(1) if is_nested else self._limit)
        current_resources.set(self._resources)
        try:
            # Prefect's engine uses the client in the context.
            with self._client.model_copy(), untagged_tasks():
                # Before the engine does: it would block the loop while waiting for them.
                async for _ in as_they_complete(call.upstream()):
                    pass
                await slot.acquire()
                return await call.run(future.task_run_id, slot)
        except BaseException as error:  # a KeyboardInterrupt that escapes a task ends its loop
            return _crashed(error)
        finally:
            slot.release()


@dataclass(frozen=True)
class _TaskCall:
    """A task to run, as Prefect passes it to a runner."""

    task: Task[..., Any]
    parameters: dict[str, Any]
    wait_for: Iterable[PrefectFuture[Any]] | None
    dependencies: dict[str, set[RunInput]] | None

    def upstream(self) -> list[PrefectFuture[Any]]:
        """Return the futures that the engine will resolve, at any depth of the arguments."""
        found: list[PrefectFuture[Any]] = []

        def visit(value: Any, context: dict[str, Any]) -> Any:
            if isinstance(context.get("annotation"), quote):
                raise StopVisiting
            if isinstance(value, PrefectFuture):
                found.append(value)
            return value

        visit_collection([self.parameters, self.wait_for], visit, context={})
        return found

    async def run(self, task_run_id: UUID, slot: _Slot) -> State[Any]:
        engine_arguments: dict[str, Any] = {
            "task_run_id": task_run_id,
            "parameters": self.parameters,
            "wait_for": self.wait_for,
            "return_type": "state",
            "dependencies": self.dependencies,
        }
        state: Any
        if self.task.isasync:
            task = copy(self.task)
            task.fn = slot.held_by(self.task.fn)
            state = await run_task_async(task, **engine_arguments)
        else:
            state = await asyncio.to_thread(partial(run_task_sync, self.task, **engine_arguments))
        return cast(State[Any], state)


class _Slot:
    """A task's slot of the limit, released when its function ends, so a retry delay holds none."""

    def __init__(self, limit: _ConcurrencyLimit) -> None:
        self._limit = limit
        self._is_held = False

    async def acquire(self, *, ahead: bool = False) -> None:
        if not self._is_held:
            await self._limit.acquire(ahead=ahead)
            self._is_held = True

    def release(self) -> None:
        if self._is_held:
            self._is_held = False
            self._limit.release()

    def held_by(self, fn: Callable[..., Coroutine[Any, Any, R]]) -> Callable[..., Coroutine[Any, Any, R]]:
        @wraps(fn)
        async def run(*args: Any, **kwargs: Any) -> R:
            await self.acquire(ahead=True)  # a retry: its timeout is already running
            try:
                return await fn(*args, **kwargs)
            finally:
                self.release()

        return run


class _ConcurrencyLimit:
    """A semaphore that serves waiters in order of arrival, or ahead of all others."""

    def __init__(self, slots: int) -> None:
        self._free = slots
        self._waiting: deque[asyncio.Future[None]] = deque()

    async def acquire(self, *, ahead: bool = False) -> None:
        if self._free:
            self._free -= 1
            return
        waiter = asyncio.get_running_loop().create_future()
        (self._waiting.appendleft if ahead else self._waiting.append)(waiter)
        try:
            await waiter
        except asyncio.CancelledError:
            if waiter.done() and not waiter.cancelled():
                self.release()  # admitted and cancelled at the same moment
            raise

    def release(self) -> None:
        while self._waiting:
            waiter = self._waiting.popleft()
            if not waiter.done():
                waiter.set_result(None)
                return
        self._free += 1


def _crashed(error: BaseException) -> State[Any]:
    if isinstance(error, asyncio.CancelledError):
        return Crashed(message="Cancelled before it completed.", data=error)
    return Crashed(message=f"The task run was interrupted: {type(error).__name__}: {error}", data=error)


def _cache_final_state(future: PrefectFuture[Any]) -> None:
    """Keep a done future from asking Prefect's API, which lags behind, for its `state`."""
    if isinstance(future, PrefectConcurrentFuture):
        wrapped = future.wrapped_future
        if not wrapped.cancelled() and not wrapped.exception():
            future.wait()

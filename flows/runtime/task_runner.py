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
from prefect.context import AsyncClientContext
from prefect.futures import PrefectConcurrentFuture, PrefectFuture
from prefect.states import Crashed
from prefect.task_engine import run_task_async, run_task_sync
from prefect.task_runners import TaskRunner
from prefect.tasks import Task
from prefect.utilities.annotations import quote
from prefect.utilities.collections import StopVisiting, visit_collection

from flows.runtime.shared_resources import LoopResources, current_resources, shared

__all__ = ["EventLoopTaskRunner", "as_they_complete", "shared"]

R = TypeVar("R")
F = TypeVar("F", bound=PrefectFuture[Any])


async def as_they_complete(futures: Iterable[F]) -> AsyncIterator[F]:
    """The futures in the order in which they complete, well or not; the caller's loop stays free.

    Whoever stops taking them loses none: what has not come yet can be asked for again.
    """
    loop = asyncio.get_running_loop()
    done: asyncio.Queue[Any] = asyncio.Queue()

    def hand_over(future: PrefectFuture[Any]) -> None:
        with suppress(RuntimeError):  # the loop of a caller that has gone is closed
            loop.call_soon_threadsafe(done.put_nowait, future)

    pending = set(futures)
    awaited = len(pending)
    while pending:  # no reference stays here: a result that is not kept can go
        pending.pop().add_done_callback(hand_over)
    for _ in range(awaited):
        future: F = await done.get()
        _keep_final_state(future)
        yield future


class EventLoopFuture(PrefectConcurrentFuture[R]):
    """A task run on an `EventLoopTaskRunner`; it ends in a state, a crash too, and cannot be cancelled."""

    def __init__(self, loop_thread: int | None) -> None:
        outcome: concurrent.futures.Future[Any] = concurrent.futures.Future()
        outcome.set_running_or_notify_cancel()  # a waiter that is cancelled must not cancel it for others
        super().__init__(task_run_id=uuid4(), wrapped_future=outcome)
        self._loop_thread = loop_thread

    def wait(self, timeout: float | None = None) -> None:
        self._refuse_to_block_its_loop()
        super().wait(timeout)

    def result(self, timeout: float | None = None, raise_on_failure: bool = True) -> R:
        self._refuse_to_block_its_loop()
        return super().result(timeout, raise_on_failure)

    def _refuse_to_block_its_loop(self) -> None:
        if threading.get_ident() == self._loop_thread and not self.wrapped_future.done():
            raise RuntimeError(
                "An async task waits for a task on the same event loop, which cannot run meanwhile. "
                "Await it instead: `async for future in as_they_complete([future])`."
            )


class EventLoopTaskRunner(TaskRunner[PrefectFuture[Any]]):
    """Runs the async tasks of a flow run on one event loop, in one thread beside the flow's.

    So tasks can share what belongs to a loop, an HTTP client or a database engine: see `shared`. At most
    `max_concurrency` task functions run at once; a task that waits for others, or for its retry, does not
    count, nor does one that another task has submitted, for that one may be waiting for it. Sync tasks run
    in threads, and do count while they wait for a retry.

    Leaving the runner cancels the tasks that are not done: they get `CancelledError` at once, may await in
    their cleanup, and end as Crashed.
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
        """Hand a task to the loop and return at once, from whatever thread, a task's own included."""
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
    """The loop of one flow run: its thread, the tasks on it, and what they share."""

    _loop: asyncio.AbstractEventLoop
    _resources: LoopResources
    _client: AsyncClientContext

    def __init__(self, max_concurrency: int) -> None:
        self._gate = _Gate(max_concurrency)
        self._tasks: set[asyncio.Task[State[Any]]] = set()
        self._ready: concurrent.futures.Future[None] = concurrent.futures.Future()
        self._leaving = asyncio.Event()
        # Prefect's settings live in the caller's context. A daemon, for an interpreter that is torn down
        # in the middle must not wait for it.
        context = copy_context()
        self._thread = threading.Thread(
            target=lambda: context.run(asyncio.run, self._main()), name="event-loop-task-runner", daemon=True
        )

    def open(self) -> None:
        """Start the loop; raises what keeps it from reaching Prefect's API."""
        self._thread.start()
        try:
            self._ready.result()
        except Exception:
            self._thread.join()
            raise

    def close(self) -> None:
        """Cancel what still runs, let it clean up, close what was shared, and end the thread."""
        self._loop.call_soon_threadsafe(self._leaving.set)
        self._thread.join()

    def submit(self, order: _TaskCall) -> EventLoopFuture[Any]:
        future: EventLoopFuture[Any] = EventLoopFuture(self._thread.ident)
        self._loop.call_soon_threadsafe(self._start, order, future, copy_context())
        return future

    async def _main(self) -> None:
        self._loop, self._resources = asyncio.get_running_loop(), LoopResources()
        # For sync tasks. The gate bounds them; a bound here would lock those that wait for one another.
        self._loop.set_default_executor(concurrent.futures.ThreadPoolExecutor(max_workers=sys.maxsize))
        try:
            async with AsyncClientContext() as self._client:
                self._ready.set_result(None)
                await self._leaving.wait()
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

    def _start(self, order: _TaskCall, future: EventLoopFuture[Any], context: Context) -> None:
        if self._leaving.is_set():
            future.wrapped_future.set_result(_crashed(asyncio.CancelledError()))
            return
        task = self._loop.create_task(self._perform(order, future), context=context)
        self._tasks.add(task)
        task.add_done_callback(partial(self._settle, future))

    def _settle(self, future: EventLoopFuture[Any], task: asyncio.Task[State[Any]]) -> None:
        self._tasks.discard(task)
        # Cancelled: before its first step. Afterwards, `_perform` turns whatever comes into a state.
        future.wrapped_future.set_result(
            _crashed(asyncio.CancelledError()) if task.cancelled() else task.result()
        )

    async def _perform(self, order: _TaskCall, future: EventLoopFuture[Any]) -> State[Any]:
        is_nested = current_resources.get() is self._resources
        place = _Place(_Gate(1) if is_nested else self._gate)
        current_resources.set(self._resources)
        try:
            with self._client.model_copy():  # Prefect's engine takes the client that stands in the context
                # First, for the engine would wait for them by stopping the loop.
                async for _ in as_they_complete(order.upstream()):
                    pass
                await place.take()
                return await order.run(future.task_run_id, place)
        except BaseException as error:  # a KeyboardInterrupt that leaves a task ends its loop
            return _crashed(error)
        finally:
            place.give_back()


@dataclass(frozen=True)
class _TaskCall:
    """A task to run, as Prefect hands it to a runner."""

    task: Task[..., Any]
    parameters: dict[str, Any]
    wait_for: Iterable[PrefectFuture[Any]] | None
    dependencies: dict[str, set[RunInput]] | None

    def upstream(self) -> list[PrefectFuture[Any]]:
        """The futures that the engine will resolve, in however deep a collection."""
        found: list[PrefectFuture[Any]] = []

        def visit(value: Any, context: dict[str, Any]) -> Any:
            if isinstance(context.get("annotation"), quote):
                raise StopVisiting
            if isinstance(value, PrefectFuture):
                found.append(value)
            return value

        visit_collection([self.parameters, self.wait_for], visit, context={})
        return found

    async def run(self, task_run_id: UUID, place: _Place) -> State[Any]:
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
            task.fn = place.taken_by(self.task.fn)
            state = await run_task_async(task, **engine_arguments)
        else:
            state = await asyncio.to_thread(partial(run_task_sync, self.task, **engine_arguments))
        return cast(State[Any], state)


class _Place:
    """A task's place among those that run: given back when its function ends, so a retry delay holds none."""

    def __init__(self, gate: _Gate) -> None:
        self._gate = gate
        self._is_held = False

    async def take(self, *, ahead: bool = False) -> None:
        if not self._is_held:
            await self._gate.enter(ahead=ahead)
            self._is_held = True

    def give_back(self) -> None:
        if self._is_held:
            self._is_held = False
            self._gate.leave()

    def taken_by(self, fn: Callable[..., Coroutine[Any, Any, R]]) -> Callable[..., Coroutine[Any, Any, R]]:
        @wraps(fn)
        async def run(*args: Any, **kwargs: Any) -> R:
            await self.take(ahead=True)  # a retry: its timeout runs already, so new tasks wait for it
            try:
                return await fn(*args, **kwargs)
            finally:
                self.give_back()

        return run


class _Gate:
    """Lets so many in at once; who waits comes in by order of arrival, or ahead of all others."""

    def __init__(self, places: int) -> None:
        self._free = places
        self._waiting: deque[asyncio.Future[None]] = deque()

    async def enter(self, *, ahead: bool = False) -> None:
        if self._free:
            self._free -= 1
            return
        turn = asyncio.get_running_loop().create_future()
        (self._waiting.appendleft if ahead else self._waiting.append)(turn)
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                self.leave()  # called in and cancelled at the same moment
            raise

    def leave(self) -> None:
        while self._waiting:
            turn = self._waiting.popleft()
            if not turn.done():
                turn.set_result(None)
                return
        self._free += 1


def _crashed(error: BaseException) -> State[Any]:
    if isinstance(error, asyncio.CancelledError):
        return Crashed(message="Cancelled before it was done.", data=error)
    return Crashed(message=f"The task run broke off: {type(error).__name__}: {error}", data=error)


def _keep_final_state(future: PrefectFuture[Any]) -> None:
    """Without this a done future asks Prefect's API for its `state`, which lags behind."""
    if isinstance(future, PrefectConcurrentFuture):
        outcome = future.wrapped_future
        if not outcome.cancelled() and not outcome.exception():
            future.wait()

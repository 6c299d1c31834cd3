"""What the steps of a run share, and how they are executed: here in this process, in Prefect as task runs."""

from __future__ import annotations

import asyncio
import getpass
import logging
import random
import time
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from contextvars import ContextVar
from copy import copy
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from typing import Concatenate, Generic, ParamSpec, Self, TypeVar
from uuid import uuid4

from tenacity import AsyncRetrying, RetryCallState, retry_if_exception_type, stop_after_attempt

from sku_velocity.errors import RetriableError
from sku_velocity.http.pacing import Pacer
from sku_velocity.http.spec import PaceSpec
from sku_velocity.model.run import MasterVersion, SyncRun, run_id_of
from sku_velocity.model.window import Window
from sku_velocity.process.garbage import frozen_objects, relaxed_collection
from sku_velocity.process.loop_lag import LoopLagSampler
from sku_velocity.process.shared_resources import LoopResources, shared
from sku_velocity.slotting.client import SlottingClient
from sku_velocity.source.client import SourceClient
from sku_velocity.source.window import WindowReader
from sku_velocity.steps.access import (
    EngineAccess,
    LentEngine,
    LentSource,
    LentStore,
    Log,
    SourceAccess,
    StoreAccess,
    find_engine,
    find_source,
    find_store,
)
from sku_velocity.steps.display import Display, Listener
from sku_velocity.steps.outcome import Outcome
from sku_velocity.steps.requests import TASK_RETRIES, Request
from sku_velocity.steps.shared_pace import shared_pace
from sku_velocity.store import Store

P = ParamSpec("P")
Q = TypeVar("Q", bound=Request)
R = TypeVar("R")
T = TypeVar("T")

RETRY_DELAYS = (20.0, 60.0)  # seconds, plus up to half of it as jitter
MAX_STEPS = 64  # running at once


@dataclass(frozen=True)
class Step(Generic[P, R]):
    """A part of a run that is retried by itself: an async function of a `RunContext` and more arguments.

    `name` is a template over its arguments, such as "ingest {run.label}": its name in Prefect's UI.
    """

    function: Callable[P, Awaitable[R]]
    name: str
    is_retried: bool = True


Operation = Callable[["RunContext", Q], Awaitable[Outcome[T]]]
_attempt: ContextVar[int] = ContextVar("attempt", default=1)


def step(name: str, *, is_retried: bool = True) -> Callable[[Callable[P, Awaitable[R]]], Step[P, R]]:
    """Make an async function a step. It is retried after a RetriableError, unless `is_retried` is False."""
    return lambda function: Step(function, name, is_retried)


class RunContext:
    """The source, the store and the slotting engine of a run, and the executor of its steps.

    Not a dataclass: Prefect searches those for futures at every task.
    """

    program = "sku-velocity"  # the command line that runs what this context does
    source_suffix = ".yaml"  # of a source's name, in commands to paste: without Prefect it is a file
    source: SourceAccess
    store_access: StoreAccess
    engine: EngineAccess | None = None
    is_inline = False
    is_in_group = False  # whether this is one of several windows that the run reads

    def __init__(
        self,
        *,
        retries: int = TASK_RETRIES,
        listener: Listener | None = None,
        display: Display | None = None,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self.retries = retries
        self._sleep = sleep
        self.listener = listener or Listener()
        self.display = display or Display()
        self.started = time.monotonic()
        self._slots = asyncio.Semaphore(MAX_STEPS)

    # Where the run is

    @property
    def log(self) -> Log:
        """The log that operators read."""
        return logging.getLogger("sku_velocity")

    @property
    def due(self) -> datetime:
        """When the run was due to start."""
        return datetime.now(UTC)

    @property
    def flow_run_id(self) -> str | None:
        """The id of the Prefect flow run; None without Prefect."""
        return None

    def run_id(self, source: str, warehouse: str, window: Window) -> str:
        """Return the id for a new sync run: the same one for every attempt at a window in this context."""
        return run_id_of(self.flow_run_id or self._id, source, warehouse, window)

    @cached_property
    def _id(self) -> str:
        return str(uuid4())

    @property
    def user(self) -> str:
        """Who acts in this run."""
        return getpass.getuser()

    @property
    def shares_nothing(self) -> bool:
        """True if each run within this one has its own connections, and so a pace of its own."""
        return False

    async def prune_artifacts(self, ended_before: datetime, dry_run: bool) -> int | None:
        """Delete, or count, the artifacts of runs that ended before an instant; None without Prefect."""
        return None

    async def find(
        self,
        *,
        source: str | None = None,
        token_env: str | None = None,
        store: str | None = None,
        engine: str | None = None,
    ) -> None:
        """Find what a request names. Raises ConfigurationError if it does not exist or is invalid."""
        if source is not None:
            self.source = await self.find_source(source, token_env)
        self.store_access = await self.find_store(store)
        self.engine = await self.find_engine(engine) if engine else None

    async def find_source(self, name: str, token_env: str | None) -> SourceAccess:
        """Return the source of this name."""
        return find_source(name, token_env)

    async def find_store(self, name: str | None) -> StoreAccess:
        """Return the store of this name."""
        return find_store(name)

    async def find_engine(self, name: str) -> EngineAccess:
        """Return the slotting engine of this name."""
        return find_engine(name)

    # What its steps share

    def client(self) -> AbstractAsyncContextManager[SourceClient]:
        """Return the run's one client of the source, with its connections and its pace."""

        @asynccontextmanager
        async def open_client() -> AsyncIterator[SourceClient]:
            async with (
                self.source.get_client() as client,
                self.paced(client.spec.pace, client.pacer),
            ):
                with relaxed_collection(), frozen_objects():
                    yield client

        return shared(("source", self.source.spec.name), open_client)

    def reader(
        self, warehouse: str, window: Window, version: MasterVersion | None = None
    ) -> AbstractAsyncContextManager[WindowReader]:
        """Return the run's one reader of a window, with its SKU master."""

        @asynccontextmanager
        async def open_reader() -> AsyncIterator[WindowReader]:
            async with self.client() as client, self.store() as store:
                master = await store.masters.load(version) if version else None
                own = client.apart() if self.is_in_group else client
                yield WindowReader.of(own, warehouse, window, master)

        return shared(("reader", self.source.spec.name, warehouse, window, version), open_reader)

    def reader_of(self, run: SyncRun) -> AbstractAsyncContextManager[WindowReader]:
        """Return the one reader of a run's window."""
        return self.reader(run.warehouse, run.window, run.master)

    def store(self) -> AbstractAsyncContextManager[Store]:
        """Return the run's one store, with its connection pool."""
        return shared("store", self.store_access.get_store)

    @property
    def engine_name(self) -> str:
        """The name of the slotting engine, which the store knows it by."""
        assert self.engine is not None
        return self.engine.spec.name

    def engine_client(self) -> AbstractAsyncContextManager[SlottingClient]:
        """Return the run's one client of the slotting engine, with its connections and its pace."""
        assert self.engine is not None
        engine = self.engine

        @asynccontextmanager
        async def open_client() -> AsyncIterator[SlottingClient]:
            async with engine.get_client() as client, self.paced(client.spec.pace, client.pacer):
                yield client

        return shared(("engine", self.engine_name), open_client)

    @asynccontextmanager
    async def paced(self, pace: PaceSpec, pacer: Pacer) -> AsyncIterator[None]:
        """Limit a pacer to the share of this process, if its pace is shared."""
        if pace.shared_limit is None:
            yield
        else:
            async with self.store() as store, shared_pace(store, pace, pacer, self.log):
                yield

    def watch(self) -> AbstractAsyncContextManager[LoopLagSampler]:
        """Return the run's one sampler of the lag of its event loop. The first call starts it."""
        return shared("watch", LoopLagSampler.open)

    @asynccontextmanager
    async def opened(self) -> AsyncIterator[None]:
        """Share the resources of this run among the steps in this block, and close them after it."""
        async with LoopResources.open():
            yield

    # How its steps are executed

    @property
    def attempt(self) -> int:
        """The number of the running step's attempt, from 1."""
        return _attempt.get()

    async def perform(
        self, step: Step[Concatenate[RunContext, P], R], *args: P.args, **kwargs: P.kwargs
    ) -> R:
        """Execute a step, and retry it after a temporary failure. Raises what its last attempt raised."""
        if self.is_inline:
            return await step.function(self, *args, **kwargs)
        retries = self.retries if step.is_retried else 0
        attempts = AsyncRetrying(
            stop=stop_after_attempt(1 + retries),
            wait=_retry_delay,
            retry=retry_if_exception_type(RetriableError),
            before_sleep=self._log_retry,
            sleep=self._sleep,
            reraise=True,
        )
        async for attempt in attempts:
            with attempt:
                async with self._slots:
                    _attempt.set(attempt.retry_state.attempt_number)
                    return await step.function(self, *args, **kwargs)
        raise AssertionError("tenacity raises after the last attempt")

    async def perform_each(
        self, step: Step[Concatenate[RunContext, P], R], calls: Iterable[tuple[object, ...]]
    ) -> AsyncGenerator[R | BaseException, None]:
        """Execute a step once per tuple of arguments, concurrently. Yield results and errors as they end."""
        tasks = [asyncio.create_task(self.perform(step, *call)) for call in calls]  # type: ignore[call-arg, arg-type]
        try:
            for ended in asyncio.as_completed(tasks):
                try:
                    yield await ended
                except Exception as error:
                    yield error
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    def inline(self) -> Self:
        """Return a context for use within a step: it executes more steps as parts of that one, unretried."""
        inline = copy(self)
        inline.is_inline = True
        return inline

    @property
    def will_retry(self) -> bool:
        """True within a step that is executed again after a temporary failure of one of its parts."""
        return self.is_inline and self.attempt <= self.retries

    def _log_retry(self, state: RetryCallState) -> None:
        assert state.outcome is not None and state.next_action is not None
        delay, error = state.next_action.sleep, state.outcome.exception()
        self.log.warning("Retrying in %.0f s: %s", delay, error)

    # Runs within it

    def for_window(self) -> Self:
        """Return a context for one of several windows that this run reads, with a display of its own."""
        context = copy(self)
        context.listener, context.display = Listener(), self.display.for_window()
        context.started = time.monotonic()
        context.is_in_group = True
        return context

    async def run(self, operation: Operation[Q, T], request: Q) -> Outcome[T]:
        """Run an operation as a run of its own, with this run's connections. Raises what it raises."""
        async with AsyncExitStack() as stack:
            client = await stack.enter_async_context(self.client())
            store = await stack.enter_async_context(self.store())
            engine = await stack.enter_async_context(self.engine_client()) if self.engine else None
            child = _ChildContext(self, client, store, engine)
            await stack.enter_async_context(child.opened())
            return await operation(child, request)


class _ChildContext(RunContext):
    """The context of a run within another one, whose source, store and slotting engine it uses."""

    def __init__(
        self, parent: RunContext, client: SourceClient, store: Store, engine: SlottingClient | None
    ) -> None:
        super().__init__(display=parent.display, sleep=parent._sleep)
        self._engine = LentEngine(engine.spec, engine) if engine else None
        self._source = LentSource(parent.source.spec, client)
        self._store = LentStore(store, parent.store_access.url)

    @asynccontextmanager
    async def paced(self, pace: PaceSpec, pacer: Pacer) -> AsyncIterator[None]:
        yield  # the parent's clients are

    async def find_source(self, name: str, token_env: str | None) -> SourceAccess:
        return self._source

    async def find_store(self, name: str | None) -> StoreAccess:
        return self._store

    async def find_engine(self, name: str) -> EngineAccess:
        assert self._engine is not None
        return self._engine


def _retry_delay(state: RetryCallState) -> float:
    delay = RETRY_DELAYS[min(state.attempt_number, len(RETRY_DELAYS)) - 1]
    return delay * random.uniform(1, 1.5)

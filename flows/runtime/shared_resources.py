"""What the tasks on one event loop share: opened once, closed when the loop ends."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Hashable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from contextvars import ContextVar
from typing import Any, TypeVar

from prefect.logging.loggers import get_logger

T = TypeVar("T")

_logger = get_logger("task_runner.eventloop")


@asynccontextmanager
async def shared(key: Hashable, opener: Callable[[], AbstractAsyncContextManager[T]]) -> AsyncIterator[T]:
    """What `opener` opens, once for all tasks of the flow run that ask by the same key.

    The runner closes it when the run ends, the last opened first. Anywhere but in an async task of an
    `EventLoopTaskRunner` it is opened for this `async with` alone. An opening that fails raises for all
    who wait for it, and the next to ask tries again.
    """
    resources = current_resources.get()
    if resources is not None and resources.loop is asyncio.get_running_loop():
        yield await resources.get(key, opener)
    else:
        async with opener() as value:
            yield value


class LoopResources:
    """What is open on the running loop, each kept by an asyncio task of its own.

    A context that holds a cancel scope of anyio must be left by the asyncio task that has entered it.
    """

    def __init__(self) -> None:
        self.loop = asyncio.get_running_loop()
        self._values: dict[Hashable, asyncio.Future[Any]] = {}
        self._keepers: set[asyncio.Task[Any]] = set()
        self._open: dict[asyncio.Task[Any], asyncio.Event] = {}  # in the order of opening

    async def get(self, key: Hashable, opener: Callable[[], AbstractAsyncContextManager[T]]) -> T:
        if key not in self._values:
            self._values[key] = self.loop.create_future()
            keeper = self.loop.create_task(self._keep(key, opener))
            self._keepers.add(keeper)
            keeper.add_done_callback(self._keepers.discard)
        value: T = await asyncio.shield(self._values[key])
        return value

    async def close(self) -> None:
        """Close all, the last opened first; what is still being opened has no user left."""
        opening = self._keepers - self._open.keys()
        for keeper in opening:
            keeper.cancel()
        await asyncio.gather(*opening, return_exceptions=True)
        while self._open:
            keeper, released = self._open.popitem()
            released.set()
            await keeper

    async def _keep(self, key: Hashable, opener: Callable[[], AbstractAsyncContextManager[Any]]) -> None:
        value, released, keeper = self._values[key], asyncio.Event(), asyncio.current_task()
        assert keeper is not None
        try:
            async with opener() as opened:
                self._open[keeper] = released
                value.set_result(opened)
                await released.wait()
        except BaseException as error:  # a KeyboardInterrupt that leaves an asyncio task ends its loop
            if value.done():
                _logger.exception("What the tasks share as %r broke off, or did not close.", key)
            else:
                value.set_exception(error)
                value.exception()  # seen, though all who waited for it may have gone
        finally:
            del self._values[key]


current_resources: ContextVar[LoopResources | None] = ContextVar("current_resources", default=None)

"""Resources that the tasks on one event loop share: opened once, closed when the loop ends."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Hashable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from contextvars import ContextVar
from typing import Any, Self, TypeVar

T = TypeVar("T")

_logger = logging.getLogger("sku_velocity.shared_resources")


@asynccontextmanager
async def shared(key: Hashable, opener: Callable[[], AbstractAsyncContextManager[T]]) -> AsyncIterator[T]:
    """Open a resource once for all tasks of the run that request the same key.

    It is closed when the run ends, the last opened first. Outside a run, or on another event loop than the
    run's tasks, it is opened only for this `async with`. If opening fails, all tasks that wait for it raise,
    and the next request tries again.
    """
    resources = current_resources.get()
    if resources is not None and resources.loop is asyncio.get_running_loop():
        yield await resources.get(key, opener)
    else:
        async with opener() as value:
            yield value


class LoopResources:
    """The open resources of the running loop, each owned by its own asyncio task.

    A context that holds a cancel scope of anyio must be exited by the asyncio task that entered it.
    """

    @classmethod
    @asynccontextmanager
    async def open(cls) -> AsyncIterator[Self]:
        """Share resources among this asyncio task and those that it starts in this block."""
        resources = cls()
        token = current_resources.set(resources)
        try:
            yield resources
        finally:
            current_resources.reset(token)
            await resources.close()

    def __init__(self) -> None:
        self.loop = asyncio.get_running_loop()
        self._values: dict[Hashable, asyncio.Future[Any]] = {}
        self._owners: set[asyncio.Task[Any]] = set()
        self._open: dict[asyncio.Task[Any], asyncio.Event] = {}  # in the order of opening

    async def get(self, key: Hashable, opener: Callable[[], AbstractAsyncContextManager[T]]) -> T:
        if key not in self._values:
            self._values[key] = self.loop.create_future()
            owner = self.loop.create_task(self._own(key, opener))
            self._owners.add(owner)
            owner.add_done_callback(self._owners.discard)
        value: T = await asyncio.shield(self._values[key])
        return value

    async def close(self) -> None:
        """Close all resources, the last opened first. Those still opening have no user left."""
        opening = self._owners - self._open.keys()
        for owner in opening:
            owner.cancel()
        await asyncio.gather(*opening, return_exceptions=True)
        while self._open:
            owner, released = self._open.popitem()
            released.set()
            await owner

    async def _own(self, key: Hashable, opener: Callable[[], AbstractAsyncContextManager[Any]]) -> None:
        value, released, owner = self._values[key], asyncio.Event(), asyncio.current_task()
        assert owner is not None
        try:
            async with opener() as opened:
                self._open[owner] = released
                value.set_result(opened)
                await released.wait()
        except BaseException as error:  # a KeyboardInterrupt that leaves an asyncio task ends its loop
            if value.done():
                _logger.exception("The shared resource %r failed while open or while closing.", key)
            else:
                value.set_exception(error)
                value.exception()  # mark as retrieved: all tasks that waited for it may have ended
        finally:
            del self._values[key]


current_resources: ContextVar[LoopResources | None] = ContextVar("current_resources", default=None)

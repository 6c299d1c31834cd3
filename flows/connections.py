"""What the tasks of a run share: one client of the source and one store on the runner's event loop."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager

from blocks import VelocityStore, WmsSource
from flows.task_runner import shared
from sku_velocity.loop_watch import LoopWatch
from sku_velocity.models import Window
from sku_velocity.source.window import WindowReader
from sku_velocity.store import Store


class Connections:
    """The two ends of a run. Not a dataclass: Prefect searches those for futures at every task."""

    def __init__(self, source: WmsSource, store: VelocityStore) -> None:
        self.source = source
        self._store = store

    def reader(self, warehouse: str, window: Window) -> AbstractAsyncContextManager[WindowReader]:
        """The run's one reader of a window, with its connections and its pace."""

        @asynccontextmanager
        async def open_reader() -> AsyncIterator[WindowReader]:
            async with self.source.get_client() as client:
                yield WindowReader.of(client, warehouse, window)

        return shared(("reader", self.source.spec.name, warehouse, window), open_reader)

    def watch(self) -> AbstractAsyncContextManager[LoopWatch]:
        """The run's one watch on the loop that its tasks share, from the first time that it is asked for."""
        return shared("watch", LoopWatch.open)

    def store(self) -> AbstractAsyncContextManager[Store]:
        """The run's one store, with its pool of connections."""
        return shared("store", self._store.get_store)

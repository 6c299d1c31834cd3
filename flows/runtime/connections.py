"""The resources that a run's tasks share: one source client and one store on the runner's event loop."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager

from blocks import SlottingEngine, VelocityStore, WmsSource
from flows.runtime.task_runner import shared
from sku_velocity.model.run import MasterVersion, SyncRun
from sku_velocity.model.window import Window
from sku_velocity.process.garbage import relaxed_collection
from sku_velocity.process.loop_lag import LoopLagSampler
from sku_velocity.slotting.client import SlottingClient
from sku_velocity.source.window import WindowReader
from sku_velocity.store import Store


class RunResources:
    """A run's source and store. Not a dataclass: Prefect searches those for futures at every task."""

    def __init__(self, source: WmsSource, store: VelocityStore) -> None:
        self.source = source
        self._store = store

    def reader(
        self, warehouse: str, window: Window, version: MasterVersion | None = None
    ) -> AbstractAsyncContextManager[WindowReader]:
        """Return the run's one reader of a window, with its connections, its pace and its SKU master."""

        @asynccontextmanager
        async def open_reader() -> AsyncIterator[WindowReader]:
            async with self.source.get_client() as client, self.store() as store:
                master = await store.masters.load(version) if version else None
                with relaxed_collection():
                    yield WindowReader.of(client, warehouse, window, master)

        return shared(("reader", self.source.spec.name, warehouse, window, version), open_reader)

    def reader_of(self, run: SyncRun) -> AbstractAsyncContextManager[WindowReader]:
        """Return the one reader of a run's window."""
        return self.reader(run.warehouse, run.window, run.master)

    def watch(self) -> AbstractAsyncContextManager[LoopLagSampler]:
        """Return the run's one sampler of the lag of its tasks' event loop. The first call starts it."""
        return shared("watch", LoopLagSampler.open)

    def store(self) -> AbstractAsyncContextManager[Store]:
        """Return the run's one store, with its connection pool."""
        return shared("store", self._store.get_store)


class PushResources:
    """The engine and the store of a push. Not a dataclass, for the same reason."""

    def __init__(self, engine: SlottingEngine, store: VelocityStore) -> None:
        self.engine = engine
        self._store = store

    def client(self) -> AbstractAsyncContextManager[SlottingClient]:
        """Return the run's one client of the engine, with its connections and its pace."""
        return shared(("engine", self.engine.spec.name), self.engine.get_client)

    def store(self) -> AbstractAsyncContextManager[Store]:
        """Return the run's one store, with its connection pool."""
        return shared("store", self._store.get_store)

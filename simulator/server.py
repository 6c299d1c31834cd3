"""The server of a simulated WMS or slotting engine on a loopback port, in a thread or as a process."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import Generic, Protocol, TypeVar

import uvicorn
from starlette.types import Receive, Scope, Send
from uvicorn.protocols.http.h11_impl import H11Protocol

from simulator.app import Simulator
from simulator.depot import Depot
from simulator.faults import FaultBook
from simulator.records import GroundTruth, ground_truth
from simulator.scenario import Scenario
from simulator.slotting import EngineScenario, SlottingEngine
from simulator.stats import Recorder, Stats
from simulator.traffic import Delays

HOST = "127.0.0.1"
KEEP_ALIVE = 75  # seconds, like nginx, so that clients close idle connections first


class Player(Protocol):
    """An ASGI application that runs a scenario."""

    recorder: Recorder
    faults: FaultBook
    delays: Delays

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None: ...


P = TypeVar("P", bound=Player)


class LoopbackServer(Generic[P]):
    """A server at `url`. `simulator` is the running scenario with its state."""

    def __init__(self, simulator: P, port: int = 0, host: str = HOST) -> None:
        self.simulator = simulator
        self._socket = _listen(port, host)
        self.url = f"http://{host}:{self._socket.getsockname()[1]}"

    def stats(self) -> Stats:
        return self.simulator.recorder.report()

    def reset_stats(self) -> None:
        self.simulator.recorder.reset()

    def clear(self) -> None:
        """Fix the faults that last until cleared."""
        self.simulator.faults.clear()

    def run(self, on_ready: Callable[[], None]) -> None:
        """Serve in the main thread until SIGINT or SIGTERM; call `on_ready` once it answers."""
        self._uvicorn(on_ready).run([self._socket])

    @contextmanager
    def running(self) -> Iterator[None]:
        """Serve from a thread while the block runs. Raises RuntimeError if the server does not start."""
        ready = threading.Event()
        uvicorn_server = self._uvicorn(ready.set)

        def run() -> None:
            try:
                uvicorn_server.run([self._socket])
            finally:
                ready.set()

        thread = threading.Thread(target=run, name=f"simulator {self.url}")
        thread.start()
        try:
            ready.wait()
            if not uvicorn_server.started:
                raise RuntimeError(f"the simulator did not start at {self.url}")
            yield
        finally:
            uvicorn_server.should_exit = True
            thread.join()
            self._socket.close()

    async def _app(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self.simulator(scope, receive, send)

    def _uvicorn(self, on_ready: Callable[[], None]) -> _Uvicorn:
        config = uvicorn.Config(
            self._app,
            interface="asgi3",
            proxy_headers=False,
            http=_Protocol,
            ws="none",
            loop="asyncio",
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
            timeout_keep_alive=KEEP_ALIVE,
            timeout_graceful_shutdown=2,
        )
        return _Uvicorn(config, on_ready, lambda: self.simulator.delays.end())


class Server(LoopbackServer[Simulator]):
    """A simulated WMS."""

    def __init__(self, scenario: Scenario, port: int = 0, host: str = HOST) -> None:
        super().__init__(Simulator(scenario), port, host)

    def play(self, scenario: Scenario) -> None:
        """Restart with another scenario, at the same address and on the same connections."""
        self.simulator = Simulator(scenario)

    def ground_truth(
        self, warehouse: str | None = None, start: datetime | None = None, end: datetime | None = None
    ) -> GroundTruth:
        """Return what a reader of a warehouse (None: all) must find within [start, end) now."""
        return ground_truth(self.simulator.dataset.rows(warehouse, start, end))


class EngineServer(LoopbackServer[SlottingEngine]):
    """A simulated slotting engine."""

    def __init__(self, scenario: EngineScenario, port: int = 0) -> None:
        super().__init__(SlottingEngine(scenario), port)

    def play(self, scenario: EngineScenario) -> None:
        """Restart with another scenario, without records, at the same address."""
        self.simulator = SlottingEngine(scenario)

    @property
    def accepted(self) -> Counter[str]:
        """Return how often each movement was accepted, by id."""
        return self.simulator.movements.accepted.copy()


@contextmanager
def serve_depot(depot: Depot | None = None, port: int = 0) -> Iterator[LoopbackServer[Depot]]:
    """Serve a simulated depot on a free loopback port while the block runs."""
    server = LoopbackServer(depot or Depot(), port)
    with server.running():
        yield server


@contextmanager
def serve(scenario: Scenario | None = None, port: int = 0, host: str = HOST) -> Iterator[Server]:
    """Serve a simulated WMS on a free loopback port while the block runs.

    `host` is another address of this machine, for clients with their own network on it.
    """
    server = Server(scenario or Scenario(), port, host)
    with server.running():
        yield server


@contextmanager
def serve_engine(scenario: EngineScenario | None = None, port: int = 0) -> Iterator[EngineServer]:
    """Serve a simulated slotting engine on a free loopback port while the block runs."""
    server = EngineServer(scenario or EngineScenario(), port)
    with server.running():
        yield server


def _listen(port: int, host: str) -> socket.socket:
    # asyncio sets TCP_NODELAY only if the protocol is given; without it each answer takes 40 ms more.
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
    except OSError:
        listener.close()
        raise
    return listener


class _Uvicorn(uvicorn.Server):
    """A server that calls back when it is ready and when it closes."""

    def __init__(
        self, config: uvicorn.Config, on_ready: Callable[[], None], on_close: Callable[[], None]
    ) -> None:
        super().__init__(config)
        self._on_ready = on_ready
        self._on_close = on_close

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self._on_ready()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self._on_close()
        await super().shutdown(sockets)


class _Protocol(H11Protocol):
    """A protocol that gives the application its transport, unlike ASGI, so that it can reset connections."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn's
        self.app_state = {"transport": transport, "lost": asyncio.Event()}
        super().connection_made(transport)

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self.app_state["lost"].set()

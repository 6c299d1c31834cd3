"""The cost of work to a Prefect server: CPU until it has caught up, less its idle CPU."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Self

from benchmarks.processes import Service

LOOK = 1.0  # seconds between two samples
IDLE_PERIOD = 5.0  # seconds to measure an idle server
QUIET = 0.1  # of a core above idle: a server with nothing left to do
QUIET_LOOKS = 6  # in a row: its services delay events by up to 5 s
PATIENCE = 300.0  # seconds for a server to catch up


@dataclass(frozen=True)
class ServerCost:
    """CPU seconds above idle, and seconds that the server worked after the client had ended."""

    cpu: float
    behind: float


class Meter:
    """A meter of a server's CPU from `start` until it has caught up after `stop`; `idle` is in cores."""

    def __init__(self, server: Service, idle: float) -> None:
        self.idle = idle
        self._server = server
        self.start()

    @classmethod
    def of(cls, server: Service) -> Self:
        """Create a meter of a new server: wait until it is idle, and measure its idle CPU."""
        _wait_until_quiet(server, 0.0)
        before = server.cpu
        time.sleep(IDLE_PERIOD)
        return cls(server, (server.cpu - before) / IDLE_PERIOD)

    def start(self) -> None:
        self._cpu, self._moment = self._server.cpu, time.monotonic()

    def stop(self, has_all: Callable[[], bool] = lambda: True) -> ServerCost:
        """Wait until the server `has_all` of the work and is quiet. Return the cost since `start`.

        Raises RuntimeError if it does not catch up.
        """
        ended = time.monotonic()
        _wait_until_quiet(self._server, self.idle, has_all)
        now = time.monotonic()
        cpu = self._server.cpu - self._cpu - self.idle * (now - self._moment)
        return ServerCost(max(cpu, 0.0), max(now - ended - QUIET_LOOKS * LOOK, 0.0))


def _wait_until_quiet(server: Service, idle: float, has_all: Callable[[], bool] = lambda: True) -> None:
    deadline, quiet, is_whole = time.monotonic() + PATIENCE, 0, False
    while quiet < QUIET_LOOKS or not is_whole:
        if time.monotonic() > deadline:
            raise RuntimeError(f"the Prefect server has not caught up after {PATIENCE:.0f} s")
        is_whole = is_whole or has_all()  # asking costs CPU too: stop once it has all
        before = server.cpu
        time.sleep(LOOK)
        quiet = quiet + 1 if server.cpu - before < (idle + QUIET) * LOOK else 0

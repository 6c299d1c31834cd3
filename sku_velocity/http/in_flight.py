"""The limit of requests in flight: a window that is halved when the source is overloaded."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager


class InFlightLimit:
    """Requests in flight, between 1 and `most` (AIMD, as TCP's congestion window: RFC 5681, 3.1).

    A refusal or a timeout halves the window, at most once per round trip; a window's worth of successes
    widens it by one.
    """

    def __init__(self, most: int, clock: Callable[[], float]) -> None:
        self._most = most
        self._window = float(most)
        self._in_flight = 0
        self._clock = clock
        self._halved_at = clock()
        self._has_room = asyncio.Condition()

    @property
    def window(self) -> int:
        return int(self._window)

    @asynccontextmanager
    async def slot(self) -> AsyncIterator[None]:
        """Wait for a slot in the window, and hold it until the block exits."""
        async with self._has_room:
            try:
                await self._has_room.wait_for(lambda: self._in_flight < self.window)
            except asyncio.CancelledError:
                self._has_room.notify()  # it may have been woken for a slot that another waiter can have now
                raise
            self._in_flight += 1
        try:
            yield
        finally:
            self._in_flight -= 1
            async with self._has_room:  # waking more than fit costs each page a dozen steps
                self._has_room.notify(max(0, self.window - self._in_flight))

    def on_overload(self, started: float) -> None:
        """Halve the window after a refusal or a timeout, once per round trip."""
        if started >= self._halved_at:
            self._window = max(1.0, self._window / 2)
            self._halved_at = self._clock()

    def on_success(self) -> None:
        """Widen the window after a successful response."""
        self._window = min(float(self._most), self._window + 1 / self._window)

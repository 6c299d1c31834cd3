"""How many requests may be under way at once: a window that a source's distress halves."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager


class InFlightLimit:
    """Requests in flight, between 1 and `most` (AIMD, as TCP's congestion window: RFC 5681, 3.1).

    A refusal or a timeout halves the window, at most once per round trip; a window's worth of answers
    widens it by one.
    """

    def __init__(self, most: int, clock: Callable[[], float]) -> None:
        self._most = most
        self._window = float(most)
        self._under_way = 0
        self._clock = clock
        self._halved_at = clock()
        self._room = asyncio.Condition()

    @property
    def window(self) -> int:
        return int(self._window)

    @asynccontextmanager
    async def place(self) -> AsyncIterator[None]:
        """Wait for a place in the window, and hold it until the block is left."""
        async with self._room:
            try:
                await self._room.wait_for(lambda: self._under_way < self.window)
            except asyncio.CancelledError:
                self._room.notify()  # it may have been woken for a place that somebody else can have now
                raise
            self._under_way += 1
        try:
            yield
        finally:
            self._under_way -= 1
            async with self._room:  # to wake more than there is room for costs each page a dozen steps
                self._room.notify(max(0, self.window - self._under_way))

    def on_overload(self, started: float) -> None:
        """A request that was started then was refused, or ran out of time."""
        if started >= self._halved_at:
            self._window = max(1.0, self._window / 2)
            self._halved_at = self._clock()

    def answered(self) -> None:
        """A request was answered as it should be."""
        self._window = min(float(self._most), self._window + 1 / self._window)

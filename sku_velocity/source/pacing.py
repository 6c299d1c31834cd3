"""When a request may start: spaced to the rate that the source allows, bounded in flight, held on demand."""

import asyncio
import time
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from sku_velocity.source.spec import PaceSpec

# Requests leave at 98% of the ceiling. Their way to the server takes now a little more, now a little less
# time; the 20 ms a second that this leaves keep one late and one early request out of the same second.
SHARE_OF_CEILING = 0.98


class Pacer:
    """The pace of one source on one event loop.

    Starts are handed out on a fixed grid (the virtual scheduling form of the leaky bucket, ITU-T I.371
    "GCRA"), so a request that wakes late does not push back those behind it, and a rate is reached, not
    just kept under. Where a busy event loop lets many late ones go at once, `leave` spreads them: within a
    second no more leave than the grid has places. `hold` stops all starts for a while: what a `Retry-After`
    asks for.
    """

    def __init__(
        self,
        pace: PaceSpec,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._interval = 1 / (pace.requests_per_second * SHARE_OF_CEILING)
        self._headroom = self._interval * (pace.burst - 1)
        self._left: deque[float] = deque(maxlen=max(pace.burst, int(pace.requests_per_second), 1))
        self._in_flight = asyncio.Semaphore(pace.max_concurrency)
        self._clock = clock
        self._sleep = sleep
        self._due = clock()
        self._held_until = self._due

    @asynccontextmanager
    async def turn(self) -> AsyncIterator[None]:
        """Wait until a request may start, and count it as in flight until the block is left."""
        async with self._in_flight:
            await self.start()
            yield

    async def start(self) -> None:
        """Wait for the next start on the grid."""
        while True:
            now = self._clock()
            start = max(now, self._due - self._headroom, self._held_until)
            self._due = max(self._due, start) + self._interval
            await self._sleep(start - now)
            if self._held_until <= start:
                return

    async def leave(self) -> None:
        """Wait, as a request's first byte is about to leave, until the last second has room for it."""
        while len(self._left) == self._left.maxlen:
            wait = self._left[0] + self._interval * len(self._left) - self._headroom - self._clock()
            if wait <= 0:
                break
            await self._sleep(wait)
        self._left.append(self._clock())

    def hold(self, seconds: float) -> None:
        """Let no request of the source start for this long."""
        self._held_until = max(self._held_until, self._clock() + seconds)

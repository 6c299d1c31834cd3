"""When a request may start: spaced to the rate that the source allows, bounded in flight, held on demand."""

import asyncio
import time
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from sku_velocity.http.adaptive_rate import AdaptiveRate
from sku_velocity.http.in_flight import InFlightLimit
from sku_velocity.http.spec import PaceSpec
from sku_velocity.process.capacity import MAX_IN_FLIGHT

# Requests leave at 98% of the ceiling. Their way to the server takes now a little more, now a little less
# time; the 20 ms a second that this leaves keep one late and one early request out of the same second.
SHARE_OF_CEILING = 0.98


class Pacer:
    """The pace of one source on one event loop.

    Starts are handed out on a fixed grid (the virtual scheduling form of the leaky bucket, ITU-T I.371
    "GCRA"), so a request that wakes late does not push back those behind it, and a rate is reached, not just
    kept under. Where a busy event loop lets many late ones go at once, `before_send` spreads them: within a
    second no more leave than the grid has places. `pause` stops all starts for a while: what a `Retry-After`
    asks for. Refusals lower the rate and the number of requests in flight; answers raise them again. Where
    several processes read one source, `set_rate` tells each its part of the rate, and `starved` is set while
    somebody waits for a part to be told.
    """

    def __init__(
        self,
        pace: PaceSpec,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._rate = AdaptiveRate(pace.requests_per_second, clock)
        self._flight = InFlightLimit(pace.max_concurrency or MAX_IN_FLIGHT, clock)
        self._burst = pace.burst
        self._left: deque[float] = deque()
        self._clock = clock
        self._sleep = sleep
        self._due = clock()
        self._held_until = self._due
        self._turns = 0
        self._last_turn = self._due
        self._has_share = asyncio.Event()
        self._has_share.set()
        self.starved = asyncio.Event()
        self._most_in_a_second = max(pace.burst, int(pace.requests_per_second), 1)

    @asynccontextmanager
    async def slot(self) -> AsyncIterator[float]:
        """Wait until a request may start, and count it as in flight until the block is left.

        Gives the time of the start, in seconds on the pacer's clock.
        """
        self._turns += 1
        try:
            async with self._flight.place():
                await self.start()
                yield self._clock()
        finally:
            self._turns -= 1
            self._last_turn = self._clock()

    async def start(self) -> None:
        """Wait for the next start on the grid."""
        while True:
            await self._wait_for_share()
            now = self._clock()
            start = max(now, self._due - self._interval * (self._burst - 1), self._held_until)
            self._due = max(self._due, start) + self._interval
            await self._sleep(start - now)
            if self._held_until <= start and self._has_share.is_set():
                return

    async def before_send(self) -> None:
        """Wait, as a request's first byte is about to leave, until the last second has room for it."""
        await self._wait_for_share()
        while len(self._left) >= (room := max(self._burst, int(self._rate.now), 1)):
            wait = self._left[-room] + self._interval * (room - self._burst + 1) - self._clock()
            if wait <= 0:
                break
            await self._sleep(wait)
            await self._wait_for_share()
        self._left.append(self._clock())
        while len(self._left) > self._most_in_a_second:
            self._left.popleft()

    def answered(self, started: float) -> None:
        """A request that was started then was answered as it should be."""
        self._rate.let_through(started)
        self._flight.answered()

    def refused(self, started: float) -> None:
        """A request that was started then was told to slow down."""
        self._rate.refused(started)
        self._flight.on_overload(started)

    def timed_out(self, started: float) -> None:
        """A request that was started then had no whole answer in time."""
        self._flight.on_overload(started)

    @property
    def requests_per_second(self) -> float:
        """The rate that the source allows, as far as it is known just now."""
        return self._rate.now

    @property
    def _interval(self) -> float:
        return 1 / (self._rate.now * SHARE_OF_CEILING)

    def set_rate(self, requests_per_second: float) -> None:
        """Hold to this rate at most, from now on; at 0 no request starts."""
        self._rate.ceiling = requests_per_second
        if requests_per_second > 0:
            self._has_share.set()
            self.starved.clear()
        else:
            self._has_share.clear()

    def idle_for(self, seconds: float) -> bool:
        """Whether no request has been waiting or under way for this long."""
        return not self._turns and self._clock() - self._last_turn >= seconds

    async def _wait_for_share(self) -> None:
        while not self._has_share.is_set():
            self.starved.set()
            await self._has_share.wait()

    def pause(self, seconds: float) -> None:
        """Let no request of the source start for this long."""
        self._held_until = max(self._held_until, self._clock() + seconds)
        self._rate.rest(self._held_until)

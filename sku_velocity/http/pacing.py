"""The pacer: spaces requests to the rate that the source allows, bounds those in flight, pauses on demand."""

import asyncio
import math
import time
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from sku_velocity.http.adaptive_rate import AdaptiveRate
from sku_velocity.http.in_flight import InFlightLimit
from sku_velocity.http.spec import PaceSpec
from sku_velocity.process.capacity import MAX_IN_FLIGHT

# Requests leave at 98% of the ceiling. Their latency to the server varies; the 20 ms per second that this
# leaves keep a late and an early request out of the same second.
SHARE_OF_CEILING = 0.98
# Half of them allow a late request to be followed by the next one on time, or each delay would be a loss; the
# other half allow it to be written later than it was due.
SPARE = (1 / SHARE_OF_CEILING - 1) / 2  # seconds
WITHOUT_SHARE = (
    1.0  # requests/s of a shared pace by a process that holds no share of it, such as check-source
)


class Pacer:
    """The pace of one source on one event loop.

    Starts are handed out on a fixed grid (the virtual scheduling form of the leaky bucket, ITU-T I.371
    "GCRA"), so a request that wakes late does not delay those behind it, and the rate is reached, not just
    approached. If a busy event loop releases many late ones at once, `before_send` spreads them: no more are
    sent within a second than the grid has slots, by the time at which they were written (`after_send`).
    `pause` stops all starts for a while, as `Retry-After` asks. Refusals lower the rate and the number of
    requests in flight; successes raise them again. If several processes read one source, `set_rate` sets the
    share of each, and `starved` is set while a request waits for a share.
    """

    def __init__(
        self,
        pace: PaceSpec,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        alone = pace.shared_limit is None
        self._rate = AdaptiveRate(pace.requests_per_second if alone else WITHOUT_SHARE, clock)
        self._in_flight = InFlightLimit(pace.max_concurrency or MAX_IN_FLIGHT, clock)
        self._burst = pace.burst
        self._sent: deque[float] = deque()
        self._writing = 0  # the last of `_sent`
        self._clock = clock
        self._sleep = sleep
        self._due = clock()
        self._paused_until = self._due
        self._active = 0
        self._idle_since = self._due
        self._has_share = asyncio.Event()
        self._has_share.set()
        self._share_until = math.inf
        self.starved = asyncio.Event()
        self._most_in_a_second = self._room_for(pace.requests_per_second)

    @asynccontextmanager
    async def slot(self) -> AsyncIterator[float]:
        """Wait until a request may start, and count it as in flight until the block exits.

        Yields the time of the start, in seconds on the pacer's clock.
        """
        self._active += 1
        try:
            async with self._in_flight.slot():
                await self.start()
                yield self._clock()
        finally:
            self._active -= 1
            self._idle_since = self._clock()

    async def start(self) -> None:
        """Wait for the next start on the grid."""
        while True:
            await self._wait_for_share()
            now = self._clock()
            start = max(now, self._due - self._interval * (self._burst - 1), self._paused_until)
            self._due = max(self._due, start) + self._interval
            await self._sleep(start - now)
            if self._paused_until <= start and self._holds_share:
                return

    async def before_send(self) -> None:
        """Wait, just before a request's first byte is sent, until the last second has room for it."""
        await self._wait_for_share()
        while len(self._sent) >= (room := self._room_for(self._rate.now)):
            wait = self._sent[-room] + self._interval * (room - self._burst + 1) - SPARE - self._clock()
            if wait <= 0:
                break
            await self._sleep(wait)
            await self._wait_for_share()
        self._sent.append(self._clock())
        while len(self._sent) > self._most_in_a_second:
            self._sent.popleft()
        self._writing = min(self._writing + 1, len(self._sent))

    def _room_for(self, rate: float) -> int:
        """Return the most requests in a second. Rounded up: the time for them is then a second at least."""
        return max(self._burst, math.ceil(rate - 1e-9), 1)

    def after_send(self) -> None:
        """Record that a request is written: a process that waits for a CPU may do so late."""
        if self._writing:
            self._sent[-self._writing] = max(self._sent[-self._writing], self._clock() - SPARE)
            self._writing -= 1

    def on_success(self, started: float) -> None:
        """Record the success of a request that started at this time."""
        self._rate.on_success(started)
        self._in_flight.on_success()

    def on_refusal(self, started: float) -> None:
        """Record that a request that started at this time was asked to slow down."""
        self._rate.on_refusal(started)
        self._in_flight.on_overload(started)

    def on_timeout(self, started: float) -> None:
        """Record that a request that started at this time got no complete response in time."""
        self._in_flight.on_overload(started)

    @property
    def requests_per_second(self) -> float:
        """The rate that the source currently allows, as far as is known."""
        return self._rate.now

    @property
    def _interval(self) -> float:
        return 1 / (self._rate.now * SHARE_OF_CEILING)

    def set_rate(self, requests_per_second: float, until: float = math.inf) -> None:
        """Limit the rate to this until a time on the pacer's clock; after it, and at 0, no request starts."""
        self._rate.ceiling, self._share_until = requests_per_second, until
        if requests_per_second > 0:
            self._has_share.set()
            self.starved.clear()
        else:
            self._has_share.clear()

    def idle_for(self, seconds: float) -> bool:
        """Return True if no request has been waiting or in flight for this long."""
        return not self._active and self._clock() - self._idle_since >= seconds

    @property
    def _holds_share(self) -> bool:
        return self._has_share.is_set() and self._clock() < self._share_until

    async def _wait_for_share(self) -> None:
        while not self._holds_share:
            self._has_share.clear()
            self.starved.set()
            await self._has_share.wait()

    def pause(self, seconds: float) -> None:
        """Stop all starts for this many seconds."""
        self._paused_until = max(self._paused_until, self._clock() + seconds)
        self._rate.pause(self._paused_until)

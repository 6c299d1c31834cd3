"""The health of an event loop: how late it wakes sleeping tasks, and how many tasks it has."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Self

INTERVAL = 0.05  # seconds between two samples
STARVED = 100  # milliseconds of lag at the 99th percentile above which a loop counts as starved


@dataclass(frozen=True)
class LoopHealth:
    """Measurements of a loop: lag at the 99th percentile in milliseconds, and the most tasks at once."""

    lag_p99_ms: int = 0
    most_tasks: int = 0

    @property
    def is_starved(self) -> bool:
        """True if the loop was late so often that timeouts and the pace suffered: give it more of a core."""
        return self.lag_p99_ms > STARVED


class LoopLagSampler:
    """Samples the running loop 20 times a second; it stores counts, not samples."""

    def __init__(
        self, clock: Callable[[], float], sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
    ) -> None:
        self._clock = clock
        self._sleep = sleep
        self._lags: Counter[int] = Counter()
        self._most_tasks = 0

    @classmethod
    @asynccontextmanager
    async def open(cls) -> AsyncIterator[Self]:
        """Open a sampler that samples until the block exits."""
        sampler = cls(asyncio.get_running_loop().time)
        sampling = asyncio.create_task(sampler._sample_forever())
        try:
            yield sampler
        finally:
            sampling.cancel()
            with suppress(asyncio.CancelledError):
                await sampling

    async def sample(self) -> None:
        """Sleep for an interval, and count how much longer it took."""
        due = self._clock() + INTERVAL
        await self._sleep(INTERVAL)
        self._lags[max(0, round((self._clock() - due) * 1000))] += 1
        self._most_tasks = max(self._most_tasks, len(asyncio.all_tasks()))

    @property
    def health(self) -> LoopHealth:
        """The measurements so far."""
        samples, seen = self._lags.total(), 0
        for lag in sorted(self._lags):
            seen += self._lags[lag]
            if seen >= 0.99 * samples:
                return LoopHealth(lag, self._most_tasks)
        return LoopHealth()

    async def _sample_forever(self) -> None:
        while True:
            await self.sample()

"""How well an event loop keeps up: how late it wakes who sleeps, and how many tasks it has."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Self

INTERVAL = 0.05  # seconds between two samples
STARVED = 100  # milliseconds of lag at the 99th percentile from which on a loop counts as starved


@dataclass(frozen=True)
class LoopHealth:
    """What was seen of a loop: lag at the 99th percentile in milliseconds, and the most tasks at once."""

    lag_p99_ms: int = 0
    most_tasks: int = 0

    @property
    def is_starved(self) -> bool:
        """Whether the loop was late so often that timeouts and the pace suffered: give it more of a core."""
        return self.lag_p99_ms > STARVED


class LoopLagSampler:
    """Samples the loop that it is opened on, 20 times a second; it keeps counts, not samples."""

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
        """A watch that samples until the block is left."""
        watch = cls(asyncio.get_running_loop().time)
        sampling = asyncio.create_task(watch._sample_for_ever())
        try:
            yield watch
        finally:
            sampling.cancel()
            with suppress(asyncio.CancelledError):
                await sampling

    async def sample(self) -> None:
        """Sleep for an interval, and count by how much it was longer."""
        due = self._clock() + INTERVAL
        await self._sleep(INTERVAL)
        self._lags[max(0, round((self._clock() - due) * 1000))] += 1
        self._most_tasks = max(self._most_tasks, len(asyncio.all_tasks()))

    @property
    def health(self) -> LoopHealth:
        """What has been seen so far."""
        samples, seen = self._lags.total(), 0
        for lag in sorted(self._lags):
            seen += self._lags[lag]
            if seen >= 0.99 * samples:
                return LoopHealth(lag, self._most_tasks)
        return LoopHealth()

    async def _sample_for_ever(self) -> None:
        while True:
            await self.sample()

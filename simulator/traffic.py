"""Access control, rate limit and delays of a simulated service."""

from __future__ import annotations

import asyncio
import hmac
from collections import deque
from math import ceil

from simulator.dialect import Call


class Door:
    """Checks the token: a bearer token, or in another header. Without a token everyone is admitted."""

    def __init__(self, token: str | None, header: str | None) -> None:
        self._header = (header or "Authorization").lower()
        self._expected = None if token is None else token if header else f"Bearer {token}"

    def lets_in(self, call: Call) -> bool:
        if self._expected is None:
            return True
        return hmac.compare_digest(call.headers.get(self._header, "").encode(), self._expected.encode())


class Ceiling:
    """At most `limit` requests in the last second; None is no limit.

    A refused request does not count. `limit` may change at any time.
    """

    def __init__(self, limit: int | None) -> None:
        self.limit = limit
        self._admitted: deque[float] = deque()

    def halve(self) -> None:
        """Halve the limit from now on."""
        self.limit = None if self.limit is None else max(1, self.limit // 2)

    def admit(self, now: float) -> int:
        """Count a request and return 0, or return the whole seconds to wait. `now` is in seconds."""
        if self.limit is None:
            return 0
        while self._admitted and now - self._admitted[0] >= 1:
            self._admitted.popleft()
        if len(self._admitted) < self.limit:
            self._admitted.append(now)
            return 0
        return max(1, ceil(self._admitted[-self.limit] + 1 - now)) if self.limit else 1


class Delays:
    """Delays in seconds, all of which end when the server closes."""

    def __init__(self) -> None:
        self._closing = asyncio.Event()

    async def wait(self, seconds: float) -> None:
        if seconds <= 0:
            return
        try:
            async with asyncio.timeout(seconds):
                await self._closing.wait()
        except TimeoutError:
            return

    def end(self) -> None:
        self._closing.set()

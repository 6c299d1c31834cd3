"""Who may ask, how often, and how long an answer takes."""

from __future__ import annotations

import asyncio
import hmac
from collections import deque
from math import ceil

from simulator.dialect import Call


class Door:
    """Asks for a token: a bearer token, or in a header of its own. Without a token it stands open."""

    def __init__(self, token: str | None, header: str | None) -> None:
        self._header = (header or "Authorization").lower()
        self._wanted = None if token is None else token if header else f"Bearer {token}"

    def lets_in(self, call: Call) -> bool:
        if self._wanted is None:
            return True
        return hmac.compare_digest(call.headers.get(self._header, "").encode(), self._wanted.encode())


class Ceiling:
    """At most `limit` requests in any second that ends now; None is no limit.

    A request that is turned away does not count. `limit` may change while requests come in.
    """

    def __init__(self, limit: int | None) -> None:
        self.limit = limit
        self._admitted: deque[float] = deque()

    def halve(self) -> None:
        """Allow half as many from now on."""
        self.limit = None if self.limit is None else max(1, self.limit // 2)

    def admit(self, now: float) -> int:
        """0, and the request counts; or the whole seconds to wait until it would. `now` is in seconds."""
        if self.limit is None:
            return 0
        while self._admitted and now - self._admitted[0] >= 1:
            self._admitted.popleft()
        if len(self._admitted) < self.limit:
            self._admitted.append(now)
            return 0
        return max(1, ceil(self._admitted[-self.limit] + 1 - now)) if self.limit else 1


class Patience:
    """Waits, in seconds, that all end at once when the server closes."""

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

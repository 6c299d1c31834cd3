"""A clock that advances only when all tasks sleep."""

import asyncio


class FakeClock:
    """Call it for the time in seconds; `slept` lists every sleep longer than zero.

    Of several sleepers, the one that is due first wakes first and advances the time.
    """

    def __init__(self) -> None:
        self.now = 0.0
        self.slept: list[float] = []
        self._due: list[float] = []

    def __call__(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        if seconds > 0:
            self.slept.append(seconds)
        due = self.now + seconds
        self._due.append(due)
        await asyncio.sleep(0)
        while due > min(self._due):  # noqa: ASYNC110  # it waits for the clock itself
            await asyncio.sleep(0)
        self._due.remove(due)
        self.now = max(self.now, due)

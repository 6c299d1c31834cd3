"""The rate that a source allows just now: learnt from its refusals, never above what the spec says."""

from __future__ import annotations

from collections.abc import Callable

STEP = 0.05  # of the ceiling, by which a rate is raised
TRIED = 1.5  # seconds without a refusal after which a rate is raised
PROVEN = 3.0  # seconds without a refusal after which a rate is sure to be allowed
EASE = 0.9  # of a proven rate, after a first refusal
FALL_BACK = 0.98  # of a rate that was let through, but not for long enough to be sure
FIRST_PAUSE = 30.0  # seconds before a rate that was refused is tried again; doubled each time, up to
LONGEST_PAUSE = 240.0


class AdaptiveRate:
    """Requests/s, lowered by refusals and raised again by steps (AIMD: Chiu and Jain, 1989).

    A first refusal of a proven rate may be a stray one, for on a busy network requests bunch: the rate is
    eased. A second one means that the source has changed its mind: the rate is halved. A refusal of a rate
    that was only being tried means that the last proven one was right: it is taken again, and trying higher
    waits longer each time. So a stray refusal is forgotten within seconds, and a ceiling that stays is met
    once and then kept.

    It is kept as a part of `ceiling`, which may change at any time: where the ceiling is a share of what the
    source allows, what was learnt holds for a larger and for a smaller share.
    """

    def __init__(self, ceiling: float, clock: Callable[[], float]) -> None:
        self.ceiling = ceiling
        self._clock = clock
        self._since = clock()
        self._part = self._proven = self._limit = 1.0
        self._limit_until = self._since
        self._pause = FIRST_PAUSE
        self._is_doubted = False

    @property
    def now(self) -> float:
        """Requests/s that the source allows just now, as far as is known."""
        return self._part * self.ceiling

    def refused(self, started: float) -> None:
        """A request that was started then was refused; those that left with it say nothing new."""
        if started < self._since:
            return
        if self._part > self._proven:
            self._limit, self._limit_until = self._proven, self._clock() + self._pause
            self._pause = min(2 * self._pause, LONGEST_PAUSE)
            self._fall_to(self._proven)
        elif self._is_doubted:
            self._limit = 1.0
            self._fall_to(self._part / 2)
        else:
            self._is_doubted = True
            self._fall_to(self._part * EASE)

    def let_through(self, started: float) -> None:
        """A request that was started then was let through: in time, the rate is raised by a step."""
        now = self._clock()
        if started < self._since + TRIED:
            return
        if now >= self._since + PROVEN:
            self._proven, self._is_doubted = self._part, False
        limit = self._limit if now < self._limit_until else 1.0
        if self._part < limit:
            self._proven = max(self._proven, self._part * FALL_BACK)
            self._part, self._since = min(limit, self._part + STEP), now

    def rest(self, until: float) -> None:
        """Nothing starts until then, which proves nothing."""
        self._since = max(self._since, until)

    def _fall_to(self, part: float) -> None:
        self._part = self._proven = part
        self._since = self._clock()

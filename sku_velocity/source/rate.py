"""The rate that a source allows just now: learnt from its refusals, never above what the spec says."""

from __future__ import annotations

from collections.abc import Callable

STEP = 0.05  # of the ceiling, by which a rate that has proven itself is raised
PROVEN = 1.0  # seconds without a refusal after which a rate counts as allowed
FIRST_PAUSE = 15.0  # seconds before a rate that was refused is tried again; doubled each time, up to
LONGEST_PAUSE = 240.0
FALL_BACK = 0.98  # of the rate that was allowed last, after a higher one was refused


class AdaptiveRate:
    """Requests/s, lowered by refusals and raised again by steps (AIMD: Chiu and Jain, 1989).

    A refusal of a rate that had been allowed means that the source has changed its mind: the rate is halved.
    A refusal of a rate that was only being tried means that the last allowed one was right: it is taken
    again, and trying higher waits longer each time. So a stray refusal is forgotten within seconds, and a
    ceiling that stays is met once and then kept.

    It is kept as a part of `ceiling`, which may change at any time: where the ceiling is a share of what the
    source allows, what was learnt holds for a larger and for a smaller share.
    """

    def __init__(self, ceiling: float, clock: Callable[[], float]) -> None:
        self.ceiling = ceiling
        self._clock = clock
        self._part = self._allowed = 1.0
        self._since = clock()
        self._pause = PROVEN
        self._next_pause = FIRST_PAUSE

    @property
    def now(self) -> float:
        """Requests/s that the source allows just now, as far as is known."""
        return self._part * self.ceiling

    def refused(self, started: float) -> None:
        """A request that was started then was refused; those that left with it say nothing new."""
        if started < self._since:
            return
        if self._part > self._allowed:
            self._take(self._allowed * FALL_BACK, pause=self._next_pause)
            self._next_pause = min(2 * self._next_pause, LONGEST_PAUSE)
        else:
            self._take(self._part / 2, pause=PROVEN)
        self._allowed = self._part

    def let_through(self, started: float) -> None:
        """A request that was started then was let through: in time, the rate is raised by a step."""
        if self._part >= 1 or started < self._since + self._pause:
            return
        self._allowed = self._part
        self._take(min(1.0, self._part + STEP), pause=PROVEN)

    def _take(self, part: float, pause: float) -> None:
        self._part, self._since, self._pause = part, self._clock(), pause

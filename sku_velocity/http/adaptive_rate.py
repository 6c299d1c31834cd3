"""The rate that a source currently allows: learned from its refusals, never above the spec's."""

from __future__ import annotations

from collections.abc import Callable

STEP = 0.05  # of the ceiling: how much a rate is raised
TRIED = 1.5  # seconds without a refusal before a rate is raised
PROVEN = 3.0  # seconds without a refusal before a rate counts as allowed
EASE = 0.9  # of a proven rate, after a first refusal
FALL_BACK = 0.98  # of a rate that was allowed, but not for long enough to be proven
FIRST_PAUSE = 30.0  # seconds before a refused rate is tried again; doubled each time, up to
LONGEST_PAUSE = 240.0


class AdaptiveRate:
    """Requests/s, lowered by refusals and raised again by steps (AIMD: Chiu and Jain, 1989).

    A first refusal of a proven rate may be stray, because requests bunch on a busy network: the rate is
    eased. A second one means that the source now allows less: the rate is halved. A refusal of a rate that
    was only being tried means that the last proven one was right: it is restored, and each further try waits
    longer. So a stray refusal is forgotten within seconds, and a constant limit is hit once and then kept.

    The rate is stored as a fraction of `ceiling`, which may change at any time: if the ceiling is a share of
    what the source allows, what was learned applies to a larger or smaller share too.
    """

    def __init__(self, ceiling: float, clock: Callable[[], float]) -> None:
        self.ceiling = ceiling
        self._clock = clock
        self._since = clock()
        self._fraction = self._proven = self._limit = 1.0
        self._limit_until = self._since
        self._pause = FIRST_PAUSE
        self._is_doubted = False

    @property
    def now(self) -> float:
        """The requests/s that the source currently allows, as far as is known."""
        return self._fraction * self.ceiling

    def on_refusal(self, started: float) -> None:
        """Lower the rate after a refusal. Requests sent at the same time add no information."""
        if started < self._since:
            return
        if self._fraction > self._proven:
            self._limit, self._limit_until = self._proven, self._clock() + self._pause
            self._pause = min(2 * self._pause, LONGEST_PAUSE)
            self._lower_to(self._proven)
        elif self._is_doubted:
            self._limit = 1.0
            self._lower_to(self._fraction / 2)
        else:
            self._is_doubted = True
            self._lower_to(self._fraction * EASE)

    def on_success(self, started: float) -> None:
        """Raise the rate by a step if it has been allowed for long enough."""
        now = self._clock()
        if started < self._since + TRIED:
            return
        if now >= self._since + PROVEN:
            self._proven, self._is_doubted = self._fraction, False
        limit = self._limit if now < self._limit_until else 1.0
        if self._fraction < limit:
            self._proven = max(self._proven, self._fraction * FALL_BACK)
            self._fraction, self._since = min(limit, self._fraction + STEP), now

    def pause(self, until: float) -> None:
        """Exclude the time until then, in which no request starts, from the evidence."""
        self._since = max(self._since, until)

    def _lower_to(self, fraction: float) -> None:
        self._fraction = self._proven = fraction
        self._since = self._clock()

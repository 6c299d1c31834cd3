"""Grids of windows: regular borders by the wall clock of a zone, which consecutive windows share."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Self
from zoneinfo import ZoneInfo

from sku_velocity.model.window import Window

MONDAY = datetime.fromisoformat("1970-01-05")  # the wall time from which borders are counted
SECOND, MICROSECOND = timedelta(seconds=1), timedelta(microseconds=1)
DAY_MINUTES = 1_440
MAX_MINUTES = 365 * DAY_MINUTES
PARTS_OF_A_DAY = [minutes for minutes in range(1, DAY_MINUTES) if DAY_MINUTES % minutes == 0]


def check_minutes(minutes: int) -> int:
    """Return the length of a grid's windows. Raises ValueError with the allowed lengths if it is not one."""
    if minutes in PARTS_OF_A_DAY or (minutes % DAY_MINUTES == 0 and DAY_MINUTES <= minutes <= MAX_MINUTES):
        return minutes
    raise ValueError(
        f"must be a part of a day ({', '.join(map(str, PARTS_OF_A_DAY))}) or whole days (multiples of "
        f"{DAY_MINUTES} up to {MAX_MINUTES}, such as {7 * DAY_MINUTES} for weeks)"
    )


@dataclass(frozen=True)
class WindowGrid:
    """Windows of one length, aligned to a zone's midnights; those of several days to Monday 1970-01-05.

    A border is the first instant at which the zone's clock has reached a multiple of `step` since that
    Monday, so windows tile time. One that holds a clock change is longer or shorter: a day has 23 or 25
    hours, and the night's last window also holds the hour that repeats.
    """

    step: timedelta
    zone: ZoneInfo = ZoneInfo("UTC")

    @classmethod
    def of(cls, minutes: int, zone: str = "UTC") -> Self:
        """Return the grid of windows of this length in a zone, by its IANA name."""
        return cls(timedelta(minutes=minutes), ZoneInfo(zone))

    @property
    def minutes(self) -> int:
        """The length of a window by the wall clock."""
        return self.step // timedelta(minutes=1)

    def floor(self, instant: datetime) -> datetime:
        """Return the last border up to an instant."""
        return self._border(self._number(instant))

    def ceil(self, instant: datetime) -> datetime:
        """Return the first border from an instant on."""
        below = self.floor(instant)
        return below if below == instant else self.window_at(instant).end

    def window_at(self, instant: datetime) -> Window:
        """Return the window that contains an instant."""
        number = self._number(instant)
        start = self._border(number)
        return next(Window(start, end) for end in self._borders_after(number) if end > start)

    def window_before(self, instant: datetime) -> Window:
        """Return the last window that has ended by an instant."""
        return self.window_at(self.floor(instant) - MICROSECOND)

    def holds(self, instant: datetime) -> bool:
        """Return True if an instant is a border."""
        return self.floor(instant) == instant

    def cut(self, stretch: Window) -> Iterator[Window]:
        """Yield the windows of a stretch of time, in order; the first and last may be shorter."""
        start = stretch.start
        for border in self._borders_after(self._number(start)):
            end = min(border, stretch.end)
            if start < end:
                yield Window(start, end)
            if end == stretch.end:
                return
            start = end

    def widen(self, stretches: Iterable[Window]) -> list[Window]:
        """Return stretches of time, given in order, each extended to borders; what then touches is joined."""
        wide: list[Window] = []
        for stretch in stretches:
            start, end = self.floor(stretch.start), self.ceil(stretch.end)
            if wide and start <= wide[-1].end:
                start = wide.pop().start
            wide.append(Window(start, end))
        return wide

    def _number(self, instant: datetime) -> int:
        """Return the number of the last border up to an instant."""
        number = (_wall(instant, self.zone) - MONDAY) // self.step
        while self._border(number + 1) <= instant:  # the clock was set back since
            number += 1
        return number

    def _borders_after(self, number: int) -> Iterator[datetime]:
        """Yield the borders after this number, in order. They may be equal: a zone may skip a whole day."""
        while True:
            number += 1
            yield self._border(number)

    def _border(self, number: int) -> datetime:
        """Return the first instant at which the clock has reached a multiple of the step."""
        return first_instant(MONDAY + number * self.step, self.zone)


SECONDS, HOURS = WindowGrid(SECOND), WindowGrid.of(60)


def first_instant(wall: datetime, zone: ZoneInfo) -> datetime:
    """Return the first instant at which a zone's clock has reached a wall time, which it may skip."""
    first, second = (wall.replace(tzinfo=zone, fold=fold).astimezone(UTC) for fold in (0, 1))
    if first <= second:
        return first
    skipped = range((first - second) // SECOND + 1)  # the clock jumps over it within these seconds
    return (
        second + bisect_left(skipped, True, key=lambda n: _wall(second + n * SECOND, zone) >= wall) * SECOND
    )


def _wall(instant: datetime, zone: ZoneInfo) -> datetime:
    return instant.astimezone(zone).replace(tzinfo=None)

"""A warehouse's own calendar: its days and hours as stretches of UTC, and how much of each is published."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from functools import cached_property
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from sku_velocity.errors import ConfigurationError
from sku_velocity.model.window import Window

DAY, HOUR, WEEK = 86_400, 3_600, 7 * 86_400  # seconds
SEARCHED = timedelta(hours=1)  # no zone changes its offset twice within an hour
MARGIN = timedelta(days=2)  # more than any zone differs from UTC, or ever jumped
FIRST_YEAR, LAST_YEAR = 3, 9997  # a year of room at both ends, as movements have


def zone_of(name: str) -> ZoneInfo:
    """Return the time zone of this name. Raises ConfigurationError if there is none."""
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise ConfigurationError(
            f"time zone: {name!r} does not exist: use an IANA name such as Europe/Berlin or UTC"
        ) from error


@dataclass(frozen=True)
class Stretch:
    """A stretch of UTC in which a zone is `offset` seconds ahead of UTC."""

    start: datetime
    end: datetime
    offset: int


@dataclass(frozen=True)
class CalendarInterval:
    """A stretch of UTC within the local day (or hour) of this index, 0 for the period's first."""

    index: int
    start: datetime
    end: datetime

    @property
    def seconds(self) -> float:
        return (self.end - self.start).total_seconds()


@dataclass(frozen=True)
class Period:
    """The last `days` local days of a zone up to and including the day `as_of`.

    A day follows the wall clock: it has 23 or 25 hours when summer time begins or ends, and none if the
    zone skipped it. Raises ConfigurationError if no movement can have such a date.
    """

    zone: ZoneInfo
    as_of: date
    days: int

    def __post_init__(self) -> None:
        if not FIRST_YEAR <= self.as_of.year <= LAST_YEAR:
            raise ConfigurationError(
                f"as_of: no movement can be dated {self.as_of}: use the date of a past day"
            )

    @property
    def first(self) -> date:
        return self.day(0)

    def day(self, index: int) -> date:
        """Return the date of the local day of this index, 0 for the first."""
        return self.as_of - timedelta(days=self.days - 1 - index)

    @cached_property
    def midnight(self) -> datetime:
        """The first day's local midnight, without a zone: the origin of local seconds."""
        return datetime.combine(self.first, datetime.min.time())

    @cached_property
    def stretches(self) -> list[Stretch]:
        """The zone's stretches of constant offset around the period, in order and without gaps."""
        start = (self.midnight - MARGIN).replace(tzinfo=UTC)
        end = start + timedelta(days=self.days) + 2 * MARGIN
        bounds = [start, *_changes(self.zone, start, end), end]
        return [
            Stretch(since, until, _offset(self.zone, since))
            for since, until in zip(bounds, bounds[1:], strict=False)
        ]

    @cached_property
    def window(self) -> Window:
        """From the period's first instant to its last."""
        days = list(self.intervals(DAY))
        return Window(days[0].start, days[-1].end)

    @cached_property
    def gaps(self) -> list[Window]:
        """The parts of `window` that are in the day before or after, if a clock is set back past midnight."""
        days = list(self.intervals(DAY))
        return [
            Window(left.end, right.start)
            for left, right in zip(days, days[1:], strict=False)
            if left.end < right.start
        ]

    def intervals(self, step: int) -> Iterator[CalendarInterval]:
        """Yield the period's local days (`step` DAY) or hours (HOUR), in order of time.

        An index may occur twice: if the clock is set back, part of a day or hour repeats.
        """
        for stretch in self.stretches:
            offset = timedelta(seconds=stretch.offset)
            local = (stretch.start + offset).replace(tzinfo=None) - self.midnight
            index, start = local // timedelta(seconds=step), stretch.start
            while start < stretch.end and index < self.days * DAY // step:
                bound = self.midnight + timedelta(seconds=(index + 1) * step) - offset
                end = min(bound.replace(tzinfo=UTC), stretch.end)
                if index >= 0:
                    yield CalendarInterval(index, start, end)
                index, start = index + 1, end


def covered_shares(period: Period, published: Sequence[Window]) -> list[float]:
    """Return the published share of each day of the period, from 0 to 1.

    The `published` windows must not overlap. A day that the zone skipped cannot miss anything: 1.
    """
    covered, whole = [0.0] * period.days, [0.0] * period.days
    for interval, seconds in _covered(period.intervals(DAY), published):
        covered[interval.index] += seconds
        whole[interval.index] += interval.seconds
    return [part / total if total else 1.0 for part, total in zip(covered, whole, strict=True)]


def covered_hours_of_week(period: Period, published: Sequence[Window]) -> list[float]:
    """Return how many hours of the period are published, by hour of the local week from Monday 00:00."""
    hours = [0.0] * (WEEK // HOUR)
    for interval, seconds in _covered(period.intervals(HOUR), published):
        hours[hour_of_week(period, interval.index)] += seconds / HOUR
    return hours


def hour_of_week(period: Period, index: int) -> int:
    """Return the hour of the week, 0 for Monday 00:00, of the period's hour of this index."""
    return (period.first.weekday() * 24 + index) % (WEEK // HOUR)


def _covered(
    intervals: Iterator[CalendarInterval], published: Sequence[Window]
) -> Iterator[tuple[CalendarInterval, float]]:
    """Yield each interval with the number of its seconds that are published."""
    windows = sorted(published, key=lambda window: window.start)
    passed = 0
    for interval in intervals:
        while passed < len(windows) and windows[passed].end <= interval.start:
            passed += 1
        seconds, at = 0.0, passed
        while at < len(windows) and windows[at].start < interval.end:
            shared = min(windows[at].end, interval.end) - max(windows[at].start, interval.start)
            seconds, at = seconds + shared.total_seconds(), at + 1
        yield interval, seconds


def _changes(zone: ZoneInfo, start: datetime, end: datetime) -> Iterator[datetime]:
    """Yield the instants, to the second, at which the zone's offset changes."""
    while start < end:
        later = min(start + SEARCHED, end)
        if _offset(zone, start) != _offset(zone, later):
            before, after = start, later
            while after - before > timedelta(seconds=1):
                middle = before + timedelta(seconds=(after - before) // timedelta(seconds=2))
                if _offset(zone, middle) == _offset(zone, start):
                    before = middle
                else:
                    after = middle
            yield after
        start = later


def _offset(zone: ZoneInfo, instant: datetime) -> int:
    offset = instant.astimezone(zone).utcoffset()
    assert offset is not None
    return round(offset.total_seconds())

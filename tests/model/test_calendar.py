"""A warehouse's calendar is exact to the second and shows how much is published."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sku_velocity.errors import ConfigurationError
from sku_velocity.model.calendar import (
    DAY,
    HOUR,
    Period,
    covered_hours_of_week,
    covered_shares,
    hour_of_week,
    zone_of,
)
from sku_velocity.model.window import Window

BERLIN, KOLKATA = ZoneInfo("Europe/Berlin"), ZoneInfo("Asia/Kolkata")
SPRING, AUTUMN = date(2026, 3, 29), date(2026, 10, 25)  # when Berlin changes its clock
# Half hours, half an hour of summer time, a day skipped, clocks set back past midnight or forward at it.
ODD = [
    *("Asia/Kathmandu", "Australia/Lord_Howe", "Pacific/Apia", "America/St_Johns", "America/Havana"),
    *("America/Sao_Paulo", "Africa/Casablanca", "Europe/Berlin", "UTC"),
]


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def hours_of(period: Period) -> list[float]:
    """Return the length of each of the period's days."""
    hours = [0.0] * period.days
    for interval in period.intervals(DAY):
        hours[interval.index] += interval.seconds / HOUR
    return hours


@pytest.mark.parametrize(("day", "hours"), [(SPRING, 23), (AUTUMN, 25), (date(2026, 5, 1), 24)])
def test_a_day_is_as_long_as_the_wall_clock_says(day: date, hours: int) -> None:
    assert hours_of(Period(BERLIN, day + timedelta(days=1), 3)) == [24, hours, 24]


def test_a_zone_offset_by_half_an_hour_has_midnight_at_half_past() -> None:
    period = Period(KOLKATA, date(2026, 5, 1), 91)
    assert period.window == Window(utc("2026-01-30T18:30"), utc("2026-05-01T18:30"))


def test_a_day_that_the_zone_skipped_is_empty_and_complete() -> None:
    period = Period(ZoneInfo("Pacific/Apia"), date(2011, 12, 31), 3)
    assert hours_of(period) == [24, 0, 24] and covered_shares(period, []) == [0, 1, 0]


def test_a_clock_set_back_past_midnight_repeats_the_evening() -> None:
    period = Period(ZoneInfo("America/St_Johns"), date(2006, 10, 28), 2)
    assert hours_of(period)[1] == pytest.approx(25 - 1 / 60) and len(list(period.intervals(DAY))) == 3
    assert period.gaps == [Window(utc("2006-10-29T02:30"), utc("2006-10-29T02:31"))]


@settings(max_examples=60, deadline=None)
@given(st.sampled_from(ODD), st.dates(date(1975, 1, 1), date(2035, 1, 1)), st.sampled_from([DAY, HOUR]))
def test_each_interval_is_within_its_local_day_and_hour(name: str, as_of: date, step: int) -> None:
    period = Period(ZoneInfo(name), as_of, 14)
    end = period.window.start
    for interval in period.intervals(step):
        assert interval.start >= end  # in order, without overlap
        end = interval.end
        for instant in (interval.start, interval.end - timedelta(microseconds=1)):
            local = instant.astimezone(period.zone).replace(tzinfo=None)
            assert (local - period.midnight) // timedelta(seconds=step) == interval.index
    assert end == period.window.end


@settings(max_examples=30, deadline=None)
@given(st.sampled_from(ODD), st.dates(date(1975, 1, 1), date(2035, 1, 1)))
def test_intervals_and_gaps_cover_the_whole_period(name: str, as_of: date) -> None:
    period = Period(ZoneInfo(name), as_of, 14)
    intervals = sum(interval.seconds for interval in period.intervals(DAY))
    gaps = sum((gap.end - gap.start).total_seconds() for gap in period.gaps)
    assert intervals + gaps == (period.window.end - period.window.start).total_seconds()


def test_the_coverage_of_a_day_is_its_published_share() -> None:
    period = Period(BERLIN, date(2026, 3, 30), 3)  # the second day begins at 23:00 UTC and has 23 hours
    published = [
        Window(utc("2026-03-28T23:00"), utc("2026-03-29T10:30")),
        Window(utc("2026-03-29T22:00"), utc("2026-04-05T00:00")),
    ]
    assert covered_shares(period, published) == [0, 0.5, 1]


def test_adjacent_windows_cover_a_whole_day() -> None:
    hourly = [Window(utc("2026-03-01") + timedelta(hours=n), utc("2026-03-01") + timedelta(hours=n + 1))
              for n in range(48)]  # fmt: skip
    assert covered_shares(Period(ZoneInfo("UTC"), date(2026, 3, 2), 2), hourly[::-1]) == [1, 1]


def test_hours_of_the_week_count_their_published_occurrences() -> None:
    period = Period(BERLIN, SPRING, 91)
    hours = covered_hours_of_week(period, [Window.everything()])
    assert hours[6 * 24 + 2] == 12 and set(hours) == {12, 13}  # Sunday 02:00 was skipped once
    assert sum(covered_hours_of_week(period, [])) == 0


def test_the_week_begins_on_monday() -> None:
    period = Period(BERLIN, date(2026, 3, 4), 3)  # begins on a Monday
    assert [hour_of_week(period, index) for index in (0, 24, 47)] == [0, 24, 47]
    assert hour_of_week(Period(BERLIN, date(2026, 3, 1), 1), 0) == 6 * 24


@pytest.mark.parametrize("name", ["Europe/Berlino", "", "../UTC", "Europe", "/etc/passwd"])
def test_an_unknown_zone_is_an_error_with_an_example(name: str) -> None:
    with pytest.raises(ConfigurationError, match="Europe/Berlin"):
        zone_of(name)


@pytest.mark.parametrize("day", [date.min, date.max])
def test_a_day_outside_the_range_of_movements_is_an_error(day: date) -> None:
    with pytest.raises(ConfigurationError, match="as_of"):
        Period(BERLIN, day, 91)

"""Windows of a grid tile time exactly, in any zone and of any length."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo, available_timezones

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sku_velocity.model.coverage import gaps
from sku_velocity.model.window import Window
from sku_velocity.model.window_grid import MAX_MINUTES, PARTS_OF_A_DAY, WindowGrid, check_minutes

LENGTHS = [*PARTS_OF_A_DAY, 1440, 2880, 10_080, 43_200, MAX_MINUTES]
# Half an hour of summer time, midnights that are skipped and that repeat, and a day that never was.
ODD_ZONES = ["Australia/Lord_Howe", "Africa/Cairo", "America/Havana", "America/St_Johns", "Pacific/Apia"]
ZONES = [ZoneInfo(name) for name in sorted(available_timezones()) if name not in ("localtime", "Factory")]
zones = st.one_of(st.sampled_from([ZoneInfo(name) for name in ODD_ZONES]), st.sampled_from(ZONES))
instants = st.datetimes(
    datetime.fromisoformat("1880-01-01"), datetime.fromisoformat("2040-01-01"), timezones=st.just(UTC)
)


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def grid(minutes: int, zone: str = "UTC") -> WindowGrid:
    return WindowGrid(timedelta(minutes=minutes), ZoneInfo(zone))


def near_a_clock_change(zone: ZoneInfo, instant: datetime) -> datetime:
    """Return an instant within two days before the zone's next clock change, if one comes within a year."""
    for _ in range(366):
        later = instant + timedelta(days=1)
        if instant.astimezone(zone).utcoffset() != later.astimezone(zone).utcoffset():
            return instant
        instant = later
    return instant


@given(zones, st.sampled_from(LENGTHS), instants, st.integers(1, 40), st.integers(0, 10**7))
def test_consecutive_windows_tile_time(
    zone: ZoneInfo, minutes: int, start: datetime, count: int, more: int
) -> None:
    windows = WindowGrid(timedelta(minutes=minutes), zone)
    start = near_a_clock_change(zone, start)
    stretch = Window(start, start + count * windows.step + timedelta(microseconds=more))
    parts = list(windows.cut(stretch))
    assert (parts[0].start, parts[-1].end) == (stretch.start, stretch.end)
    assert all(left.end == right.start for left, right in pairwise(parts))
    assert all(windows.holds(left.end) for left in parts[:-1])
    assert list(map(windows.window_at, (each.start for each in parts[1:-1]))) == parts[1:-1]


@given(zones, st.sampled_from(LENGTHS), instants, st.integers(0, 3 * 86_400))
def test_each_instant_is_in_one_window_and_the_one_before_ends_at_its_start(
    zone: ZoneInfo, minutes: int, instant: datetime, seconds: int
) -> None:
    windows = WindowGrid(timedelta(minutes=minutes), zone)
    instant = near_a_clock_change(zone, instant) + timedelta(seconds=seconds)
    window = windows.window_at(instant)
    assert instant in window and windows.floor(instant) == window.start
    assert windows.window_before(instant).end == window.start
    assert windows.ceil(instant) == (instant if instant == window.start else window.end)


@given(zones, instants, st.integers(0, 3 * 86_400))
def test_a_day_holds_exactly_the_instants_of_its_date_unless_the_clock_goes_back_to_it(
    zone: ZoneInfo, instant: datetime, seconds: int
) -> None:
    instant = near_a_clock_change(zone, instant) + timedelta(seconds=seconds)
    day = WindowGrid(timedelta(days=1), zone).window_at(instant)
    before, first = ((day.start - timedelta(microseconds=n)).astimezone(zone).date() for n in (1, 0))
    assert before < first and instant.astimezone(zone).date() <= day.start.astimezone(zone).date()


def test_hours_and_days_are_aligned_to_midnight_and_weeks_to_monday() -> None:
    at = utc("2026-03-04T10:25")  # a Wednesday
    assert grid(60).window_at(at) == Window(utc("2026-03-04T10:00"), utc("2026-03-04T11:00"))
    assert grid(1440).window_at(at) == Window(utc("2026-03-04"), utc("2026-03-05"))
    assert grid(10_080).window_at(at) == Window(utc("2026-03-02"), utc("2026-03-09"))
    week = grid(10_080, "Europe/Berlin").window_at(at)
    assert week == Window(utc("2026-03-01T23:00"), utc("2026-03-08T23:00"))
    assert grid(2880).window_at(utc("1970-01-05")).start == utc("1970-01-05")


@pytest.mark.parametrize(
    ("zone", "day", "hours"),
    [
        ("Europe/Berlin", "2026-03-29T12:00", 23),
        ("Europe/Berlin", "2026-10-25T12:00", 25),
        ("Africa/Cairo", "2026-04-24T12:00", 23),  # it has no midnight
        ("America/Havana", "2026-11-01T12:00", 25),  # it has two
        ("Australia/Lord_Howe", "2026-10-04T01:00", 23.5),
    ],
)
def test_a_local_day_is_as_long_as_the_clock_makes_it(zone: str, day: str, hours: float) -> None:
    window = grid(1440, zone).window_at(utc(day))
    assert window.end - window.start == timedelta(hours=hours)
    shifts = list(grid(480, zone).cut(window))
    assert len(shifts) == 3 and sum((each.end - each.start for each in shifts), timedelta()) == timedelta(
        hours=hours
    )


def test_a_window_before_a_repeated_hour_holds_it() -> None:
    night = Window(utc("2026-10-24T22:00"), utc("2026-10-25T02:00"))  # 00:00 to 03:00, 02:00 to 03:00 twice
    starts = [each.start for each in grid(30, "Europe/Berlin").cut(night)]
    assert starts[-2:] == [utc("2026-10-25T00:00"), utc("2026-10-25T00:30")] and len(starts) == 6
    assert grid(60, "Europe/Berlin").window_before(utc("2026-10-25T01:30")).end == utc("2026-10-25T00:00")


def test_a_day_that_a_zone_skipped_has_no_window() -> None:
    days = grid(1440, "Pacific/Apia").cut(Window(utc("2011-12-29T10:00"), utc("2012-01-01T10:00")))
    assert [each.start for each in days] == [utc(f"2011-12-{n}T10:00") for n in (29, 30, 31)]


@given(
    st.lists(st.tuples(st.integers(0, 400), st.integers(1, 40)), max_size=6), st.sampled_from([1, 60, 1440])
)
def test_widened_gaps_cover_the_gaps_on_borders_without_overlap(
    covered: list[tuple[int, int]], minutes: int
) -> None:
    midnight, hour = utc("2026-03-01"), timedelta(hours=1)
    span = Window(midnight, midnight + 300 * hour)
    known = [Window(midnight + a * hour, midnight + (a + length) * hour) for a, length in covered]
    missing, days = gaps(span, known), grid(minutes, "Europe/Berlin")
    wide = days.widen(missing)
    assert gaps(span, [*known, *wide]) == []
    assert all(left.end < right.start for left, right in pairwise(wide))
    assert all(days.holds(each.start) and days.holds(each.end) for each in wide)


@pytest.mark.parametrize("minutes", LENGTHS)
def test_parts_of_a_day_and_whole_days_are_allowed(minutes: int) -> None:
    assert check_minutes(minutes) == minutes


@pytest.mark.parametrize("minutes", [-60, 0, 7, 50, 1000, 1441, 2000, MAX_MINUTES + 1440])
def test_another_length_is_refused_with_those_that_are_allowed(minutes: int) -> None:
    with pytest.raises(ValueError, match=r"1, 2, 3, 4, .*, 60, .*, 720\) or whole days \(multiples of 1440"):
        check_minutes(minutes)

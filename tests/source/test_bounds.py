"""However a source compares times, the requested bounds include every record of the window."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from operator import add
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sku_velocity.model.window import Window
from sku_velocity.source.bounds import written_bounds
from sku_velocity.source.spec import WindowSpec

FORMATS = ["iso", "date", "epoch_s", "epoch_ms", "%Y-%m-%d %H:%M:%S", "%Y-%m-%d %H:%M", "%d.%m.%Y"]
FORMATS += ["%Y-%m-%d %H", "%Y-%m-%dT00:00:00", "%Y-%m-%d %H:%M%z"]
ZONES = ["UTC", "Europe/Berlin", "Asia/Kolkata", "America/St_Johns", "Australia/Lord_Howe", "Africa/Cairo"]
CLOCK_CHANGES = ["03-29", "10-25", "04-23", "10-29"]
# The last one is of St. John's, at one minute past midnight.
LOCAL_CLOCK_CHANGES = [f"2026-{day}" for day in [*CLOCK_CHANGES, "03-08", "11-01", "04-05"]] + ["2010-11-07"]


def at(text: str) -> datetime:
    return datetime.fromisoformat(text)


@pytest.mark.parametrize(
    ("spec", "bounds"),
    [
        ({}, ("2026-03-01T08:00:00Z", "2026-03-01T09:00:00Z")),
        ({"timezone": "Asia/Kolkata"}, ("2026-03-01T13:30:00+05:30", "2026-03-01T14:30:00+05:30")),
        ({"format": "date"}, ("2026-03-01", "2026-03-02")),
        ({"format": "date", "start_inclusive": False}, ("2026-02-28", "2026-03-02")),
        ({"format": "%Y-%m-%d %H", "start_inclusive": False}, ("2026-03-01 07", "2026-03-01 09")),
        ({"format": "epoch_s"}, ("1772352000", "1772355600")),
        ({"format": "epoch_ms", "pad_seconds": 1}, ("1772351999000", "1772355601000")),
        ({"format": "%Y-%m-%d %H:%M"}, ("2026-03-01 08:00", "2026-03-01 09:00")),
        ({"start_inclusive": False}, ("2026-03-01T07:59:59Z", "2026-03-01T09:00:00Z")),
    ],
)
def test_bounds_are_formatted_for_the_source(spec: dict[str, object], bounds: tuple[str, str]) -> None:
    window = Window(at("2026-03-01T08:00:00Z"), at("2026-03-01T09:00:00Z"))
    assert written_bounds(window, WindowSpec.model_validate(spec)) == bounds


@pytest.mark.parametrize("hour", ["00:30", "01:30"], ids=["first 02:30", "second 02:30"])
def test_a_bound_in_a_repeated_hour_is_moved_out_of_it(hour: str) -> None:
    """In Berlin the hour from 02:00 occurs twice on 2026-10-25."""
    window = Window(at(f"2026-10-25T{hour}:00Z"), at("2026-10-25T12:00:00Z"))
    spec = WindowSpec(format="%Y-%m-%d %H:%M", timezone="Europe/Berlin")
    assert written_bounds(window, spec)[0] == "2026-10-25 01:30"


@pytest.mark.parametrize(
    ("form", "bound"),
    [
        ("iso", "2026-10-25T02:30:00+01:00"),
        ("%Y-%m-%d %H:%M%z", "2026-10-25 02:30+0100"),
        ("%Y-%m-%d %H%z", "2026-10-25 03+0100"),
    ],
)
def test_a_bound_with_an_offset_is_not_taken_for_the_other_equal_wall_time(form: str, bound: str) -> None:
    window = Window(at("2026-10-25T00:00:00Z"), at("2026-10-25T01:30:00Z"))
    assert written_bounds(window, WindowSpec(format=form, timezone="Europe/Berlin"))[1] == bound


@pytest.mark.parametrize(
    ("form", "zone", "end", "bound"),
    [
        ("%Y-%m-%d %H", "Europe/Berlin", "2026-03-29T00:30:00Z", "2026-03-29 03"),
        ("%Y-%m-%d %H:%M", "Europe/Berlin", "2026-03-29T00:59:30Z", "2026-03-29 03:30"),
        ("%Y-%m-%dT00:00:00", "Africa/Cairo", "2026-04-23T21:30:00Z", "2026-04-25T00:00:00"),
    ],
)
def test_a_bound_that_no_clock_shows_is_moved_out_of_the_gap(
    form: str, zone: str, end: str, bound: str
) -> None:
    """A source that resolves a skipped wall time to the hour before it would leave out the last rows."""
    window = Window(at("2026-03-01T00:00:00Z"), at(end))
    assert written_bounds(window, WindowSpec(format=form, timezone=zone))[1] == bound


def read(text: str, form: str, zone: ZoneInfo, fold: int) -> datetime:
    """Parse a bound as a source in that zone does, with the first or second of two equal wall times."""
    match form:
        case "iso":
            return at(text)
        case "epoch_s":
            return datetime.fromtimestamp(int(text), UTC)
        case "epoch_ms":
            return datetime.fromtimestamp(int(text) / 1000, UTC)
        case "date":
            form = "%Y-%m-%d"
    wall = datetime.strptime(text, form)  # noqa: DTZ007  # its zone is the next step
    return wall if wall.tzinfo else wall.replace(tzinfo=zone, fold=fold)


@given(
    start=st.one_of(
        st.timedeltas(timedelta(0), timedelta(days=730)).map(lambda past: at("2025-01-01T00:00:00Z") + past),
        st.builds(
            add,
            st.sampled_from([at(f"2026-{day}T00:00:00Z") for day in CLOCK_CHANGES]),
            st.timedeltas(timedelta(0), timedelta(hours=3)),
        ),
    ),
    length=st.timedeltas(timedelta(milliseconds=1), timedelta(days=3)),
    share=st.floats(0, 1, exclude_max=True),
    form=st.sampled_from(FORMATS),
    zone=st.sampled_from(ZONES),
    inclusive=st.booleans(),
    fold=st.sampled_from([0, 1]),
)
def test_every_instant_of_the_window_is_between_the_bounds(
    start: datetime, length: timedelta, share: float, form: str, zone: str, inclusive: bool, fold: int
) -> None:
    spec = WindowSpec(format=form, timezone=zone, start_inclusive=inclusive)
    first, last = (
        read(text, form, ZoneInfo(zone), fold) for text in written_bounds(Window(start, start + length), spec)
    )
    instant = min(start + length * share, start + length - timedelta(microseconds=1))
    assert (first <= instant if inclusive else first < instant) and instant < last


@pytest.mark.parametrize("hour", ["22:00", "22:30"])
def test_a_start_that_a_source_excludes_is_a_day_earlier_even_if_the_day_has_25_hours(hour: str) -> None:
    window = Window(at(f"2026-10-25T{hour}:00Z"), at("2026-10-26T00:00:00Z"))
    spec = WindowSpec(format="date", timezone="Europe/Berlin", start_inclusive=False)
    assert written_bounds(window, spec)[0] == "2026-10-24"


@given(
    start=st.builds(
        add,
        st.sampled_from([at(f"{day}T00:00:00Z") for day in LOCAL_CLOCK_CHANGES]),
        st.timedeltas(timedelta(hours=-36), timedelta(hours=36)),
    ),
    length=st.timedeltas(timedelta(milliseconds=1), timedelta(days=3)),
    share=st.floats(0, 1, exclude_max=True),
    form=st.sampled_from(
        [form for form in FORMATS if form not in ("iso", "epoch_s", "epoch_ms") and "%z" not in form]
    ),
    zone=st.sampled_from([*ZONES, "America/Havana", "Asia/Beirut"]),
    inclusive=st.booleans(),
)
def test_every_local_time_of_the_window_as_the_source_shows_it_is_between_the_bounds(
    start: datetime, length: timedelta, share: float, form: str, zone: str, inclusive: bool
) -> None:
    """A source that keeps only the date, or the hour, compares that."""
    spec = WindowSpec(format=form, timezone=zone, start_inclusive=inclusive)
    naive = "%Y-%m-%d" if form == "date" else form
    first, last = (
        datetime.strptime(text, naive)  # noqa: DTZ007  # wall times are compared
        for text in written_bounds(Window(start, start + length), spec)
    )
    instant = min(start + length * share, start + length - timedelta(microseconds=1))
    wall = instant.astimezone(ZoneInfo(zone)).replace(tzinfo=None)
    shown = datetime.strptime(wall.strftime(naive), naive)  # noqa: DTZ007
    assert (first <= shown if inclusive else first < shown) and shown < last

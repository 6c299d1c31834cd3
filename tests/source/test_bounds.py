"""Whatever way a source compares, no record of the window is left out of what is asked for."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sku_velocity.model.window import Window
from sku_velocity.source.bounds import written_bounds
from sku_velocity.source.spec import WindowSpec

FORMATS = ["iso", "date", "epoch_s", "epoch_ms", "%Y-%m-%d %H:%M:%S", "%Y-%m-%d %H:%M", "%d.%m.%Y"]
ZONES = ["UTC", "Europe/Berlin", "Asia/Kolkata", "America/St_Johns", "Australia/Lord_Howe"]


def at(text: str) -> datetime:
    return datetime.fromisoformat(text)


@pytest.mark.parametrize(
    ("spec", "bounds"),
    [
        ({}, ("2026-03-01T08:00:00Z", "2026-03-01T09:00:00Z")),
        ({"timezone": "Asia/Kolkata"}, ("2026-03-01T13:30:00+05:30", "2026-03-01T14:30:00+05:30")),
        ({"format": "date"}, ("2026-03-01", "2026-03-02")),
        ({"format": "date", "start_inclusive": False}, ("2026-02-28", "2026-03-02")),
        ({"format": "epoch_s"}, ("1772352000", "1772355600")),
        ({"format": "epoch_ms", "pad_seconds": 1}, ("1772351999000", "1772355601000")),
        ({"format": "%Y-%m-%d %H:%M"}, ("2026-03-01 08:00", "2026-03-01 09:00")),
        ({"start_inclusive": False}, ("2026-03-01T07:59:59Z", "2026-03-01T09:00:00Z")),
    ],
)
def test_bounds_are_written_as_the_source_reads_them(
    spec: dict[str, object], bounds: tuple[str, str]
) -> None:
    window = Window(at("2026-03-01T08:00:00Z"), at("2026-03-01T09:00:00Z"))
    assert written_bounds(window, WindowSpec.model_validate(spec)) == bounds


@pytest.mark.parametrize("hour", ["00:30", "01:30"], ids=["first 02:30", "second 02:30"])
def test_a_bound_in_the_hour_that_comes_twice_is_moved_out_of_it(hour: str) -> None:
    """In Berlin the hour from 02:00 on came twice on 2026-10-25."""
    window = Window(at(f"2026-10-25T{hour}:00Z"), at("2026-10-25T12:00:00Z"))
    spec = WindowSpec(format="%Y-%m-%d %H:%M", timezone="Europe/Berlin")
    assert written_bounds(window, spec)[0] == "2026-10-25 01:30"


def read(text: str, form: str, zone: ZoneInfo, fold: int) -> datetime:
    """A bound as a source in that zone takes it, by the first or the second of two equal wall times."""
    match form:
        case "iso":
            return at(text)
        case "epoch_s":
            return datetime.fromtimestamp(int(text), UTC)
        case "epoch_ms":
            return datetime.fromtimestamp(int(text) / 1000, UTC)
        case "date":
            form = "%Y-%m-%d"
    return datetime.strptime(text, form).replace(tzinfo=zone, fold=fold)  # the zone follows


@given(
    start=st.timedeltas(timedelta(0), timedelta(days=730)).map(
        lambda past: at("2025-01-01T00:00:00Z") + past
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

"""A time format is accepted if it reads back what it writes; a value, if it can be read in one way only."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sku_velocity.errors import SpecError
from sku_velocity.source.spec import SourceSpec, parse_spec
from sku_velocity.source.time_format import AmbiguousTimeError, TimeFormat, floor

ROUND_TRIPS = [
    "%Y-%m-%dT00:00:00",
    "%Y-%m-%d %H:00",
    "%d.%m.%Y %H:%M",
    "%Y%m%d %H%M%S",
    "%Y%m%d%H%M%S%f",
    "%d-%b-%y %I.%M.%S.%f %p",
    "%a, %d %B %Y %H:%M:%S %Z",
    "%A %Y%j",
    "%F %T%z",
    "%F %R",
    "100%% %Y-%m-%d",
]
REFUSED = {
    "%s": "%s cannot be used: it depends on the zone of this computer: use epoch_s",
    "%c": "depends on the language of this computer",
    "%Y-%m-%d %X": "depends on the language of this computer",
    "%x %H:%M": "depends on the language of this computer",
    "%Y-%U-%w": "%U cannot be used: use one of",
    "%-d.%m.%Y": "cannot be used",
    "%Y-%m-%d 100%": "write %% for a percent sign",
    "%Y": "does not read back what it writes: 1999-12-31 00:00:00 is written as '1999'",
    "%Y-%m": "does not read back what it writes",
    "%H:%M:%S": "it has no year",
    "%d.%m. %H:%M": "it has no year",
    "%Y-%m-%d %I:%M": "is read as 1999-12-31 11:59:00",
    "%Y-%m-%d %H %S": "does not read back what it writes",
    "%Y-%m-%d %H:%I": "has the hour twice",
    "%Y-%m-%d %j": "has the day twice",
}


def spec_of(**parts: Any) -> SourceSpec:
    return parse_spec({"name": "acme", "base_url": "https://wms.example.com", **parts}, "acme.yaml")


@pytest.mark.parametrize("form", ROUND_TRIPS)
def test_a_format_that_round_trips_is_accepted_for_fields_and_windows(form: str) -> None:
    spec = spec_of(window={"format": form}, fields={"timestamp_utc": {"path": "at", "format": form}})
    assert spec.window.format == form


@pytest.mark.parametrize("form", REFUSED)
@pytest.mark.parametrize("part", ["window", "fields"])
def test_a_format_that_does_not_is_refused_with_the_reason(part: str, form: str) -> None:
    field = {"timestamp_utc": {"path": "at", "format": form}}
    with pytest.raises(SpecError, match=f"acme.yaml is not a source spec: {part}") as caught:
        spec_of(**{part: {"format": form} if part == "window" else field})
    assert REFUSED[form] in str(caught.value)


@pytest.mark.parametrize("zone", ["Europe/Berlin", "Europe/London", "Asia/Shanghai"])
def test_a_written_zone_name_must_be_readable_in_all_seasons(zone: str) -> None:
    with pytest.raises(SpecError, match="does not read back what it writes"):
        spec_of(window={"format": "%Y-%m-%d %H:%M %Z", "timezone": zone})


ZONES = [
    "Z",
    " Z",
    " UTC",
    " GMT",
    " (UTC)",
    "+00:00",
    " +0000",
    "-00",
    " UTC+00:00",
    " GMT+1",
    " CET",
    "+01:00",
]


@pytest.mark.parametrize("written", ZONES)
def test_a_zone_in_a_format_must_be_that_of_the_times_all_year(written: str) -> None:
    form = f"%Y-%m-%dT%H:%M:%S{written}"
    with pytest.raises(SpecError, match="window: .*set window.timezone to that one"):
        spec_of(window={"format": form, "timezone": "Europe/Berlin"})
    field = {"path": "at", "format": form, "assume_timezone": "Europe/Berlin"}
    with pytest.raises(SpecError, match=r"fields.timestamp_utc: .*set assume_timezone to that one"):
        spec_of(fields={"timestamp_utc": field})


@pytest.mark.parametrize(
    ("written", "zone"),
    [
        *((written, "UTC") for written in ZONES[:9]),
        ("Z", "Africa/Abidjan"),
        ("+03:00", "Europe/Moscow"),
        (" GMT+0300", "Europe/Moscow"),
        (" JST", "Asia/Tokyo"),
        (" Uhr", "Europe/Berlin"),
        (".000", "Europe/Berlin"),
    ],
)
def test_a_zone_in_a_format_may_be_that_of_the_times(written: str, zone: str) -> None:
    form = f"%Y-%m-%dT%H:%M:%S{written}"
    field = {"path": "at", "format": form, "assume_timezone": zone}
    assert spec_of(window={"format": form, "timezone": zone}, fields={"timestamp_utc": field})


@pytest.mark.parametrize(
    "form",
    ["%Y-%m-%dT23:59:59Z", "%Y-%m-%dT%H:59:59Z", "%H:30 %d.%m.%Y", "%Y%m%d 12", "%Y-%m-%d %H:%M:%S.999"],
)
def test_a_fixed_time_that_is_not_the_start_of_its_unit_is_refused(form: str) -> None:
    with pytest.raises(SpecError, match="window: .*has a fixed time"):
        spec_of(window={"format": form})
    with pytest.raises(SpecError, match="fields.timestamp_utc: .*has a fixed time"):
        spec_of(fields={"timestamp_utc": {"path": "at", "format": form}})


@pytest.mark.parametrize("form", ["%d.%m.20%y", "%Y-%m-%d %H-00", "%Y-%m-%d-%H-00-00", "%Y-%m-%dT00:00:00"])
def test_digits_in_a_format_that_are_no_other_time_are_accepted(form: str) -> None:
    assert spec_of(window={"format": form, "timezone": "Europe/Berlin"})


@pytest.mark.parametrize(
    ("form", "text", "read"),
    [
        ("%Y%m%d %H%M%S", "20260301 083000", "2026-03-01T08:30:00"),
        ("%Y%m%d %H%M%S", "20260301 83000", "2026-03-01T08:30:00"),
        ("%d.%m.%Y %H:%M", "1.3.2026 8:30", "2026-03-01T08:30:00"),
        ("%Y-%m-%d %H:%M:%S.%f", "2026-03-01 08:30:00.123", "2026-03-01T08:30:00.123000"),
        ("%Y-%m-%d %H:%M:%S.%f", "2026-03-01 08:30:00.9999999", "2026-03-01T08:30:00.999999"),
        ("%Y-%m-%dT%H:%M:%S.%f%z", "2026-03-01T08:30:00.9999999+01:00", "2026-03-01T08:30:00.999999+01:00"),
        ("%Y-%m-%d %H:%M%z", "2026-03-01 08:30+00", "2026-03-01T08:30:00+00:00"),
        ("%Y-%m-%d %H:%M%z", "2026-03-01 08:30-0330", "2026-03-01T08:30:00-03:30"),
        ("%b %d %Y %I:%M%p", "mar  1 2026 8:30PM", "2026-03-01T20:30:00"),
        ("%d/%m/%y", "31/12/69", "1969-12-31T00:00:00"),
    ],
)
def test_a_value_with_one_reading_is_read(form: str, text: str, read: str) -> None:
    assert TimeFormat(form).read(text).isoformat() == read


@pytest.mark.parametrize(
    ("form", "text"),
    [
        ("%Y%m%d %H%M%S", "20260301 13000"),
        ("%Y%m%d %H%M%S", "20260301 1305"),
        ("%Y%m%d", "2026111"),
        ("%d%m%Y", "1112026"),
        ("%Y-%m-%d %H%M", "2026-03-01 111"),
        ("%Y%m%d%H%M%S%f", "2026030108300012"),
    ],
)
def test_a_value_whose_digits_could_be_split_differently_is_not_read(form: str, text: str) -> None:
    with pytest.raises(AmbiguousTimeError):
        TimeFormat(form).read(text)


@pytest.mark.parametrize(
    ("form", "text"),
    [
        ("%Y-%m-%d", "2026-02-30"),
        ("%Y%j", "2026366"),
        ("%Y-%m-%d %H:%M %p", "2026-03-01 08:30 PM"),
        ("%Y-%m-%d %H:%M %Z", "2026-03-01 08:30 CET"),
        ("%Y-%m-%d %H:%M%z", "2026-03-01 08:30+99"),
        ("%Y-%m-%d", "2026-03-0１"),
    ],
)
def test_a_value_that_is_no_time_is_not_read(form: str, text: str) -> None:
    with pytest.raises(ValueError):
        TimeFormat(form).read(text)


@given(
    st.sampled_from(ROUND_TRIPS),
    st.datetimes(*map(datetime.fromisoformat, ("1969-01-01", "2068-12-31"))),  # all that %y can name
)
def test_an_accepted_format_reads_back_every_multiple_of_its_grain(form: str, at: datetime) -> None:
    time_format = TimeFormat.of(form)
    wall = floor(at, time_format.grain).replace(tzinfo=UTC)
    assert time_format.read(time_format.write(wall)).replace(tzinfo=UTC) == wall


def test_an_offset_is_written_for_the_zone() -> None:
    at = datetime(2026, 7, 1, 8, 30, tzinfo=ZoneInfo("Europe/Berlin"))
    assert TimeFormat("%Y-%m-%d %H:%M %z").write(at) == "2026-07-01 08:30 +0200"

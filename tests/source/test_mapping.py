"""Records are mapped as the spec describes: names, signs and time zones."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from math import inf, nextafter
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError
from pydantic_core import SchemaValidator

from sku_velocity.errors import SpecError
from sku_velocity.model.chunk import Page, PageResult
from sku_velocity.model.movement import Movement, MovementRow
from sku_velocity.model.window import Window
from sku_velocity.source.columns import ColumnReader
from sku_velocity.source.fields import TimestampSpec
from sku_velocity.source.mapping import record_schema
from sku_velocity.source.spec import parse_spec
from sku_velocity.source.timestamps import instant_reader
from sku_velocity.source.validation import PageReader

RECORD = {"sku_id": "A-1", "warehouse_id": "WH-01", "units_moved": 6, "timestamp_utc": "2026-03-01T08:30:00Z"}
AT = datetime(2026, 3, 1, 8, 30, tzinfo=UTC)
HTTP_DATE = "%a, %d %b %Y %H:%M:%S %Z"


def validate(*records: Any, fields: dict[str, Any] | None = None, filters: Any = ()) -> PageResult:
    spec = {
        "name": "acme",
        "base_url": "https://wms.example.com",
        "fields": fields or {},
        "filter": list(filters),
    }
    reader = PageReader(parse_spec(spec, "test"), "WH-01", Window.everything())
    return reader.validate(reader.read(json.dumps(records).encode()), Page(0, len(records)))


def movement(change: dict[str, Any], **fields: Any) -> MovementRow:
    """Return the movement that a record becomes."""
    result = validate({**RECORD, **change}, fields=fields)
    assert not result.dead_letters, result.dead_letters
    return result.movements[0]


def reason(change: dict[str, Any], **fields: Any) -> str:
    """Return why a record is rejected."""
    result = validate({**RECORD, **change}, fields=fields)
    return "; ".join(map(str, result.dead_letters[0].reasons))


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"item": {"code": "B-2"}}, "item.code"),
        ({"product": [7, "B-2"]}, "product.1"),
        ({"alt": "B-2"}, ["gone", "alt"]),
        ({"first": None, "alt": {"sku": "B-2"}}, ["first", "alt.sku"]),
        ({}, {"const": "B-2"}),
        ({"a": "B", "b": 2}, {"join": ["a", "b"], "separator": "-"}),
    ],
)
def test_a_field_is_read_from_the_path_in_the_spec(change: dict[str, Any], field: Any) -> None:
    assert movement(change, sku_id=field).sku_id == "B-2"


@pytest.mark.parametrize(
    ("change", "field", "value"),
    [
        ({}, ["gone", "lost"], "sku_id (gone or lost): Field required"),
        ({"a": "B"}, {"join": ["a", "b"]}, "sku_id (a + b): Field required"),
        ({"a": "b"}, {"path": "a"}, "sku_id (a): must contain only"),
    ],
)
def test_a_reason_names_the_paths_that_were_tried(change: dict[str, Any], field: Any, value: str) -> None:
    assert value in reason(change, sku_id=field)


def test_a_constant_that_breaks_its_rule_is_a_wrong_spec() -> None:
    with pytest.raises(SpecError, match=r"fields.sku_id.const: 'b-2'"):
        movement({}, sku_id={"const": "b-2"})


@pytest.mark.parametrize(
    ("sign", "value", "units"),
    [
        ("as_is", 6, 6),
        ("as_is", "6.000", 6),
        ("negate", -6, 6),
        ("negate", "-6.000", 6),
        ("negate", -6.0, 6),
        ("negate", 0, 0),
        ("abs", -6, 6),
        ("abs", "6", 6),
    ],
)
def test_units_are_read_with_the_sign_of_the_spec(sign: str, value: Any, units: int) -> None:
    assert (
        movement({"units_moved": value}, units_moved={"path": "units_moved", "sign": sign}).units_moved
        == units
    )


@pytest.mark.parametrize(
    ("sign", "value"),
    [("as_is", -6), ("negate", 6), ("negate", -6.5), ("abs", "6.5"), ("abs", "six"), ("negate", True)],
)
def test_units_of_the_wrong_sign_or_not_whole_are_rejected(sign: str, value: Any) -> None:
    assert "must be a whole number" in reason(
        {"units_moved": value}, units_moved={"path": "units_moved", "sign": sign}
    )


@pytest.mark.parametrize(
    ("value", "form"),
    [
        ("2026-03-01T08:30:00Z", {}),
        ("2026-03-01T10:30:00+02:00", {}),
        (1772353800, {"format": "epoch_s"}),
        ("1772353800", {"format": "epoch_s"}),
        (1772353800000, {"format": "epoch_ms"}),
        ("/Date(1772353800000)/", {"format": "odata_v2"}),
        ("/Date(1772353800000+0060)/", {"format": "odata_v2"}),
        ("01.03.2026 09:30", {"format": "%d.%m.%Y %H:%M", "assume_timezone": "Europe/Berlin"}),
        ("01.03.2026 09:30 +0100", {"format": "%d.%m.%Y %H:%M %z"}),
        ("2026-03-01 14:00", {"assume_timezone": "Asia/Kolkata"}),
        ("2026-03-01T08:30:00.0000000", {"assume_timezone": "UTC"}),
        ("2026-03-01T08:30:00Z", {"assume_timezone": "Europe/Berlin"}),
        ("2026-03-01 08:30:00+00", {}),
        ("2026-03-01 08:30:00+00", {"assume_timezone": "Europe/Berlin"}),
        ("2026-03-01T10:30+02", {}),
        ("2026-03-01T05:00:00-0330", {}),
        ("2026-03-01 8:30:00,0000009Z", {}),
        ("2026-03-01 09:30+01", {"format": "%Y-%m-%d %H:%M%z"}),
        ("Sun, 01 Mar 2026 08:30:00 GMT", {"format": HTTP_DATE, "assume_timezone": "Europe/Berlin"}),
        ("Sun, 01 Mar 2026 08:30:00 UTC", {"format": HTTP_DATE}),
        ("Sun, 01 Mar 2026 08:30:00 Z", {"format": HTTP_DATE}),
    ],
)
def test_a_time_is_parsed_in_its_format(value: Any, form: dict[str, str]) -> None:
    assert (
        movement({"timestamp_utc": value}, timestamp_utc={"path": "timestamp_utc", **form}).timestamp_utc
        == AT
    )


@pytest.mark.parametrize(
    ("value", "form"),
    [
        (1772353799.9999998, {"format": "epoch_s"}),
        ("1772353799.99999976", {"format": "epoch_s"}),
        (1772353799999.9998, {"format": "epoch_ms"}),
        ("2026-03-01T08:29:59.9999999Z", {}),
        ("2026-03-01T08:29:59.9999999", {"assume_timezone": "UTC"}),
        ("2026-03-01 08:29:59.9999999", {"format": "%Y-%m-%d %H:%M:%S.%f", "assume_timezone": "UTC"}),
    ],
)
def test_a_time_just_before_a_border_is_rounded_down(value: Any, form: dict[str, str]) -> None:
    """Rounded up it would be in neither of two adjacent windows: the API counts it to the earlier one."""
    read = movement({"timestamp_utc": value}, timestamp_utc={"path": "timestamp_utc", **form}).timestamp_utc
    assert AT - timedelta(microseconds=1) <= read < AT


@pytest.mark.parametrize(
    ("date", "zone", "instant"),
    [
        ("2026-03-29", "Europe/Berlin", "2026-03-28T23:00:00Z"),
        ("2026-04-24", "Africa/Cairo", "2026-04-23T22:00:00Z"),  # its clock jumps over midnight
        ("2026-11-01", "America/Havana", "2026-11-01T04:00:00Z"),  # its midnight comes twice
    ],
)
def test_a_date_is_the_start_of_its_day(date: str, zone: str, instant: str) -> None:
    form = {"path": "timestamp_utc", "format": "%Y-%m-%d", "assume_timezone": zone}
    at = movement({"timestamp_utc": date}, timestamp_utc=form).timestamp_utc
    assert at == datetime.fromisoformat(instant)


@given(st.floats(-2e9, 4e9), st.integers(-2_000_000_000, 4_000_000_000))
def test_an_epoch_is_on_the_side_of_a_border_on_which_its_number_is(value: float, border: int) -> None:
    read = instant_reader(TimestampSpec(path=("at",), format="epoch_s"))
    for number in (value, nextafter(border, -inf), float(border)):
        assert (read(number) < read(border)) == (number < border)


def test_a_time_may_be_joined_from_parts() -> None:
    parts = {"day": {"year": 2026, "month": 3, "day": 1}, "clock": "08:30"}
    join = ["day.year", "day.month", "day.day", "clock"]
    form = {"join": join, "separator": "-", "format": "%Y-%m-%d-%H:%M", "assume_timezone": "UTC"}
    assert movement(parts, timestamp_utc=form).timestamp_utc == AT


@pytest.mark.parametrize(
    ("value", "form", "why"),
    [
        ("2026-10-25 02:30", {"assume_timezone": "Europe/Berlin"}, "occurs twice in Europe/Berlin"),
        ("2026-03-29 02:30", {"assume_timezone": "Europe/Berlin"}, "does not exist in Europe/Berlin"),
        ("2026-02-30 08:30", {"assume_timezone": "UTC"}, "valid ISO 8601 date"),
        ("2026-03-01", {"assume_timezone": "UTC"}, "ISO 8601"),
        ("01.03.2026", {"format": "%d.%m.%Y"}, "has no time zone"),
        ("Sun, 01 Mar 2026 08:30:00 CET", {"format": HTTP_DATE}, "%Z reads only GMT, UTC and Z"),
        ("20260301 13000", {"format": "%Y%m%d %H%M%S", "assume_timezone": "UTC"}, "is ambiguous"),
        (1772353800, {}, "as a string such as"),
        ("soon", {"format": "epoch_s"}, "since 1970"),
        ("NaN", {"format": "epoch_s"}, "since 1970"),
        ("1e999999", {"format": "epoch_ms"}, "since 1970"),
        (10**30, {"format": "epoch_ms"}, "since 1970"),
        (True, {"format": "epoch_s"}, "since 1970"),
        ("/Date(x)/", {"format": "odata_v2"}, "/Date(1772352000000)/"),
        ("yesterday", {"format": "%d.%m.%Y"}, "in the format %d.%m.%Y"),
        (-(10**11), {"format": "epoch_s"}, "timestamp_utc"),
    ],
)
def test_an_invalid_time_is_rejected_with_the_reason(value: Any, form: dict[str, str], why: str) -> None:
    assert why in reason({"timestamp_utc": value}, timestamp_utc={"path": "timestamp_utc", **form})


@pytest.mark.parametrize(
    ("rule", "values", "passed"),
    [
        ({"in": [11, 12]}, [11, 12, 13, "11", None], [0, 1, 3]),
        ({"in": [261]}, [261, "261", 261.0, "261.0", "0261", 262], [0, 1, 2]),
        ({"in": ["261"]}, [261, "261", 261.0, "261.0", 2610], [0, 1, 2]),
        ({"in": [1.5, "2.5"]}, [1.5, "1.5", "1.50", 2.5, 1], [0, 1, 3]),
        ({"not_in": [0]}, [0, "0", False, "", None, 1], [2, 3, 4, 5]),
        ({"in": [True]}, [True, 1, "true", "True", False, 1.0], [0]),
        ({"in": [1, "x"]}, [1, True, "1", {"x": 1}, ["x"]], [0, 2]),
        ({"in": ["pick", None]}, ["pick", "count", None], [0, 2]),
        ({"not_in": ["count"]}, ["pick", "count", None], [0, 2]),
        ({"below": 0}, [-1, 0, 1, "-2.5", "x", None], [0, 3, 4, 5]),
        ({"above": 0}, [-1, 0, 1, "2.5"], [2, 3]),
        ({"above": 5}, [True, 6, 5], [0, 1]),
    ],
)
def test_a_filter_drops_records_that_break_its_rule(
    rule: dict[str, Any], values: list[Any], passed: list[int]
) -> None:
    result = validate(*({**RECORD, "type": value} for value in values), filters=[{"path": "type", **rule}])
    assert [row.position for row in result.movements] == passed
    assert result.filtered == len(values) - len(passed) and not result.dead_letters


def test_a_filtered_record_is_not_a_reject_and_a_filter_field_is_not_drift() -> None:
    broken = {**RECORD, "sku_id": "!", "type": "count"}
    good = {**RECORD, "type": "pick", "new": 1}
    result = validate(broken, good, filters=[{"path": "type", "in": ["pick"]}])
    assert (result.filtered, len(result.movements), result.dead_letters) == (1, 1, [])
    assert result.extra_fields == {"new": 1}


def test_joined_and_alternative_fields_are_not_drift() -> None:
    fields = {"sku_id": ["sku_id", "alt"], "movement_id": {"join": ["doc", "line"]}}
    assert validate({**RECORD, "alt": "X", "doc": 1, "line": 2}, fields=fields).extra_fields == {}


anything = st.one_of(st.none(), st.integers(-5, 5), st.text(max_size=3), st.just({}), st.just([]))
records = st.one_of(
    anything,
    st.fixed_dictionaries(
        {},
        optional={
            "sku_id": st.one_of(st.just("A-1"), anything),
            "warehouse_id": st.one_of(st.just("WH-01"), anything),
            "units_moved": anything,
            "timestamp_utc": st.one_of(st.just("2026-03-01 08:30"), anything),
            "type": anything,
        },
    ),
)


@given(st.lists(records, max_size=12))
def test_every_record_is_accounted_for(page: list[Any]) -> None:
    fields = {
        "units_moved": {"path": "units_moved", "sign": "negate"},
        "timestamp_utc": {"path": "timestamp_utc", "assume_timezone": "Europe/Berlin"},
        "sku_id": ["sku_id", "type"],
    }
    result = validate(*page, fields=fields, filters=[{"path": "type", "not_in": [1]}])
    assert result.fetched == len(page)
    assert result.fetched == sum(
        (len(result.movements), len(result.dead_letters), result.trimmed, result.filtered)
    )


DATES = st.sampled_from(
    ["2026-03-01", "2026-02-30", "0001-01-01", "9999-12-31", "2026-3-1", "\u0662026-03-01"]
)
TIMES = st.sampled_from(["08:30:00", "8:30", "24:00:00", "23:59:60", "08:30", "00:00:00"])
FRACTIONS = st.sampled_from(["", ".5", ".123456", ".1234567", ",5", "."])
OFFSETS = st.sampled_from(["Z", "z", "+01:00", "-23:59", "+24:00", "+0100", "+01", "", "\u221201:00", " Z"])


@given(
    st.builds("{}{}{}{}{}".format, DATES, st.sampled_from("Tt _"), TIMES, FRACTIONS, OFFSETS) | st.text(),
    st.sampled_from([{}, {"assume_timezone": "Europe/Berlin"}]),
)
def test_a_column_and_a_record_accept_the_same_times(text: str, zone: dict[str, str]) -> None:
    fields = parse_spec(
        {
            "name": "acme",
            "base_url": "http://127.0.0.1",
            "fields": {"timestamp_utc": {"path": "timestamp_utc", **zone}},
        },
        "test",
    ).fields
    record = {**RECORD, "timestamp_utc": text}
    columns, unsure = ColumnReader(fields, Movement, (), {}).read([record])
    try:
        alone = SchemaValidator(record_schema(fields, Movement)).validate_json(json.dumps(record))[0]
    except ValidationError:
        assert unsure == {0}
    else:
        assert not unsure and columns["timestamp_utc"] == [alone["timestamp_utc"]]

"""A record is read as the spec describes it, whatever its names, signs and clocks."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sku_velocity.errors import SpecError
from sku_velocity.model.chunk import Page, PageResult
from sku_velocity.model.movement import MovementRow
from sku_velocity.model.window import Window
from sku_velocity.source.spec import parse_spec
from sku_velocity.source.validation import PageReader

RECORD = {"sku_id": "A-1", "warehouse_id": "WH-01", "units_moved": 6, "timestamp_utc": "2026-03-01T08:30:00Z"}
AT = datetime(2026, 3, 1, 8, 30, tzinfo=UTC)


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
    """The one movement that a record comes to."""
    result = validate({**RECORD, **change}, fields=fields)
    assert not result.dead_letters, result.dead_letters
    return result.movements[0]


def reason(change: dict[str, Any], **fields: Any) -> str:
    """Why a record is rejected."""
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
def test_a_field_is_found_where_the_spec_says(change: dict[str, Any], field: Any) -> None:
    assert movement(change, sku_id=field)[2] == "B-2"


@pytest.mark.parametrize(
    ("change", "field", "told"),
    [
        ({}, ["gone", "lost"], "gone or lost: Field required"),
        ({"a": "B"}, {"join": ["a", "b"]}, "a + b: Field required"),
        ({"a": "b"}, {"path": "a"}, "a: must be made of"),
    ],
)
def test_a_reason_names_the_places_that_were_looked_at(change: dict[str, Any], field: Any, told: str) -> None:
    assert told in reason(change, sku_id=field)


def test_a_constant_that_breaks_its_rule_is_a_wrong_spec() -> None:
    with pytest.raises(SpecError, match=r"fields.sku_id.const: 'b-2'"):
        movement({}, sku_id={"const": "b-2"})


@pytest.mark.parametrize(
    ("sign", "told", "units"),
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
def test_units_are_told_with_a_sign(sign: str, told: Any, units: int) -> None:
    assert movement({"units_moved": told}, units_moved={"path": "units_moved", "sign": sign})[4] == units


@pytest.mark.parametrize(
    ("sign", "told"),
    [("as_is", -6), ("negate", 6), ("negate", -6.5), ("abs", "6.5"), ("abs", "six"), ("negate", True)],
)
def test_units_of_the_other_sign_or_in_part_are_rejected(sign: str, told: Any) -> None:
    assert "must be a whole number" in reason(
        {"units_moved": told}, units_moved={"path": "units_moved", "sign": sign}
    )


@pytest.mark.parametrize(
    ("told", "form"),
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
    ],
)
def test_a_time_is_read_in_its_form(told: Any, form: dict[str, str]) -> None:
    assert movement({"timestamp_utc": told}, timestamp_utc={"path": "timestamp_utc", **form})[5] == AT


def test_a_time_may_be_in_parts() -> None:
    parts = {"day": {"year": 2026, "month": 3, "day": 1}, "clock": "08:30"}
    join = ["day.year", "day.month", "day.day", "clock"]
    form = {"join": join, "separator": "-", "format": "%Y-%m-%d-%H:%M", "assume_timezone": "UTC"}
    assert movement(parts, timestamp_utc=form)[5] == AT


@pytest.mark.parametrize(
    ("told", "form", "told_why"),
    [
        ("2026-10-25 02:30", {"assume_timezone": "Europe/Berlin"}, "came twice in Europe/Berlin"),
        ("2026-03-29 02:30", {"assume_timezone": "Europe/Berlin"}, "never came in Europe/Berlin"),
        ("2026-02-30 08:30", {"assume_timezone": "UTC"}, "of a day that there is"),
        ("2026-03-01", {"assume_timezone": "UTC"}, "ISO 8601"),
        ("01.03.2026", {"format": "%d.%m.%Y"}, "has no zone"),
        ("soon", {"format": "epoch_s"}, "since 1970"),
        (10**30, {"format": "epoch_ms"}, "since 1970"),
        (True, {"format": "epoch_s"}, "since 1970"),
        ("/Date(x)/", {"format": "odata_v2"}, "/Date(1772352000000)/"),
        ("yesterday", {"format": "%d.%m.%Y"}, "written as %d.%m.%Y"),
        (-(10**11), {"format": "epoch_s"}, "timestamp_utc"),
    ],
)
def test_a_time_that_is_none_is_rejected_with_the_reason(
    told: Any, form: dict[str, str], told_why: str
) -> None:
    assert told_why in reason({"timestamp_utc": told}, timestamp_utc={"path": "timestamp_utc", **form})


@pytest.mark.parametrize(
    ("rule", "values", "kept"),
    [
        ({"in": [11, 12]}, [11, 12, 13, "11", None], [0, 1]),
        ({"in": ["pick", None]}, ["pick", "count", None], [0, 2]),
        ({"not_in": ["count"]}, ["pick", "count", None], [0, 2]),
        ({"below": 0}, [-1, 0, 1, "-2.5", "x", None], [0, 3, 4, 5]),
        ({"above": 0}, [-1, 0, 1, "2.5"], [2, 3]),
    ],
)
def test_a_filter_drops_what_clearly_breaks_it(
    rule: dict[str, Any], values: list[Any], kept: list[int]
) -> None:
    result = validate(*({**RECORD, "type": value} for value in values), filters=[{"path": "type", **rule}])
    assert [row[0] for row in result.movements] == kept
    assert result.filtered == len(values) - len(kept) and not result.dead_letters


def test_a_filtered_record_is_never_a_reject_and_a_filter_s_field_is_no_drift() -> None:
    broken = {**RECORD, "sku_id": "!", "type": "count"}
    good = {**RECORD, "type": "pick", "new": 1}
    result = validate(broken, good, filters=[{"path": "type", "in": ["pick"]}])
    assert (result.filtered, len(result.movements), result.dead_letters) == (1, 1, [])
    assert result.extra_fields == {"new": 1}


def test_fields_that_are_joined_or_second_choices_are_no_drift() -> None:
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

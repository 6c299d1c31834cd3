"""Pages become movements and dead letters."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sku_velocity.errors import SourceMappingError, UnreadableBodyError
from sku_velocity.model.chunk import Page, PageResult
from sku_velocity.model.movement import MovementRow
from sku_velocity.model.window import Window
from sku_velocity.source.spec import parse_spec
from sku_velocity.source.validation import PageReader
from sku_velocity.text import quote

GOOD: dict[str, Any] = {
    "movement_id": "M-1",
    "sku_id": "85123A",
    "warehouse_id": "WH-01",
    "units_moved": 6,
    "timestamp_utc": "2026-03-01T08:30:00Z",
}
WINDOW = Window(datetime(2026, 3, 1, tzinfo=UTC), datetime(2026, 3, 2, tzinfo=UTC))


def reader(**parts: Any) -> PageReader:
    fields = {"movement_id": "movement_id"}
    spec = {"name": "acme", "base_url": "http://wms.test", "fields": fields, **parts}
    return PageReader(parse_spec(spec, "test"), "WH-01", WINDOW)


def validate(*records: Any, offset: int = 0, **parts: Any) -> PageResult:
    body = json.dumps(records).encode()
    pages = reader(**parts)
    return pages.validate(pages.read(body), Page(offset, len(records)))


def faults_of(**changes: Any) -> dict[str, str]:
    """Return the reasons, by field, why a good record with these changes is rejected."""
    result = validate({**GOOD, **changes})
    return {r.field: r.message for letter in result.dead_letters for r in letter.reasons}


def test_a_good_record_becomes_a_movement_at_its_position() -> None:
    result = validate(GOOD, offset=700)
    at = datetime(2026, 3, 1, 8, 30, tzinfo=UTC)
    assert list(result.movements) == [MovementRow(700, "M-1", "85123A", "WH-01", 6, at)]
    assert result.dead_letters == []


@pytest.mark.parametrize(("given", "units"), [(0, 0), (6, 6), (6.0, 6), ("6", 6), ("6.00", 6), ("007", 7)])
def test_whole_units_are_accepted_in_any_notation(given: Any, units: int) -> None:
    assert validate({**GOOD, "units_moved": given}).movements[0].units_moved == units


@pytest.mark.parametrize("units", [-1, 1.5, "1.5", "-3", True, None, "six", "", [], 2**63, float("nan")])
def test_units_that_are_negative_or_not_whole_are_rejected(units: Any) -> None:
    assert faults_of(units_moved=units) == {"units_moved": "must be a whole number of units, 0 or more"}


@pytest.mark.parametrize("sku", ["abc", "A B", "", "A\n", "Ä1", None, True, {"id": 1}])
def test_a_sku_with_other_characters_is_rejected(sku: Any) -> None:
    assert faults_of(sku_id=sku) == {"sku_id": "must contain only A-Z, 0-9 and '-', at most 255 characters"}


@pytest.mark.parametrize("warehouse", ["", "  ", None, "WH\x0001"])
def test_an_empty_or_unstorable_warehouse_is_rejected(warehouse: Any) -> None:
    assert set(faults_of(warehouse_id=warehouse)) == {"warehouse_id"}


@pytest.mark.parametrize(
    ("timestamp", "message"),
    [
        ("2026-02-30T08:00:00Z", "valid ISO 8601"),
        ("2026-03-01T08:30:00", "timezone"),
        ("2026-03-01", "ISO 8601"),
        (1772353800, "ISO 8601"),
        ("1772353800", "ISO 8601"),
        ("yesterday", "ISO 8601"),
        (None, "ISO 8601"),
        ("0001-01-01T00:00:00+14:00", "greater than"),
        ("2026-03-01T08:30:00+05:99", "ISO 8601"),
        ("2026-03-01T08:30:00.1234567+0560", "ISO 8601"),
    ],
)
def test_an_invalid_timestamp_is_rejected(timestamp: Any, message: str) -> None:
    assert message in faults_of(timestamp_utc=timestamp)["timestamp_utc"]


def test_another_zone_is_converted_to_utc() -> None:
    result = validate({**GOOD, "timestamp_utc": "2026-03-01T10:30:00+02:00"})
    assert result.movements[0].timestamp_utc == datetime(2026, 3, 1, 8, 30, tzinfo=UTC)
    assert result.movements[0].timestamp_utc.tzinfo is UTC


@pytest.mark.parametrize("record", [None, 7, "text", []])
def test_a_record_that_is_not_an_object_is_rejected(record: Any) -> None:
    assert len(validate(record).dead_letters) == 1


def test_a_dead_letter_has_its_json_its_position_and_every_reason() -> None:
    bad = {"sku_id": "bad sku", "units_moved": -1, "timestamp_utc": "2026-02-30T00:00:00Z", "note": "é\x00"}
    letter = validate(GOOD, bad, GOOD, offset=4000).dead_letters[0]
    assert letter.position == 4001
    assert json.loads(letter.record_json) == bad and "\x00" not in letter.record_json
    assert [r.field for r in letter.reasons] == ["sku_id", "warehouse_id", "units_moved", "timestamp_utc"]


def test_a_lone_surrogate_does_not_affect_other_records_of_the_page() -> None:
    result = validate(GOOD, {**GOOD, "note": "\ud800"}, GOOD)
    assert [row.position for row in result.movements] == [0, 2]
    assert (
        json.loads(result.dead_letters[0].record_json)["note"] == "\ud800"
        and result.dead_letters[0].record_json.isascii()
    )


def test_movement_ids_may_be_numbers_or_absent() -> None:
    result = validate({**GOOD, "movement_id": 17}, {k: v for k, v in GOOD.items() if k != "movement_id"})
    assert [row.movement_id for row in result.movements] == ["17", None]


def test_records_outside_the_window_are_trimmed() -> None:
    stamps = ["2026-02-28T23:59:59Z", "2026-03-01T00:00:00Z", "2026-03-01T23:59:59Z", "2026-03-02T00:00:00Z"]
    result = validate(*({**GOOD, "timestamp_utc": stamp} for stamp in stamps))
    assert ([row.position for row in result.movements], result.trimmed) == ([1, 2], 2)


def test_another_warehouse_is_rejected_if_one_was_requested() -> None:
    result = validate(GOOD, {**GOOD, "warehouse_id": "WH-02"}, request={"params": {"wh": "{warehouse}"}})
    assert [str(reason) for reason in result.dead_letters[0].reasons] == [
        "warehouse_id: is not WH-01, the requested warehouse"
    ]


def test_another_warehouse_is_trimmed_if_the_api_returns_all() -> None:
    result = validate(GOOD, {**GOOD, "warehouse_id": "WH-02"})
    assert (len(result.movements), len(result.dead_letters), result.trimmed) == (1, 0, 1)


def test_dotted_paths_reach_into_records_and_envelopes() -> None:
    parts = {
        "records": {"path": "data.items"},
        "total": {"from": "body", "path": "meta.count"},
        "fields": {"sku_id": "item.code", "units_moved": "qty"},
    }
    record = {**GOOD, "item": {"code": "A-1"}, "qty": 3, "sku_id": "not this"}
    pages = reader(**parts)
    raw = pages.read(json.dumps({"data": {"items": [record]}, "meta": {"count": "41"}}).encode())
    row = pages.validate(raw, Page(0, 1)).movements[0]
    assert (raw.total, row.sku_id, row.units_moved) == (41, "A-1", 3)


def test_fields_that_the_spec_does_not_map_are_counted() -> None:
    result = validate({**GOOD, "colour": "red"}, {**GOOD, "colour": "blue", "bin": 4}, GOOD)
    assert result.extra_fields == {"colour": 2, "bin": 1}


@pytest.mark.parametrize("body", [b"", b"<html>", b'[{"sku_id": "A"', b"\xff\xfe\xfa"])
def test_a_body_that_is_not_json_is_unreadable(body: bytes) -> None:
    with pytest.raises(UnreadableBodyError):
        reader().read(body)


@pytest.mark.parametrize(
    "body",
    [b"[]", b"{}", b'{"data": null}', b'{"data": {}}', b'{"data": {"items": {}}}', b'{"data": {"items": 0}}'],
)
def test_a_missing_list_is_an_error_and_not_an_empty_page(body: bytes) -> None:
    with pytest.raises(SourceMappingError, match="data.items"):
        reader(records={"path": "data.items"}).read(body)


def test_a_field_is_unmapped_if_no_record_has_it() -> None:
    pages = reader(fields={"sku_id": "item.code"})
    raw = pages.read(json.dumps([None, {**GOOD}, {"warehouse_id": "W"}]).encode())
    assert pages.unmapped_fields(raw) == {"sku_id": "item.code"}
    assert reader().unmapped_fields(reader().read(json.dumps([GOOD, {}]).encode())) == {}


def test_a_record_id_is_unmapped_if_no_record_has_it() -> None:
    pages = reader(fields={"movement_id": "nope"})
    assert pages.unmapped_fields(pages.read(json.dumps([GOOD]).encode())) == {"movement_id": "nope"}
    assert pages.unmapped_fields(pages.read(json.dumps([GOOD, {"nope": None}]).encode())) == {}


@pytest.mark.parametrize(
    "record",
    ["null", '"pick"', "[]", '{"x": ' + "[" * 30_000 + "]" * 30_000 + "}", '{"x": ' + "1" * 5_000 + "}"],
)
def test_a_record_that_cannot_be_read_is_not_filtered(record: str) -> None:
    pages = reader(filter=[{"path": "type", "in": ["pick"]}])
    body = f'[{json.dumps({**GOOD, "type": "pick"})}, {record}, {{"type": "count"}}]'.encode()
    result = pages.validate(pages.read(body), Page(0, 3))
    assert ([letter.position for letter in result.dead_letters], result.filtered) == ([1], 1)


def test_a_quote_is_one_printable_line_of_200_characters() -> None:
    assert quote(b"\x1b[31mred\r\nline\xff" + b"x" * 500).startswith("\N{REPLACEMENT CHARACTER}[31mred line")
    assert len(quote(b"x" * 500)) == 200


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)
records = st.fixed_dictionaries({}, optional={name: json_values | st.just(GOOD[name]) for name in GOOD})


@given(st.lists(records | json_values, max_size=12))
def test_every_record_is_accounted_for(page: list[Any]) -> None:
    result = validate(*page, offset=100)
    assert result.fetched == len(page)
    assert result.fetched == len(result.movements) + len(result.dead_letters) + result.trimmed
    positions = [row.position for row in result.movements] + [
        letter.position for letter in result.dead_letters
    ]
    assert len(set(positions)) == len(positions) and set(positions) <= set(range(100, 100 + len(page)))
    assert all(letter.reasons for letter in result.dead_letters)
    assert json.dumps([letter.record_json for letter in result.dead_letters], ensure_ascii=False).encode()


def test_records_without_ids_are_compared_as_their_fingerprints_are() -> None:
    """A number equals its text: rows that look alike to the proof must count as equal."""
    pages = reader(fields={})
    raw = pages.read(json.dumps([{**GOOD, "units_moved": units} for units in (6, "6", 7)]).encode())
    first, second, third = pages.essences(raw)
    assert first == second != third
    assert pages.fingerprint(raw, slice(0, 1)) == pages.fingerprint(raw, slice(1, 2))

"""The optional fields of a movement, the settings of its SKU and units, and its type and direction."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sku_velocity.errors import SpecError
from sku_velocity.model.chunk import Page, PageResult
from sku_velocity.model.master import Master, Names
from sku_velocity.model.movement import MovementRow
from sku_velocity.model.run import MasterVersion, UnknownSku
from sku_velocity.model.window import Window
from sku_velocity.source.extra import MAX_BYTES
from sku_velocity.source.spec import SourceSpec, parse_spec
from sku_velocity.source.validation import PageReader

RECORD = {"sku_id": "A-1", "warehouse_id": "WH-01", "units_moved": 6, "timestamp_utc": "2026-03-01T08:30:00Z"}
DETAILED: dict[str, Any] = {
    "fields": {
        "movement_type": "type",
        "order_id": "order.number",
        "location_id": "bin",
        "unit_of_measure": "uom",
        "direction": {"path": "type", "in": ["GR"], "out": ["PICK", "261"]},
    },
    "types": {"pick": ["PICK", "261"], "receipt": ["GR"]},
    "extra": {"lot": "lot_no", "by": "user.name"},
}
FACTOR = {"path": "units_moved", "factor": {"by": "uom", "values": {"EA": 1, "CS": 12, 7: "0.5"}}}


def spec_of(**parts: Any) -> SourceSpec:
    return parse_spec({"name": "acme", "base_url": "https://wms.example.com", **parts}, "acme.yaml")


def reader(master: Master | None = None, **parts: Any) -> PageReader:
    return PageReader(spec_of(**parts), "WH-01", Window.everything(), master)


def validate(*records: Any, master: Master | None = None, **parts: Any) -> PageResult:
    pages = reader(master, **parts)
    return pages.validate(pages.read(json.dumps(records).encode()), Page(0, len(records)))


def row_of(change: dict[str, Any], **parts: Any) -> MovementRow:
    """Return the row that a record becomes."""
    result = validate({**RECORD, **change}, **parts)
    assert not result.dead_letters, result.dead_letters[0].reasons
    return result.movements[0]


def reason_of(change: dict[str, Any], **parts: Any) -> str:
    """Return why a record is rejected."""
    result = validate({**RECORD, **change}, **parts)
    return "; ".join(map(str, result.dead_letters[0].reasons))


def units(value: Any, change: dict[str, Any] | None = None, **spec: Any) -> int:
    parts = {"fields": {"units_moved": {"path": "units_moved", **spec}}}
    return row_of({"units_moved": value, **(change or {})}, **parts).units_moved


def test_fields_that_are_not_mapped_are_not_stored() -> None:
    assert row_of({"type": "PICK", "bin": "A-01", "lot_no": 7})[6:] == (None,) * 6


def test_mapped_fields_are_stored() -> None:
    change = {
        "type": "PICK",
        "order": {"number": 4711},
        "bin": "A-01",
        "uom": "EA",
        "lot_no": {"no": 7},
        "user": None,
    }
    details = ("pick", "4711", "A-01", "EA", "out", '{"lot":{"no":7}}')
    assert row_of(change, **DETAILED)[6:] == details


def test_absent_null_and_empty_values_are_none() -> None:
    for change in ({}, {"type": None, "bin": None, "lot_no": None}, {"type": "", "bin": "", "uom": ""}):
        assert row_of(change, **DETAILED)[6:] == (None,) * 6


@pytest.mark.parametrize(
    ("value", "stored"),
    [
        ("x" * 255, "x" * 255),
        (12, "12"),
        (12.0, "12"),
        (12.5, "12.5"),
        (2**60, str(2**60)),
        (" é\t ", " é\t "),
    ],
)
def test_an_optional_field_is_text_of_at_most_255_characters(value: Any, stored: str) -> None:
    assert row_of({"bin": value}, fields={"location_id": "bin"}).location_id == stored


@pytest.mark.parametrize("name", ["movement_type", "order_id", "location_id", "unit_of_measure"])
@pytest.mark.parametrize("value", ["x" * 256, "a\x00b", True, [], {"a": 1}])
def test_any_other_value_is_rejected(name: str, value: Any) -> None:
    message = f"{name} (x): must be a string of at most 255 characters, a number or absent"
    assert reason_of({"x": value}, fields={name: "x"}) == message


@pytest.mark.parametrize(
    ("word", "name"),
    [("PICK", "pick"), ("261", "pick"), (261, "pick"), (261.0, "pick"), ("261.0", "261.0"), ("GR", "receipt"),
     ("Pick", "Pick"), ("count", "count")],
)  # fmt: skip
def test_a_type_is_stored_by_its_own_name_and_others_as_they_are(word: Any, name: str) -> None:
    assert row_of({"type": word}, **DETAILED).movement_type == name


def test_a_constant_type_is_normalised_too() -> None:
    parts = {"fields": {"movement_type": {"const": 261}}, "types": {"pick": ["261"]}}
    assert row_of({}, **parts).movement_type == "pick"


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        ({"types": {"pick": ["PICK"]}}, "types needs fields.movement_type"),
        ({"types": {"pick": [261, "261"]}}, "261 is listed twice"),
        ({"types": {"pick": ["A"], "ship": ["A"]}}, "A is listed twice"),
        ({"types": {"all": ["A"]}}, "it means every type"),
        ({"types": {"pick": [True]}}, "types.pick"),
        ({"types": {"pick\n": ["A"]}}, "types.pick"),
        ({"extra": {"lot no": "lot"}}, "extra.lot no"),
        ({"items": {}, "extra": {"lot": "lot"}}, "not both"),
    ],
)
def test_wrong_types_and_extra_fields_are_a_wrong_spec(parts: dict[str, Any], message: str) -> None:
    fields = {"movement_type": "type"} if "needs" not in message and "items" not in parts else {}
    with pytest.raises(SpecError, match=message):
        spec_of(fields=fields, **parts)


@pytest.mark.parametrize(
    ("field", "values", "directions"),
    [
        ({"in": ["GR"], "out": [261]}, ["GR", "261", 261, 261.0, "x", None, [], True],
         ["in", "out", "out", "out", None, None, None, None]),
        ({"in": [True]}, [True, 1, "true"], ["in", None, None]),
        ({"negative": "out"}, [-1, "-0.5", 0, "3", "x", None], ["out", "out", None, "in", None, None]),
        ({"negative": "in"}, [-1, 1], ["in", "out"]),
    ],
)  # fmt: skip
def test_a_direction_classifies_and_rejects_nothing(
    field: dict[str, Any], values: list[Any], directions: list[str | None]
) -> None:
    fields = {"direction": {"path": "x", **field}}
    result = validate(*({**RECORD, "x": value} for value in values), {**RECORD}, fields=fields)
    assert [row.direction for row in result.movements] == [*directions, None]


def test_a_direction_may_be_the_sign_of_units_whose_sign_is_dropped() -> None:
    fields = {
        "units_moved": {"path": "qty", "sign": "abs"},
        "direction": {"path": "qty", "negative": "out"},
    }
    result = validate({**RECORD, "qty": -3}, {**RECORD, "qty": "4.0"}, fields=fields)
    assert [(row.units_moved, row.direction) for row in result.movements] == [(3, "out"), (4, "in")]


def test_a_reason_of_a_path_that_two_fields_share_names_the_one_that_rejects() -> None:
    fields = {
        "units_moved": {"path": "qty", "sign": "abs"},
        "direction": {"path": "qty", "negative": "out"},
    }
    (letter,) = validate({**RECORD, "qty": "x"}, fields=fields).dead_letters
    assert [str(reason).split(":")[0] for reason in letter.reasons] == ["units_moved (qty)"]


@pytest.mark.parametrize(
    ("direction", "message"),
    [
        ("type", "give the values that mean in or out"),
        ({"path": "type", "in": ["A"], "out": ["A"]}, "cannot mean both"),
        ({"path": "qty", "negative": "out", "in": ["A"]}, "give the values"),
        ({"const": "sideways"}, "must be in, out or absent"),
    ],
)
def test_a_direction_has_one_form(direction: Any, message: str) -> None:
    with pytest.raises(SpecError, match=message):
        reader(fields={"direction": direction})


@pytest.mark.parametrize(
    ("value", "spec", "stored"),
    [
        ("ab-1", {"case": "upper"}, "AB-1"),
        ("AB-1", {"case": "lower", "pattern": "[a-z0-9-]+"}, "ab-1"),
        (" A-1\t", {"strip": True}, "A-1"),
        (" ab ", {"case": "upper", "strip": True}, "AB"),
        ("straße", {"case": "upper", "pattern": "any"}, "STRASSE"),
        ("ab.c/1 %", {"pattern": "any"}, "ab.c/1 %"),
        ("=1+1", {"pattern": "any"}, "=1+1"),
        ("x" * 255, {"pattern": "any"}, "x" * 255),
        (17, {"pattern": r"\d{2}"}, "17"),
        ("a{b}", {"pattern": r"a\{b\}"}, "a{b}"),
    ],
)
def test_a_sku_is_read_as_its_spec_says(value: Any, spec: dict[str, Any], stored: str) -> None:
    assert row_of({"sku_id": value}, fields={"sku_id": {"path": "sku_id", **spec}}).sku_id == stored


@pytest.mark.parametrize(
    ("value", "spec", "message"),
    [
        ("ab", {}, "must contain only A-Z"),
        (" A ", {}, "must contain only A-Z"),
        ("ß" * 128, {"case": "upper", "pattern": "any"}, "must be printable"),
        ("", {"pattern": "any"}, "must be printable"),
        ("  ", {"pattern": "any"}, "must be printable"),
        ("x" * 256, {"pattern": "any"}, "at most 255"),
        ("a\x00", {"pattern": "any"}, "must be printable"),
        ("a\n", {"pattern": "any"}, "must be printable"),
        ("a\u202eb", {"pattern": "any"}, "must be printable"),
        ("a\u00a0b", {"pattern": "any"}, "must be printable"),
        ("a\ue000", {"pattern": "any"}, "must be printable"),
        ("abcd", {"pattern": "abc"}, "must match abc"),
        ("xabc", {"pattern": "abc|x"}, "must match abc|x"),
        ("abc\n", {"pattern": "abc"}, "must match abc"),
        ("a\nb", {"pattern": "(?s)a.b"}, "must match"),
        ("a\nc", {"pattern": "(?m)a$|c"}, "must match"),
        ("x" * 256, {"pattern": "x+"}, "at most 255"),
        ("a{c}", {"pattern": r"a\{b\}"}, r"must match a\{b\};"),
        (True, {"pattern": "any"}, "must be printable"),
        (None, {"pattern": "any", "strip": True}, "must be printable"),
    ],
)
def test_any_other_sku_is_rejected_with_its_rule(value: Any, spec: dict[str, Any], message: str) -> None:
    assert message in reason_of({"sku_id": value}, fields={"sku_id": {"path": "sku_id", **spec}})


@pytest.mark.parametrize("pattern", ["(", "a)(b", "(?=a)b", r"(a)\1", "(a{1000}){1000}", "(?x)a # b", "["])
def test_a_pattern_that_is_no_regular_expression_is_a_wrong_spec(pattern: str) -> None:
    with pytest.raises(SpecError, match=r"fields.sku_id.pattern: .* is not a regular expression"):
        spec_of(fields={"sku_id": {"path": "sku_id", "pattern": pattern}})


def test_a_constant_sku_obeys_the_pattern() -> None:
    assert row_of({}, fields={"sku_id": {"const": "b 2", "pattern": "any"}}).sku_id == "b 2"
    with pytest.raises(SpecError, match=r"fields.sku_id.const: 'b 2': must match b2"):
        reader(fields={"sku_id": {"const": "b 2", "pattern": "b2"}})


def master(unknown_sku: UnknownSku) -> Master:
    of = MasterVersion(source="erp", version="v1", unknown_sku=unknown_sku)
    return Master(of, Names({"AB/1": "AB/1", "alias 1": "AB/1"}, {}))


@pytest.mark.parametrize(
    ("value", "spec", "unknown_sku", "sku"),
    [
        ("ab/1", {"case": "upper"}, UnknownSku.REJECT, "AB/1"),
        (" alias 1", {"strip": True}, UnknownSku.REJECT, "AB/1"),
        ("other one", {"pattern": "any"}, UnknownSku.PASS, "other one"),
        ("other one", {"pattern": "[a-z ]+"}, UnknownSku.PASS, "other one"),
    ],
)
def test_a_master_maps_the_sku_as_its_spec_reads_it(
    value: str, spec: dict[str, Any], unknown_sku: UnknownSku, sku: str
) -> None:
    fields = {"sku_id": {"path": "sku_id", **spec}}
    assert row_of({"sku_id": value}, fields=fields, master=master(unknown_sku)).sku_id == sku


@pytest.mark.parametrize(
    ("pattern", "message"), [("any", "must be printable"), ("[A-Z]+", r"must match [A-Z]+")]
)
def test_a_name_that_the_master_does_not_know_obeys_the_pattern(pattern: str, message: str) -> None:
    fields = {"sku_id": {"path": "sku_id", "pattern": pattern}}
    assert message in reason_of({"sku_id": "a\tb"}, fields=fields, master=master(UnknownSku.PASS))


@pytest.mark.parametrize(
    ("value", "spec", "stored"),
    [
        (2, {"factor": 12}, 24),
        ("0.5", {"factor": 12}, 6),
        (0.1, {"factor": 10}, 1),
        ("1.10", {"factor": 100}, 110),
        (3, {"factor": "0.1", "rounding": "up"}, 1),
        (4, {"factor": 0.1, "rounding": "nearest"}, 0),
        (5, {"factor": 0.1, "rounding": "nearest"}, 1),
        ("2.5", {"rounding": "nearest"}, 3),
        ("2.4999999999999999999999999999999999999999", {"rounding": "nearest"}, 2),
        ("2.0000000000000000000000000000000000000001", {"rounding": "up"}, 3),
        (-2, {"factor": 12, "sign": "negate"}, 24),
        ("-2.5", {"sign": "negate", "rounding": "nearest"}, 3),
        (-2, {"factor": 12, "sign": "abs"}, 24),
        (0, {"factor": 12}, 0),
        ("-0.0", {"factor": 12}, 0),
        ("1e3", {"factor": 1, "rounding": "up"}, 1000),
        (2**63 - 1, {"rounding": "up"}, 2**63 - 1),
        (" 7 ", {"factor": 2}, 14),
    ],
)
def test_units_are_converted_exactly(value: Any, spec: dict[str, Any], stored: int) -> None:
    assert units(value, **spec) == stored


@pytest.mark.parametrize(
    ("value", "spec", "message"),
    [
        (1, {"factor": "0.1"}, "must be a whole number of units, once multiplied by the factor, 0 or more"),
        (0.30000000000000004, {"factor": 10}, "must be a whole number"),
        ("1.0000000000000000000000000000000000000000001", {"sign": "abs"}, "must be a whole number"),
        (-1, {"factor": 12}, "0 or more"),
        (-0.3, {"rounding": "nearest"}, "must be a number of units, 0 or more"),
        (0.3, {"rounding": "nearest", "sign": "negate"}, "0 or less: sign is negate"),
        (2**62, {"factor": 2}, "must be"),
        (2.0**60, {"sign": "abs"}, "must be"),
        ("1e999999999", {"factor": 2}, "must be"),
        ("1e-999999999", {"factor": 2, "rounding": "up"}, "must be"),
        ("9" * 1000, {"factor": 2}, "must be"),
        ("1_000", {"factor": 2}, "must be"),
        ("\u0663", {"factor": 2}, "must be"),
        ("NaN", {"factor": 2}, "must be"),
        ("Infinity", {"rounding": "up"}, "must be"),
        (True, {"factor": 2}, "must be"),
        (None, {"factor": 2}, "must be"),
        ([], {"factor": 2}, "must be"),
        ("", {"factor": 2}, "must be"),
    ],
)
def test_units_that_cannot_be_converted_are_rejected(value: Any, spec: dict[str, Any], message: str) -> None:
    fields = {"units_moved": {"path": "units_moved", **spec}}
    assert message in reason_of({"units_moved": value}, fields=fields)


@pytest.mark.parametrize(
    ("value", "unit", "stored"),
    [(2, "EA", 2), (2, "CS", 24), ("2.5", "CS", 30), (2, 7, 1), (2, "7", 1), (2, 7.0, 1)],
)
def test_the_factor_may_depend_on_the_unit_of_measure(value: Any, unit: Any, stored: int) -> None:
    assert row_of({"units_moved": value, "uom": unit}, fields={"units_moved": FACTOR}).units_moved == stored


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"uom": "PAL"},
            "units_moved: the unit of measure PAL (uom) is not in fields.units_moved.factor.values",
        ),
        ({"uom": "ea"}, "units_moved: the unit of measure ea (uom) is not in"),
        ({"uom": "{x}\x1b[31m"}, "the unit of measure {x}\ufffd[31m (uom)"),
        ({"uom": "U" * 999}, f"{'U' * 40}… (999 characters) (uom)"),
        ({"uom": True}, "the unit of measure True (uom)"),
        ({"uom": []}, "the unit of measure [] (uom)"),
        ({"uom": None}, "units_moved: has no unit of measure at uom"),
        ({}, "units_moved: has no unit of measure at uom"),
        ({"uom": 7, "units_moved": 1}, "once multiplied by the factor"),
    ],
)
def test_an_unknown_unit_of_measure_is_a_reject(change: dict[str, Any], message: str) -> None:
    assert message in reason_of(change, fields={"units_moved": FACTOR})


def test_every_reason_of_a_record_is_given() -> None:
    fields = {"units_moved": FACTOR, "movement_type": "type"}
    found = reason_of({"uom": "PAL", "sku_id": "!", "type": []}, fields=fields)
    assert all(name in found for name in ("sku_id", "units_moved", "movement_type (type)"))


@pytest.mark.parametrize(
    ("factor", "message"),
    [
        (0, "greater than 0"),
        (-1, "greater than 0"),
        (float("inf"), "finite"),
        (10**30, "at most 20 digits"),
        ({"by": "uom", "values": {}}, "must have at least 1 of them"),
        ({"by": "uom", "values": {261: 1, "261": 2}}, "261 is given twice"),
        ({"by": "uom", "values": {True: 1}}, "text or a whole number"),
        ({"by": "uom", "values": {"EA": 0}}, "greater than 0"),
        ({"values": {"EA": 1}}, "by: is missing"),
    ],
)
def test_a_wrong_factor_is_a_wrong_spec(factor: Any, message: str) -> None:
    with pytest.raises(SpecError, match=message):
        spec_of(fields={"units_moved": {"path": "qty", "factor": factor}})


def test_a_constant_is_in_base_units() -> None:
    with pytest.raises(SpecError, match="a constant is in base units"):
        spec_of(fields={"units_moved": {"const": 1, "factor": 12}})


@pytest.mark.parametrize(
    ("value", "stored"),
    [
        (1.10, '{"lot":1.1}'),
        ("é\n\"'<b>=1+1", '{"lot":"é\\n\\"\'<b>=1+1"}'),
        ({"b": [1, None, True], "a": "NaN"}, '{"lot":{"b":[1,null,true],"a":"NaN"}}'),
        ("\\u0000", '{"lot":"\\\\u0000"}'),
        (False, '{"lot":false}'),
        ("x" * (MAX_BYTES - 10), f'{{"lot":"{"x" * (MAX_BYTES - 10)}"}}'),
    ],
)
def test_an_extra_field_is_stored_as_json(value: Any, stored: str) -> None:
    assert row_of({"lot_no": value}, extra={"lot": "lot_no"}).extra == stored


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("x" * (MAX_BYTES - 9), "extra: is over 4096 bytes as JSON"),
        ("é" * (MAX_BYTES // 2), "extra: is over 4096 bytes as JSON"),
        ("a\x00b", "extra: contains NUL"),
        ("\\\x00", "extra: contains NUL"),
        ({"a": float("nan")}, "extra: contains NUL, NaN or Infinity"),
        ([float("-inf")], "extra: contains NUL, NaN or Infinity"),
    ],
)
def test_an_extra_field_that_cannot_be_stored_is_a_reject(value: Any, message: str) -> None:
    result = validate(
        RECORD, {**RECORD, "lot_no": value}, {**RECORD, "lot_no": 1}, extra={"lot": "lot_no", "z": "z"}
    )
    assert [row.position for row in result.movements] == [0, 2]
    (letter,) = result.dead_letters
    assert letter.position == 1 and message in str(letter.reasons[0])
    assert json.loads(letter.record_json)["sku_id"] == "A-1"


def test_extra_fields_are_in_the_order_of_their_names() -> None:
    change = {"lot_no": 1, "user": {"name": "x"}}
    assert row_of(change, **DETAILED).extra == '{"by":"x","lot":1}'


def test_what_a_field_is_read_from_is_not_drift() -> None:
    parts = {**DETAILED, "fields": {**DETAILED["fields"], "units_moved": {**FACTOR, "path": "units_moved"}}}
    change = {"uom": "EA", "lot_no": 1, "user": {}, "bin": "A", "order": {}, "type": "PICK", "new": 1}
    assert validate({**RECORD, **change}, **parts).extra_fields == {"new": 1}


CONVERSIONS: dict[str, dict[str, Any]] = {
    "types": {"fields": {"movement_type": "type"}, "types": {"pick": ["PICK"]}},
    "case": {"fields": {"movement_type": "type", "sku_id": {"path": "sku_id", "case": "lower", "strip": True,
                                                            "pattern": "any"}}},
    "pattern": {"fields": {"movement_type": "type", "sku_id": {"path": "sku_id", "pattern": "x"}}},
    "rounding": {"fields": {"movement_type": "type", "units_moved": {"path": "units_moved",
                                                                     "rounding": "up"}}},
    "factor": {"fields": {"movement_type": "type", "units_moved": {"path": "units_moved", "factor": 3}}},
}  # fmt: skip


@pytest.mark.parametrize("parts", CONVERSIONS.values(), ids=CONVERSIONS.keys())
@pytest.mark.parametrize("ids", [{"movement_id": "id"}, {}], ids=["ids", "no ids"])
@pytest.mark.parametrize("kind", ["PICK", 261, 261.0, None])
def test_a_fingerprint_is_of_what_was_received(parts: dict[str, Any], ids: dict[str, str], kind: Any) -> None:
    body = json.dumps([{**RECORD, "id": 1, "type": kind}]).encode()
    plain = reader(fields={"movement_type": "type"} | ids)
    changed = reader(**{**parts, "fields": parts["fields"] | ids})
    assert plain.fingerprint(plain.read(body), slice(1)) == changed.fingerprint(changed.read(body), slice(1))


@pytest.mark.parametrize(
    ("parts", "key"),
    [
        ({"fields": {"movement_type": "x"}}, "x"),
        ({"fields": {"direction": {"path": "x", "out": ["a"]}}}, "x"),
        (
            {"fields": {"units_moved": {"path": "units_moved", "factor": {"by": "x", "values": {"b": 1}}}}},
            "x",
        ),
        ({"extra": {"lot": "x"}}, "x"),
    ],
)
def test_a_value_that_is_mapped_is_part_of_the_fingerprint(parts: dict[str, Any], key: str) -> None:
    fields = {"movement_id": "id", **parts.get("fields", {})}
    pages = reader(**{**parts, "fields": fields})
    bodies = [json.dumps([{**RECORD, "id": 1, key: value}]).encode() for value in ("a", "b", "c")]
    assert len({pages.fingerprint(pages.read(body), slice(1)) for body in bodies}) == 3


TEXTS = st.one_of(
    st.text(max_size=5),
    st.sampled_from(["PICK", "261", "EA", "CS", "A-1", "ab c", " A ", "x" * 255, "x" * 256, "\x00", "1.5"]),
)
VALUES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**64), 2**64),
    st.floats(),
    TEXTS,
    st.lists(st.none(), max_size=1),
    st.dictionaries(TEXTS, TEXTS, max_size=2),
)
KEYS = ("sku_id", "units_moved", "type", "order", "bin", "uom", "lot_no", "user")
SKU_SPECS = st.fixed_dictionaries(
    {"path": st.just("sku_id")},
    optional={
        "case": st.sampled_from(["as_is", "upper", "lower"]),
        "strip": st.booleans(),
        "pattern": st.sampled_from(["any", "[a-z ]+", "^[A-Z0-9-]+$"]),
    },
)
UNIT_SPECS = st.fixed_dictionaries(
    {"path": st.just("units_moved")},
    optional={
        "sign": st.sampled_from(["as_is", "negate", "abs"]),
        "rounding": st.sampled_from(["reject", "nearest", "up"]),
        "factor": st.sampled_from([1, "0.25", 12, FACTOR["factor"]]),
    },
)


CHANGES = st.fixed_dictionaries({}, optional=dict.fromkeys(KEYS, VALUES))
REMOVED = st.sets(st.sampled_from(sorted(RECORD)), max_size=1)


@given(st.lists(st.tuples(CHANGES, REMOVED), min_size=1, max_size=4), SKU_SPECS, UNIT_SPECS, st.booleans())
def test_a_page_by_columns_and_its_records_one_by_one_are_judged_alike(
    changes: list[tuple[dict[str, Any], set[str]]],
    sku: dict[str, Any],
    unit: dict[str, Any],
    directed_by_sign: bool,
) -> None:
    """A page with a record that cannot be parsed is read record by record."""
    fields = {**DETAILED["fields"], "sku_id": sku, "units_moved": unit}
    if directed_by_sign:
        fields["direction"] = {"path": "units_moved", "negative": "out"}
    parts = {**DETAILED, "fields": fields}
    records = [
        {key: value for key, value in {**RECORD, **change}.items() if key not in removed}
        for change, removed in changes
    ]
    text = ", ".join(map(json.dumps, records))
    pages = reader(**parts)
    hard = f'[{text}, {{"deep": {"[" * 300}{"]" * 300}}}]'
    by_columns, one_by_one = (pages.read(body.encode()) for body in (f"[{text}]", hard))
    results = [pages.validate(raw, Page(0, len(raw.records))) for raw in (by_columns, one_by_one)]
    assert repr([*results[0].movements]) == repr([*results[1].movements])
    assert results[0].dead_letters == results[1].dead_letters[:-1]
    assert results[0].extra_fields == results[1].extra_fields
    assert results[0].unloaded_ids == results[1].unloaded_ids
    loaded = results[0]
    assert len(loaded.movements) + len(loaded.dead_letters) + loaded.filtered + loaded.trimmed == len(records)
    whole = slice(len(records))
    assert pages.fingerprint(by_columns, whole) == pages.fingerprint(one_by_one, whole)

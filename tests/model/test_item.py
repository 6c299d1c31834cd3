"""A master's records are converted to items according to the spec."""

from __future__ import annotations

import json
from typing import Any

import pytest

from sku_velocity.errors import SpecError
from sku_velocity.model.chunk import Page, PageResult
from sku_velocity.model.movement import ItemRow
from sku_velocity.model.window import Window
from sku_velocity.source.spec import SourceSpec, parse_spec
from sku_velocity.source.validation import PageReader

RECORD: dict[str, Any] = {"sku_id": "A-1", "status": "active"}


def spec(items: dict[str, Any], **parts: Any) -> SourceSpec:
    return parse_spec({"name": "erp", "base_url": "http://erp.test", "items": items, **parts}, "test")


def validate(*records: Any, **items: Any) -> PageResult:
    reader = PageReader(spec(items), "", Window.everything())
    return reader.validate(reader.read(json.dumps(records).encode()), Page(0, len(records)))


def item(change: dict[str, Any], **items: Any) -> ItemRow:
    """Return the item that a record yields."""
    result = validate({**RECORD, **change}, **items)
    assert not result.dead_letters, result.dead_letters
    return result.items[0]


def reason(change: dict[str, Any], **items: Any) -> str:
    result = validate({**RECORD, **change}, **items)
    return "; ".join(map(str, result.dead_letters[0].reasons))


def test_an_item_has_an_id_a_status_and_optional_fields() -> None:
    assert item({}) == (0, "A-1", "active", None, None, None, None, None, ())
    record = {"text": "Lamp", "m3": "0.02", "kg": 1, "case": "12", "pallet": 480.0, "code": {"now": "B-2"}}
    fields = {"sku_id": "code.now", "description": "text", "unit_volume": "m3", "weight": "kg"}
    packs = {"units_per_case": "case", "units_per_pallet": "pallet"}
    assert item(record, **fields, **packs) == (0, "B-2", "active", "Lamp", 0.02, 1.0, 12, 480, ())
    assert item({"case": None}, **packs).units_per_case is None


@pytest.mark.parametrize(
    ("value", "form"),
    [
        (["ean 1", 2, "ean 1", "", " ", None, "A-1"], {"path": "names"}),
        ([{"code": {"text": "ean 1"}}, {"code": {"text": 2}}, {}], {"path": "names", "each": "code.text"}),
        ("ean 1 ; 2;;A-1", {"path": "names", "split": ";"}),
    ],
)
def test_aliases_are_a_list_objects_or_one_string(value: Any, form: dict[str, str]) -> None:
    assert item({"names": value}, aliases=form).aliases == ("ean 1", "2")


@pytest.mark.parametrize("change", [{}, {"names": None}, {"names": []}])
def test_an_item_may_have_no_aliases(change: dict[str, Any]) -> None:
    assert item(change, aliases="names").aliases == ()


@pytest.mark.parametrize(
    ("value", "form", "message"),
    [
        ("one text", {"path": "names"}, "aliases (names): must be a list of names"),
        (
            ["a"],
            {"path": "names", "split": ";"},
            "aliases (names): must be one string of names separated by ';'",
        ),
        ([["a"]], {"path": "names"}, "each name must be a string"),
        ([True], {"path": "names"}, "each name must be a string"),
        (["a\x00"], {"path": "names"}, "each name must be a string"),
    ],
)
def test_aliases_of_another_form_are_rejected(value: Any, form: dict[str, str], message: str) -> None:
    assert message in reason({"names": value}, aliases=form)


@pytest.mark.parametrize(
    ("meanings", "value", "status"),
    [
        ({"active": ["A", "B"], "retired": ["X"]}, "B", "active"),
        ({"active": ["A", "B"], "retired": ["X"]}, "X", "retired"),
        ({"retired": [True]}, True, "retired"),
        ({"retired": [True]}, None, "active"),
        ({"active": [1]}, 0, "retired"),
    ],
)
def test_the_spec_defines_the_meaning_of_status_values(
    meanings: dict[str, Any], value: Any, status: str
) -> None:
    assert item({"status": value}, status={"path": "status", **meanings}).status == status


@pytest.mark.parametrize("value", ["Z", None, 3, ["active"], {}])
def test_an_undefined_status_value_is_rejected(value: Any) -> None:
    assert reason({"status": value}) == "status: must be one of active (active), retired (retired)"


def test_a_status_may_be_constant() -> None:
    assert item({}, status={"const": "active"}).status == "active"
    with pytest.raises(SpecError, match="const: 'gone'"):
        item({}, status={"const": "gone"})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"sku_id": "lower"}, "sku_id: must contain only"),
        ({"volume": -1}, "unit_volume (volume): must be a number, 0 or more"),
        ({"volume": "1,5"}, "unit_volume (volume): must be a number"),
        ({"text": ["no"]}, "description (text): must be a string"),
        ({"kg": "heavy"}, "weight (kg): must be a number, 0 or more"),
        ({"kg": -0.5}, "weight (kg): must be a number, 0 or more"),
        ({"kg": "NaN"}, "weight (kg): must be a number, 0 or more"),
        *(
            ({"case": value}, "units_per_case (case): must be a whole number, 1 or more")
            for value in (0, -12, 1.5, "12.5", "a dozen", True, 2**63)
        ),
        ({"pallet": 0}, "units_per_pallet (pallet): must be a whole number, 1 or more"),
    ],
)
def test_an_item_that_breaks_a_rule_is_a_dead_letter(change: dict[str, Any], message: str) -> None:
    packs = {"weight": "kg", "units_per_case": "case", "units_per_pallet": "pallet"}
    assert message in reason(change, unit_volume="volume", description="text", **packs)


@pytest.mark.parametrize(
    ("items", "message"),
    [
        ({"status": "state"}, "give the values that mean active"),
        ({"status": {"path": "s", "active": [1], "retired": [1]}}, "cannot mean both"),
        ({"aliases": {"join": ["a", "b"]}}, "are read from a path"),
        ({"aliases": {"path": "a", "each": "b", "split": ";"}}, "not both"),
        ({"colour": "red"}, "items.colour"),
    ],
)
def test_a_spec_error_names_the_field(items: dict[str, Any], message: str) -> None:
    with pytest.raises(SpecError, match=message):
        spec(items)


def test_a_source_has_movements_or_items() -> None:
    with pytest.raises(SpecError, match="not both"):
        spec({}, fields={"sku_id": "code"})
    assert spec({"sku_id": "id"}, preset="drf").fields.movement_id is None


def test_fingerprints_depend_only_on_mapped_fields() -> None:
    reader = PageReader(spec({}), "", Window.everything())

    def mark(**record: Any) -> str | None:
        raw = reader.read(json.dumps([{**RECORD, **record}]).encode())
        return reader.fingerprint(raw, slice(None))

    assert mark(seen=1) == mark(seen=2) != mark(status="retired")


def test_a_field_that_is_not_mapped_is_ignored() -> None:
    assert item({"weight": "heavy", "units_per_case": 0}).weight is None

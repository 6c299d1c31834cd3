"""A master's records are read into items as the spec describes them."""

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
    """The one item that a record comes to."""
    result = validate({**RECORD, **change}, **items)
    assert not result.dead_letters, result.dead_letters
    return result.items[0]


def reason(change: dict[str, Any], **items: Any) -> str:
    result = validate({**RECORD, **change}, **items)
    return "; ".join(map(str, result.dead_letters[0].reasons))


def test_an_item_has_an_id_and_a_status_and_may_have_more() -> None:
    assert item({}) == (0, "A-1", "active", None, None, ())
    told = {"text": "Lamp", "m3": "0.02", "code": {"now": "B-2"}}
    fields = {"sku_id": "code.now", "description": "text", "unit_volume": "m3"}
    assert item(told, **fields) == (0, "B-2", "active", "Lamp", 0.02, ())


@pytest.mark.parametrize(
    ("told", "form"),
    [
        (["ean 1", 2, "ean 1", "", " ", None, "A-1"], {"path": "names"}),
        ([{"code": {"text": "ean 1"}}, {"code": {"text": 2}}, {}], {"path": "names", "each": "code.text"}),
        ("ean 1 ; 2;;A-1", {"path": "names", "split": ";"}),
    ],
)
def test_aliases_are_a_list_or_objects_or_one_text(told: Any, form: dict[str, str]) -> None:
    assert item({"names": told}, aliases=form)[5] == ("ean 1", "2")


@pytest.mark.parametrize("change", [{}, {"names": None}, {"names": []}])
def test_an_item_may_have_no_other_name(change: dict[str, Any]) -> None:
    assert item(change, aliases="names")[5] == ()


@pytest.mark.parametrize(
    ("told", "form", "why"),
    [
        ("one text", {"path": "names"}, "names: must be a list of names"),
        (["a"], {"path": "names", "split": ";"}, "names: must be one text of names with ';' between"),
        ([["a"]], {"path": "names"}, "each name must be a text"),
        ([True], {"path": "names"}, "each name must be a text"),
        (["a\x00"], {"path": "names"}, "each name must be a text"),
    ],
)
def test_names_of_another_form_are_a_reject(told: Any, form: dict[str, str], why: str) -> None:
    assert why in reason({"names": told}, aliases=form)


@pytest.mark.parametrize(
    ("meanings", "told", "status"),
    [
        ({"active": ["A", "B"], "retired": ["X"]}, "B", "active"),
        ({"active": ["A", "B"], "retired": ["X"]}, "X", "retired"),
        ({"retired": [True]}, True, "retired"),
        ({"retired": [True]}, None, "active"),
        ({"active": [1]}, 0, "retired"),
    ],
)
def test_the_spec_says_which_values_mean_what(meanings: dict[str, Any], told: Any, status: str) -> None:
    assert item({"status": told}, status={"path": "status", **meanings})[2] == status


@pytest.mark.parametrize("told", ["Z", None, 3, ["active"], {}])
def test_a_value_that_means_neither_is_a_reject(told: Any) -> None:
    assert reason({"status": told}) == "status: must be one of active (active), retired (retired)"


def test_a_status_may_be_the_same_for_all() -> None:
    assert item({}, status={"const": "active"})[2] == "active"
    with pytest.raises(SpecError, match="const: 'gone'"):
        item({}, status={"const": "gone"})


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"sku_id": "lower"}, "sku_id: must be made of"),
        ({"volume": -1}, "volume: must be a number, 0 or more"),
        ({"volume": "1,5"}, "volume: must be a number"),
        ({"text": ["no"]}, "text: must be a text"),
    ],
)
def test_an_item_that_breaks_a_rule_is_a_dead_letter(change: dict[str, Any], why: str) -> None:
    assert why in reason(change, unit_volume="volume", description="text")


@pytest.mark.parametrize(
    ("items", "told"),
    [
        ({"status": "state"}, "give the values that mean active"),
        ({"status": {"path": "s", "active": [1], "retired": [1]}}, "cannot mean both"),
        ({"aliases": {"join": ["a", "b"]}}, "stand at a path"),
        ({"aliases": {"path": "a", "each": "b", "split": ";"}}, "not both"),
        ({"colour": "red"}, "items.colour"),
    ],
)
def test_a_wrong_description_names_the_field(items: dict[str, Any], told: str) -> None:
    with pytest.raises(SpecError, match=told):
        spec(items)


def test_a_source_holds_movements_or_items() -> None:
    with pytest.raises(SpecError, match="not both"):
        spec({}, fields={"sku_id": "code"})
    assert spec({"sku_id": "id"}, preset="drf").fields.movement_id is None


def test_the_seam_of_two_pages_is_told_by_what_the_master_reads() -> None:
    reader = PageReader(spec({}), "", Window.everything())

    def mark(**record: Any) -> str | None:
        raw = reader.read(json.dumps([{**RECORD, **record}]).encode())
        return reader.fingerprint(raw, slice(None))

    assert mark(seen=1) == mark(seen=2) != mark(status="retired")

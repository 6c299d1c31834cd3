"""Movements are mapped to the canonical SKUs of a master, or rejected with the reason."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sku_velocity.model.chunk import Page, PageResult
from sku_velocity.model.master import Master, Names
from sku_velocity.model.run import MasterVersion, UnknownSku
from sku_velocity.model.window import Window
from sku_velocity.source.spec import parse_spec
from sku_velocity.source.validation import PageReader

MOVEMENT = {"warehouse_id": "WH-01", "units_moved": 1, "timestamp_utc": "2026-03-01T08:30:00Z"}
NAMES = Names({"A-1": "A-1", "ean 1": "A-1", "17": "A-1"}, {"OLD": "OLD", "old one": "OLD"})


def validate(*skus: Any, names: Names = NAMES, unknown: str = "reject", **parts: Any) -> PageResult:
    master = Master(MasterVersion(source="erp", version="1", unknown_sku=UnknownSku(unknown)), names)
    spec = parse_spec({"name": "acme", "base_url": "http://wms.test", **parts}, "test")
    reader = PageReader(spec, "WH-01", Window.everything(), master)
    records = [{**MOVEMENT, "sku_id": sku} for sku in skus]
    return reader.validate(reader.read(json.dumps(records).encode()), Page(100, len(records)))


def skus(result: PageResult) -> list[str]:
    return [row.sku_id for row in result.movements]


def reasons(result: PageResult) -> list[str]:
    return [str(reason) for letter in result.dead_letters for reason in letter.reasons]


def test_every_name_of_an_item_maps_to_its_canonical_id() -> None:
    result = validate("A-1", "ean 1", 17)
    assert skus(result) == ["A-1"] * 3 and not result.dead_letters and not result.unknown_skus


def test_an_unknown_and_a_retired_sku_are_rejected_with_the_reason() -> None:
    result = validate("A-1", "B-2", "old one", "B-2")
    assert reasons(result) == [
        "sku_id: is not known to the master erp",
        "sku_id: is retired in the master erp",
        "sku_id: is not known to the master erp",
    ]
    assert [letter.position for letter in result.dead_letters] == [101, 102, 103]
    assert json.loads(result.dead_letters[1].record_json)["sku_id"] == "old one"
    assert result.unknown_skus == {"B-2": 2}


def test_the_pass_policy_accepts_unknown_and_retired_skus() -> None:
    result = validate("ean 1", "B-2", "old one", unknown="pass")
    assert skus(result) == ["A-1", "B-2", "OLD"] and result.unknown_skus == {"B-2": 1}


def test_an_unknown_name_that_is_not_a_valid_sku_is_always_rejected() -> None:
    result = validate("b 2", unknown="pass")
    assert reasons(result) == ["sku_id: must contain only A-Z, 0-9 and '-', at most 255 characters"]
    assert result.unknown_skus == {"b 2": 1}


@pytest.mark.parametrize("sku", ["", " ", None, True, ["A-1"]])
def test_an_invalid_name_is_rejected_before_the_lookup(sku: Any) -> None:
    result = validate(sku)
    assert (
        reasons(result) == ["sku_id: must be a non-empty string of at most 255 characters"]
        and not result.unknown_skus
    )


def test_a_record_out_of_scope_is_trimmed_for_any_sku() -> None:
    spec = parse_spec({"name": "acme", "base_url": "http://wms.test"}, "test")
    master = Master(MasterVersion(source="erp", version="1"), NAMES)
    reader = PageReader(spec, "WH-02", Window.everything(), master)
    raw = reader.read(json.dumps([{**MOVEMENT, "sku_id": "B-2"}]).encode())
    result = reader.validate(raw, Page(0, 1))
    assert (result.trimmed, result.dead_letters, result.unknown_skus) == (1, [], {})


def test_a_constant_sku_is_mapped() -> None:
    assert skus(validate("x", "y", fields={"sku_id": {"const": "ean 1"}})) == ["A-1", "A-1"]


name = st.text(st.characters(exclude_categories=("Cs", "Cc")), min_size=1).filter(str.strip)
sku_id = st.text("ABC019-", min_size=1, max_size=4)


@given(
    st.dictionaries(name, sku_id, max_size=6),
    st.dictionaries(name, sku_id, max_size=6),
    st.lists(name | sku_id, max_size=12),
    st.sampled_from(UnknownSku),
    st.randoms(),
)
def test_a_movement_gets_the_canonical_id_or_is_a_dead_letter(
    active: dict[str, str], retired: dict[str, str], reported: list[str], unknown: UnknownSku, chance: Any
) -> None:
    names = Names({key: sku for key, sku in active.items() if key not in retired}, retired)
    reported += chance.sample([*active, *retired], min(3, len({*active, *retired})))
    result = validate(*reported, names=names, unknown=unknown)
    accepted = {**names.active} | (retired if unknown is UnknownSku.PASS else {})
    loaded = {row.position: row.sku_id for row in result.movements}
    rejected = {letter.position for letter in result.dead_letters}
    assert loaded.keys() | rejected == set(range(100, 100 + len(reported))) and not loaded.keys() & rejected
    for position, sku in loaded.items():
        original = reported[position - 100]
        assert accepted.get(original, original if unknown is UnknownSku.PASS else None) == sku
    assert not any(reported[position - 100] in accepted for position in rejected)
    assert sum(result.unknown_skus.values()) == sum(sku not in {*names.active, *retired} for sku in reported)

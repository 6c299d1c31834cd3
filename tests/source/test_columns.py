"""A page of items by columns is judged as its records are one by one."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from sku_velocity.model.chunk import Page
from sku_velocity.model.window import Window
from sku_velocity.source.spec import parse_spec
from sku_velocity.source.validation import PageReader

ITEMS = {
    "sku_id": "code",
    "aliases": {"path": "aliases", "split": ","},
    "status": {"path": "status", "active": ["A", 1], "retired": ["R"]},
    "description": "text",
    "unit_volume": "volume.each",
    "weight": "weight",
    "units_per_case": ["case", "pack"],
    "units_per_pallet": "pallet",
}
RECORD = {"code": "AB-1", "status": "A", "text": "a bolt"}
NUMBERS = st.sampled_from(["1.5", "1e3", " 7", "1_0", "6.0", "0x1", "٣", "inf", "nan", "-1"])
PLAIN = st.none() | st.booleans() | st.integers(-5, 10**20) | st.floats() | st.text(max_size=4)
NESTED = st.lists(st.integers(), max_size=2) | st.dictionaries(st.sampled_from(["each", "0"]), PLAIN)
VALUES = PLAIN | NUMBERS | st.sampled_from(["A", "R", "a,b"]) | NESTED
KEYS = ("code", "aliases", "status", "text", "volume", "weight", "case", "pack", "pallet", "other")
CHANGES = st.fixed_dictionaries({}, optional=dict.fromkeys(KEYS, VALUES))


@given(
    st.lists(st.tuples(CHANGES, st.sets(st.sampled_from(sorted(RECORD)), max_size=1)), min_size=1, max_size=4)
)
def test_items_by_columns_and_one_by_one_are_judged_alike(
    changes: list[tuple[dict[str, Any], set[str]]],
) -> None:
    """A page with a record that cannot be parsed is read record by record."""
    spec = parse_spec({"name": "erp", "base_url": "http://127.0.0.1", "items": ITEMS}, "test")
    pages = PageReader(spec, "", Window.everything())
    records = [
        {key: value for key, value in {**RECORD, **change}.items() if key not in removed}
        for change, removed in changes
    ]
    text = ", ".join(map(json.dumps, records))
    hard = f'[{text}, {{"deep": {"[" * 300}{"]" * 300}}}]'
    by_columns, one_by_one = (pages.read(body.encode()) for body in (f"[{text}]", hard))
    results = [pages.validate(raw, Page(0, len(raw.records))) for raw in (by_columns, one_by_one)]
    assert repr(results[0].items) == repr(results[1].items)
    assert results[0].dead_letters == results[1].dead_letters[:-1]
    assert results[0].extra_fields == results[1].extra_fields
    assert len(results[0].items) + len(results[0].dead_letters) == len(records)
    whole = slice(len(records))
    assert pages.fingerprint(by_columns, whole) == pages.fingerprint(one_by_one, whole)

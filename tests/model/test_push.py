"""Batches: the same records always yield the same key and the same bytes."""

from __future__ import annotations

import json

from hypothesis import given
from hypothesis import strategies as st

from sku_velocity.model.push import SkuFigures, class_batch, movement_batch
from tests.support.engine import some_rows


@given(st.integers(1, 20), st.integers(0, 5))
def test_a_key_identifies_run_place_and_content(count: int, first: int) -> None:
    batch = movement_batch("acme", "run-1", "3-0", some_rows(count, first))
    assert batch == movement_batch("acme", "run-1", "3-0", some_rows(count, first))
    others = [
        movement_batch("acme", "run-2", "3-0", some_rows(count, first)),
        movement_batch("acme", "run-1", "3-1", some_rows(count, first)),
        movement_batch("acme", "run-1", "3-0", some_rows(count + 1, first)),
    ]
    assert batch.key not in {other.key for other in others} and batch.key.startswith("run-1-3-0-")


def test_a_record_id_is_the_sources_or_its_position_in_the_run() -> None:
    (row,) = some_rows(1, first=7)
    without_id = row._replace(movement_id=None)
    batch = movement_batch("acme", "run-1", "0-0", [row, without_id])
    assert batch.ids == ["m-7", "run-1:7"]


def test_a_body_is_json_with_instants_in_utc() -> None:
    body = json.loads(movement_batch("acme", "run-1", "0-0", some_rows(1)).body)
    assert (body["source"], body["run"]) == ("acme", "run-1")
    assert body["records"] == [
        {
            "id": "m-0",
            "sku_id": "SKU-1",
            "warehouse_id": "WH-01",
            "units_moved": 1,
            "timestamp_utc": "2026-03-01T00:00:00Z",
        }
    ]


def test_a_class_that_returns_is_sent_with_another_key() -> None:
    once = [SkuFigures("WH-01", "SKU-1", {"xyz": "X"})]
    assert class_batch("acme", 0, once).key != class_batch("acme", 2, once).key
    assert class_batch("acme", 0, once).ids == ["WH-01/SKU-1"]


def test_the_ids_of_classes_are_unique_even_if_names_contain_slashes() -> None:
    pairs = [("A/B", "C"), ("A", "B/C"), ("A", "B%2FC"), ("A/B%2FC", "D"), ("A/B/C", "D")]
    classes = [SkuFigures(warehouse, sku, {"xyz": "X"}) for warehouse, sku in pairs]
    assert len(set(class_batch("acme", 0, classes).ids)) == len(pairs)
    assert class_batch("acme", 0, classes).ids[1] == "A/B%2FC"


def test_a_record_has_the_listed_details_in_their_order_after_the_others() -> None:
    (row,) = some_rows(1)
    row = row._replace(movement_type="pick", extra='{"lot": 1.10}')
    batch = movement_batch("acme", "run-1", "0-0", [row], ["extra", "order_id", "movement_type"])
    (record,) = json.loads(batch.body)["records"]
    assert list(record.items())[5:] == [
        ("extra", {"lot": 1.1}),
        ("order_id", None),
        ("movement_type", "pick"),
    ]
    assert movement_batch("acme", "run-1", "0-0", [row]) == movement_batch(
        "acme", "run-1", "0-0", some_rows(1)
    )

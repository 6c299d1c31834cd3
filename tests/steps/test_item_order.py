"""A master whose items come in no fixed order is proven only if each of its items is known by an id."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest

from sku_velocity.model.run import NO_WAREHOUSE, Verdict
from tests.support.scripted_server import Reply, answering
from tests.support.steps_driver import sync

PARTS = {"filter": [{"path": "kind", "in": ["part"]}]}
FILTERED = {"sku_id": "SKU-X", "status": "active", "kind": "service"}
REJECTED = {"sku_id": None, "status": "active", "kind": "part"}


def item(number: int) -> dict[str, Any]:
    return {"sku_id": f"SKU-{number}", "status": "active", "kind": "part"}


def read(store_url: str, twice: dict[str, Any], page_size: int = 10, **parts: Any) -> Verdict | None:
    """Read 25 items of which the first page and the later ones show one twice, in place of SKU-12."""

    def answer(path: str) -> Reply:
        query = dict(parse_qsl(urlsplit(path).query))
        offset, size = int(query["offset"]), int(query["limit"])
        items = [item(number) for number in range(25)]
        items[12 if offset or size > 25 else 5] = twice
        return Reply(body=json.dumps({"records": items[offset : offset + size], "total": 25}).encode())

    paging = {"page_size": page_size}
    with answering(answer) as server:
        erp = {"name": "erp", "request": {}, "items": {}, "paging": paging, **PARTS, **parts}
        return sync(server, store_url, repairs=0, warehouse=NO_WAREHOUSE, **erp).verdict


@pytest.mark.parametrize("twice", [FILTERED, REJECTED], ids=["filtered", "rejected"])
def test_an_item_without_an_id_that_is_read_twice_hides_none_in_a_complete_master(
    store_url: str, twice: dict[str, Any]
) -> None:
    assert read(store_url, twice) is Verdict.UNPROVEN


@pytest.mark.parametrize("parts", [{"order": {"params": {"sort": "sku"}}}, {"page_size": 30}])
def test_a_master_in_a_fixed_order_or_of_one_page_is_proven_in_spite_of_a_filter(
    store_url: str, parts: dict[str, Any]
) -> None:
    assert read(store_url, FILTERED, **parts) is Verdict.COMPLETE

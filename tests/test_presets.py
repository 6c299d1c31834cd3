"""Each preset asks as its system wants to be asked, and reads an answer in its system's shape.

The answers are written by hand from what is published of these systems; none comes from one of them.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

import pytest
from pydantic import SecretStr

from sku_velocity.errors import SpecError
from sku_velocity.models import MovementRow, Page, Window
from sku_velocity.source.client import SourceClient
from sku_velocity.source.presets import preset_names
from sku_velocity.source.spec import parse_spec
from sku_velocity.source.window import WindowReader
from tests.scripted_server import Reply, ScriptedServer, scripted

pytestmark = pytest.mark.anyio

DAY = Window(datetime(2026, 3, 1, tzinfo=UTC), datetime(2026, 3, 2, tzinfo=UTC))
AT = datetime(2026, 3, 1, 8, 30, tzinfo=UTC)
MIDNIGHT = DAY.start


@dataclass(frozen=True)
class Case:
    """One movement of 6 units as a system tells it, and what the system is asked."""

    record: dict[str, Any]
    wrap: str
    movement_id: str | None = "7"
    at: datetime = AT
    total: Any = None
    count: Any = None
    headers: dict[str, str] = field(default_factory=dict)
    asked: dict[str, str] = field(default_factory=dict)
    others: tuple[dict[str, Any], ...] = ()


PLAIN = {
    "sku_id": "A-1",
    "warehouse_id": "WH",
    "units_moved": 6,
    "timestamp_utc": "2026-03-01T08:30:00Z",
}
CASES = {
    "plain-array": Case(PLAIN, "", None, asked={"offset": "0", "limit": "1000"}),
    "drf": Case(PLAIN | {"id": 7}, "results", total="count", asked={"ordering": "timestamp_utc,id"}),
    "json-server": Case(
        PLAIN | {"id": 7},
        "",
        headers={"X-Total-Count": "1"},
        asked={"_start": "0", "_limit": "1000", "timestamp_utc_lte": "2026-03-02T00:00:00Z"},
    ),
    "postgrest": Case(
        PLAIN | {"movement_id": 7},
        "",
        headers={"Content-Range": "0-0/1"},
        asked={"warehouse_id": "eq.WH", "order": "timestamp_utc,movement_id"},
    ),
    "inventree": Case(
        {
            "pk": 7,
            "date": "2026-03-01 08:30",
            "deltas": {"removed": 6.0},
            "part_detail": {"IPN": "A-1"},
            "item_detail": {"location": "WH"},
        },
        "results",
        total="count",
        asked={"min_date": "2026-02-28", "max_date": "2026-03-02", "part_detail": "true"},
        others=({"pk": 8, "date": "2026-03-01 08:31", "deltas": {"quantity": 90}},),
    ),
    "erpnext": Case(
        {
            "name": "7",
            "item_code": "A-1",
            "warehouse": "WH",
            "actual_qty": -6.0,
            "posting_date": "2026-03-01",
            "posting_time": "8:30:00.000000",
        },
        "data",
        count={"message": 2},
        asked={"limit_start": "0", "limit_page_length": "1000"},
        others=({"name": "8", "actual_qty": 4.0},),
    ),
    "odoo-json2": Case(
        {"id": 7, "product_id": [11, "Bolt"], "quantity": 6.0, "date": "2026-03-01 08:30:00"}, "", count=1
    ),
    "tryton": Case(
        {
            "id": 7,
            "quantity": 6.0,
            "effective_date": {"__class__": "date", "year": 2026, "month": 3, "day": 1},
            "product.": {"code": "A-1"},
            "from_location.": {"code": "WH"},
        },
        "result",
        at=MIDNIGHT,
        count={"result": 1},
    ),
    "netsuite-suiteql": Case(
        {"id": "7", "item": "A-1", "location": "WH", "quantity": "-6", "moved": "2026-03-01T08:30:00Z"},
        "items",
        total="totalResults",
        asked={"offset": "0", "limit": "1000"},
    ),
    "sap-odata-v2": Case(
        {
            "MaterialDocumentYear": "2026",
            "MaterialDocument": "49",
            "MaterialDocumentItem": "1",
            "Material": "A-1",
            "Plant": "WH",
            "QuantityInEntryUnit": "6.000",
            "to_MaterialDocumentHeader": {"PostingDate": "/Date(1772323200000)/"},
        },
        "d.results",
        movement_id="2026-49-1",
        at=MIDNIGHT,
        total="d.__count",
        asked={"$skip": "0", "$top": "1000", "$inlinecount": "allpages"},
    ),
    "sap-odata-v4": Case(
        {
            "MaterialDocumentYear": "2026",
            "MaterialDocument": "49",
            "MaterialDocumentItem": "1",
            "Material": "A-1",
            "Plant": "WH",
            "QuantityInEntryUnit": 6,
            "PostingDate": "2026-03-01",
        },
        "value",
        movement_id="2026-49-1",
        at=MIDNIGHT,
        total="@odata.count",
        asked={"$skip": "0", "$count": "true"},
    ),
    "dynamics365": Case(
        {
            "RecId": 7,
            "ItemId": "A-1",
            "InventLocationId": "WH",
            "Qty": -6,
            "DatePhysical": "2026-03-01T08:30:00Z",
        },
        "value",
        total="@odata.count",
        asked={"cross-company": "true", "$top": "1000"},
    ),
    "oracle-wms-cloud": Case(
        {
            "id": 7,
            "item_code": "A-1",
            "facility_id__code": "WH",
            "adj_qty": "-6.0",
            "create_ts": "2026-03-01T08:30:00.123456",
        },
        "results",
        at=AT.replace(microsecond=123456),
        total="result_count",
        asked={"page": "1", "page_size": "1000", "facility_id__code": "WH"},
        others=({"id": 8, "adj_qty": "5"},),
    ),
    "oracle-fusion": Case(
        {
            "TransactionId": 7,
            "ItemNumber": "A-1",
            "OrganizationCode": "WH",
            "TransactionQuantity": -6,
            "TransactionDate": "2026-03-01T08:30:00+00:00",
        },
        "items",
        total="totalResults",
        asked={"totalResults": "true", "limit": "500"},
    ),
    "greaterwms": Case(
        {"id": 7, "goods_code": "A-1", "goods_qty": -6, "create_time": "2026-03-01 16:30:00"},
        "results",
        total="count",
        asked={"page": "1", "max_page": "1000", "create_time__gte": "2026-03-01 08:00:00"},
        others=({"id": 8, "goods_qty": 5},),
    ),
}


def answers(case: Case) -> list[Reply]:
    """The page, and the count where that is asked for apart."""
    rows = [case.record, *case.others]
    body: Any = rows
    if case.wrap:
        body = {}
        put(body, case.wrap, rows)
    if case.total:
        put(body, case.total if "@" not in case.total else [case.total], str(len(rows)))
    replies = [Reply(body=json.dumps(body).encode(), headers=case.headers)]
    return replies if case.count is None else [*replies, Reply(body=json.dumps(case.count).encode())]


def put(tree: dict[str, Any], path: str | list[str], value: Any) -> None:
    *parents, leaf = path.split(".") if isinstance(path, str) else path
    for key in parents:
        tree = tree.setdefault(key, {})
    tree[leaf] = value


async def read(preset: str, server: ScriptedServer, **own: Any) -> tuple[list[MovementRow], int]:
    """The movements that a preset makes of the server's first page, and how many records it filters."""
    if preset == "dynamics365":
        own["auth"] = {"kind": "none", "token_url": server.url, "client_id": "me"}
    spec = parse_spec({"preset": preset, "base_url": server.url, **own}, preset)
    warehouse = {"greaterwms": "MAIN"}.get(preset, "WH")
    async with SourceClient.open(spec, SecretStr("user:secret")) as client:
        reader = WindowReader.of(client, warehouse, DAY)
        survey = await reader.survey()
        result = await reader.read(Page(0, survey.total or 0, page_size=survey.page_size))
    assert result.dead_letters == []
    return result.movements, result.filtered


def test_every_preset_has_a_case() -> None:
    assert sorted(CASES) == preset_names()


@pytest.mark.parametrize("name", CASES)
async def test_an_answer_in_the_system_s_shape_is_read(name: str) -> None:
    case = CASES[name]
    with scripted(*answers(case), Reply(body=b"[]" if not case.wrap else b"{}")) as server:
        movements, filtered = await read(name, server)
    sku, warehouse = {"odoo-json2": "11"}.get(name, "A-1"), {"greaterwms": "MAIN"}.get(name, "WH")
    assert movements == [(0, case.movement_id, sku, warehouse, 6, case.at)]
    assert filtered == len(case.others)
    asked = dict(parse_qsl(urlsplit(server.requests[0][0]).query))
    assert asked | case.asked == asked


async def test_a_body_is_asked_with_the_window_and_the_warehouse() -> None:
    with scripted(*answers(CASES["odoo-json2"])) as server:
        await read("odoo-json2", server)
    page, count = (json.loads(body) for body in server.bodies)
    assert page["domain"] == count["domain"] and ["date", "<", "2026-03-02 00:00:00"] in page["domain"]
    assert (page["offset"], page["limit"]) == (0, 1000) and "limit" not in count
    assert [unquote(path) for path, _ in server.requests] == [
        "/json/2/stock.move.line/search_read",
        "/json/2/stock.move.line/search_count",
    ]


async def test_a_part_of_a_preset_is_replaced_by_one_s_own() -> None:
    own = {"name": "mine", "paging": {"page_size": 50}, "fields": {"sku_id": {"const": "X-1"}}}
    with scripted(*answers(CASES["drf"])) as server:
        movements, _ = await read("drf", server, **own)
    assert movements[0][2] == "X-1" and "limit=50" in server.requests[0][0]


def test_an_unknown_preset_is_told_with_the_known_ones() -> None:
    with pytest.raises(SpecError, match=r"unknown preset 'odo': known are .*odoo-json2"):
        parse_spec({"preset": "odo", "base_url": "https://x.example.com"}, "test")

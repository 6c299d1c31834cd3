"""The warehouses of a source are those that it lists: all of them, each once."""

from __future__ import annotations

import json
from typing import Any

import pytest

from simulator.scenario import Scenario
from simulator.server import serve
from simulator.systems import SYSTEMS
from sku_velocity.errors import ConfigurationError, SourceMappingError, SpecError
from sku_velocity.source.client import SourceClient
from sku_velocity.source.spec import parse_spec
from sku_velocity.source.warehouses import list_warehouses
from tests.support.scripted_server import Reply, scripted

LISTED: dict[str, Any] = {"warehouses": {"path": "records", "field": "code"}}


async def listed(url: str, **parts: Any) -> list[str]:
    fixed = {"name": "acme", "base_url": url, "auth": {"kind": "none"}, "pace": {"requests_per_second": 1000}}
    async with SourceClient.open(parse_spec(fixed | parts, "test"), None) as client:
        return await list_warehouses(client)


def page(*records: Any, **more: Any) -> Reply:
    return Reply(body=json.dumps({"records": records, **more}).encode())


@pytest.mark.anyio
@pytest.mark.parametrize("most", [None, 2])
async def test_all_pages_are_read_however_short_the_source_makes_them(most: int | None) -> None:
    names = tuple(f"WH-{number:02}" for number in range(5))
    with serve(Scenario(warehouses=names, records=10, max_page_size=most)) as server:
        assert await listed(server.url, **LISTED, paging={"page_size": 3}) == list(names)


@pytest.mark.anyio
async def test_the_preset_of_a_system_that_lists_them_does() -> None:
    names = ("Bins - B", "Stores - B")
    with serve(Scenario(warehouses=names, records=3, system=SYSTEMS["erpnext"])) as server:
        assert await listed(server.url, preset="erpnext") == list(names)


@pytest.mark.anyio
async def test_a_list_that_is_not_paged_is_read_once() -> None:
    with scripted(Reply(body=b'["A", "B", 7]')) as server:
        assert await listed(server.url, warehouses={}) == ["A", "B", "7"]
    assert len(server.requests) == 2


@pytest.mark.anyio
async def test_pages_by_number_end_where_there_is_no_such_page() -> None:
    numbered = {**LISTED["warehouses"], "paging": {"style": "page", "first": 1, "page_size": 2}}
    sites = [{"code": "A"}, {"code": "A"}, {"code": "B"}]
    with scripted(page(*sites[:2]), page(sites[2]), Reply(404)) as server:
        assert await listed(server.url, warehouses=numbered) == ["A", "B"]
    assert [path.partition("offset")[0] for path, _ in server.requests][0] == "/warehouses?page=1&limit=2"


@pytest.mark.anyio
async def test_a_list_by_cursor_is_followed_to_its_end() -> None:
    sequential = {**LISTED["warehouses"], "paging": {"style": "cursor", "cursor_path": "next"}}
    with scripted(page({"code": "A"}, next="x"), page({"code": "B"}, next=None)) as server:
        assert await listed(server.url, warehouses=sequential) == ["A", "B"]
    assert "cursor=x" in server.requests[1][0] and len(server.requests) == 2


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("reply", "told"),
    [
        (page(), "lists no warehouse"),
        (Reply(body=b'{"sites": []}'), "no list at warehouses.path"),
        (page({"name": "A"}), "no name at warehouses.field code"),
        (page({"code": " "}), "no name at warehouses.field code"),
    ],
)
async def test_what_is_no_list_of_names_is_told(reply: Reply, told: str) -> None:
    with scripted(reply) as server, pytest.raises(SourceMappingError, match=told):
        await listed(server.url, **LISTED)


@pytest.mark.anyio
async def test_a_source_without_a_list_says_what_to_do() -> None:
    with pytest.raises(ConfigurationError, match="name them"):
        await listed("http://wms.test")


def test_the_list_is_asked_for_without_a_warehouse() -> None:
    request = {"request": {"path": "/sites/{warehouse}"}}
    with pytest.raises(SpecError, match="warehouses.request must not hold {warehouse}"):
        parse_spec({"name": "acme", "base_url": "http://wms.test", "warehouses": request}, "test")

"""The warehouses of a source are listed completely and without duplicates."""

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


async def list_all(url: str, **parts: Any) -> list[str]:
    fixed = {"name": "acme", "base_url": url, "auth": {"kind": "none"}, "pace": {"requests_per_second": 1000}}
    async with SourceClient.open(parse_spec(fixed | parts, "test"), None) as client:
        return await list_warehouses(client)


def page(*records: Any, **more: Any) -> Reply:
    return Reply(body=json.dumps({"records": records, **more}).encode())


@pytest.mark.anyio
@pytest.mark.parametrize("clamp", [None, 2])
async def test_all_pages_are_read_even_if_the_source_shortens_them(clamp: int | None) -> None:
    names = tuple(f"WH-{number:02}" for number in range(5))
    with serve(Scenario(warehouses=names, records=10, max_page_size=clamp)) as server:
        assert await list_all(server.url, **LISTED, paging={"page_size": 3}) == list(names)


@pytest.mark.anyio
async def test_a_preset_may_list_the_warehouses() -> None:
    names = ("Bins - B", "Stores - B")
    with serve(Scenario(warehouses=names, records=3, system=SYSTEMS["erpnext"])) as server:
        assert await list_all(server.url, preset="erpnext") == list(names)


@pytest.mark.anyio
async def test_a_list_that_is_not_paged_is_read_once() -> None:
    with scripted(Reply(body=b'["A", "B", 7]')) as server:
        assert await list_all(server.url, warehouses={}) == ["A", "B", "7"]
    assert len(server.requests) == 3  # the third is for a position that no list reaches


@pytest.mark.anyio
async def test_equal_pages_are_not_the_end_of_a_list() -> None:
    pages = [page({"code": "A"}), page({"code": "A"}), page(), page({"code": "B"}), page()]
    with scripted(*pages) as server:
        assert await list_all(server.url, **LISTED, paging={"page_size": 1}) == ["A", "B"]


@pytest.mark.anyio
async def test_an_empty_page_with_a_cursor_is_not_the_end_of_a_list() -> None:
    sequential = {**LISTED["warehouses"], "paging": {"style": "cursor", "cursor_path": "next"}}
    with scripted(page({"code": "A"}, next="x"), page(next="y"), page({"code": "B"})) as server:
        assert await list_all(server.url, warehouses=sequential) == ["A", "B"]


@pytest.mark.anyio
async def test_the_flag_of_a_list_is_read_like_that_of_a_window() -> None:
    paging = {"style": "cursor", "cursor_path": "next", "more_path": "left"}
    sequential = {**LISTED["warehouses"], "paging": paging}
    pages = [page({"code": "A"}, left=1, next="x"), page({"code": "B"}, left="0", next="y")]
    with scripted(*pages) as server:
        assert await list_all(server.url, warehouses=sequential) == ["A", "B"]
    message = "list of warehouses.*paging.more_path left"
    with (
        scripted(page({"code": "A"}, left="some")) as server,
        pytest.raises(SourceMappingError, match=message),
    ):
        await list_all(server.url, warehouses=sequential)


@pytest.mark.anyio
async def test_the_links_of_a_list_are_read_like_those_of_a_window() -> None:
    linked = {"paging": {"style": "next_link"}, "request": {"path": "/sites"}}
    first = Reply(body=b'["A"]', headers={"Link": '<sites/2>; REL="last next"'})
    with scripted(first, Reply(body=b'["B"]')) as server:
        assert await list_all(server.url, warehouses=linked) == ["A", "B"]
    assert server.requests[1][0] == "/sites/2"
    message, bad = "the header Link cannot be read", Reply(body=b'["A"]', headers={"Link": "next"})
    with scripted(bad) as server, pytest.raises(SourceMappingError, match=message):
        await list_all(server.url, warehouses=linked)


@pytest.mark.anyio
async def test_a_list_whose_cursors_lead_back_is_an_error() -> None:
    sequential = {**LISTED["warehouses"], "paging": {"style": "cursor", "cursor_path": "next"}}
    pages = [page({"code": "A"}, next="x"), page({"code": "B"}, next="y"), page({"code": "C"}, next="x")]
    with scripted(*pages) as server, pytest.raises(SourceMappingError, match="requested before"):
        await list_all(server.url, warehouses=sequential)


@pytest.mark.anyio
async def test_numbered_pages_end_at_the_first_missing_page() -> None:
    numbered = {**LISTED["warehouses"], "paging": {"style": "page", "first": 1, "page_size": 2}}
    sites = [{"code": "A"}, {"code": "A"}, {"code": "B"}]
    with scripted(page(*sites[:2]), page(sites[2]), Reply(404)) as server:
        assert await list_all(server.url, warehouses=numbered) == ["A", "B"]
    assert [path.partition("offset")[0] for path, _ in server.requests][0] == "/warehouses?page=1&limit=2"


@pytest.mark.anyio
async def test_a_list_with_cursors_is_read_to_its_end() -> None:
    sequential = {**LISTED["warehouses"], "paging": {"style": "cursor", "cursor_path": "next"}}
    with scripted(page({"code": "A"}, next="x"), page({"code": "B"}, next=None)) as server:
        assert await list_all(server.url, warehouses=sequential) == ["A", "B"]
    assert "cursor=x" in server.requests[1][0] and len(server.requests) == 2


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("reply", "message"),
    [
        (page(), "lists no warehouse"),
        (Reply(body=b'{"sites": []}'), "no list at warehouses.path"),
        (page({"name": "A"}), "no name at warehouses.field code"),
        (page({"code": " "}), "no name at warehouses.field code"),
    ],
)
async def test_a_response_without_a_list_of_names_is_an_error(reply: Reply, message: str) -> None:
    with scripted(reply) as server, pytest.raises(SourceMappingError, match=message):
        await list_all(server.url, **LISTED)


@pytest.mark.anyio
async def test_a_source_without_a_list_is_an_error_with_the_fix() -> None:
    with pytest.raises(ConfigurationError, match="name them"):
        await list_all("http://wms.test")


def test_the_list_request_must_not_contain_a_warehouse() -> None:
    request = {"request": {"path": "/sites/{warehouse}"}}
    with pytest.raises(SpecError, match="warehouses.request must not contain {warehouse}"):
        parse_spec({"name": "acme", "base_url": "http://wms.test", "warehouses": request}, "test")

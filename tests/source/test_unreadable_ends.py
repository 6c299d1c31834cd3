"""What may be the end of a list, or only looks like it, is not taken for the end in silence."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from itertools import count
from typing import Any

import pytest

from sku_velocity.errors import SourceMappingError
from sku_velocity.model.run import Verdict
from sku_velocity.source.client import SourceClient
from sku_velocity.source.paging import MAX_REPEATS
from sku_velocity.source.spec import parse_spec
from sku_velocity.source.warehouses import list_warehouses
from tests.source.test_lost_pages import TOTAL, report_of
from tests.source.test_pages import BARE, CURSORS, IDS, LINKED, ROWS, error_of, number_in, read, reply, rows
from tests.source.test_pages import store as store  # a fixture
from tests.support.scripted_server import Reply, answering, scripted
from tests.support.steps_driver import no_sleep

COUNTED = {**ROWS, **TOTAL}
EMPTY = json.dumps({"data": [], "total": 0}).encode()


def list_all(answer: Callable[[str], Reply], **paging: Any) -> list[str]:
    """List the warehouses of a source, in pages of 10."""

    async def run(url: str) -> list[str]:
        listing = {"path": "sites", "paging": {"page_size": 10, **paging}}
        parts = {"name": "acme", "base_url": url, "auth": {"kind": "none"}, "warehouses": listing}
        async with SourceClient.open(parse_spec(parts, "test"), None, sleep=no_sleep) as client:
            return await list_warehouses(client)

    with answering(answer) as server:
        return asyncio.run(run(server.url))


def slices(found: list[dict[str, Any]], status: int = 200, charset: str = "utf-8") -> Callable[[str], Reply]:
    """Return records by offset, in a charset."""

    def answer(path: str) -> Reply:
        page = found[number_in("offset", path) :][: number_in("limit", path)]
        body = json.dumps({"data": page, "total": len(found)}, ensure_ascii=False).encode(charset)
        return Reply(status, body, {"Content-Type": f"application/json; charset={charset}"})

    return answer


def sites(start: int, **more: Any) -> Reply:
    return reply({"sites": [f"W-{number}" for number in range(start, min(start + 10, 30))], **more})


@pytest.mark.parametrize(("status", "requests"), [(201, 1), (202, 4), (205, 1), (207, 1)])
def test_a_success_without_a_result_is_no_empty_page(status: int, requests: int) -> None:
    with scripted(Reply(status, EMPTY)) as server:
        message = error_of(server, **COUNTED)
    assert f"HTTP {status}" in message and len(server.requests) == requests


@pytest.mark.parametrize("status", [201, 205, 207])
def test_a_success_without_a_result_is_no_count_and_no_list(status: int) -> None:
    counted = {"total": {"from": "count_request", "path": "total", "request": {"path": "/count"}}}
    with answering(lambda path: Reply(status if "count" in path else 200, EMPTY)) as server:
        assert f"HTTP {status}" in error_of(server, **{**ROWS, **counted})
    with pytest.raises(SourceMappingError, match=f"HTTP {status}; .*request.method"):
        list_all(lambda _: Reply(status, b'{"sites": ["A"]}'))


def test_a_search_by_post_may_be_answered_with_created(store: str) -> None:
    with answering(slices(rows(3), 201)) as server:
        parts = {**COUNTED, **IDS, "request": {"method": "POST"}}
        assert read(server, store, **parts) == (Verdict.COMPLETE, 3)


def test_a_page_that_is_not_ready_is_requested_again(store: str) -> None:
    requests = count()
    ready = slices(rows(3))
    with answering(lambda path: ready(path) if next(requests) else Reply(202, EMPTY)) as server:
        assert read(server, store, **COUNTED, **IDS) == (Verdict.COMPLETE, 3)


def test_a_cached_answer_names_the_cache() -> None:
    with scripted(Reply(304, b"")) as server:
        assert "HTTP 304; a cache answers instead of the source" in error_of(server, **ROWS)


@pytest.mark.parametrize("status", [405, 410])
def test_a_refused_page_is_not_past_the_end(status: int) -> None:
    answer = lambda path: Reply(status) if number_in("offset", path) else reply({"data": rows(10)})  # noqa: E731
    with answering(answer) as server:
        message = error_of(server, **ROWS, **IDS, paging={"page_size": 10})
    assert f"HTTP {status}" in message and "request.path" in message


def test_a_range_of_nothing_is_an_empty_window(store: str) -> None:
    parts = {"records": {}, "total": {"from": "content_range"}, "paging": {"in": "range_header"}}
    with scripted(Reply(416, b"{}", {"Content-Range": "items */0"})) as server:
        assert read(server, store, **parts) == (Verdict.COMPLETE, 0)
    with scripted(Reply(416, b"{}", {"Content-Range": "items */10"})) as server:
        assert "HTTP 416" in error_of(server, **parts)


@pytest.mark.parametrize(("received", "verdict"), [(10, Verdict.UNPROVEN), (9, Verdict.COMPLETE)])
def test_a_full_page_without_a_link_header_proves_no_end(received: int, verdict: Verdict, store: str) -> None:
    paging = {**LINKED["paging"], "stable": True}
    with scripted(reply(rows(received))) as server:
        assert read(server, store, **{**LINKED, "paging": paging}) == (verdict, received)
    assert ("no page has the header Link" in report_of(store)) is (verdict is Verdict.UNPROVEN)


@pytest.mark.parametrize("rel", ["nextPage", "next_page", "next-page", "following", "next-link", "pageNext"])
def test_a_relation_that_may_mean_the_next_page_is_an_error(rel: str) -> None:
    with scripted(reply(rows(10), Link=f'</movements?p=2>; rel="{rel}"')) as server:
        assert f"rel: {rel}" in error_of(server, **LINKED)


@pytest.mark.parametrize("style", ["offset", "page"])
def test_a_hole_of_two_pages_is_not_the_end(style: str) -> None:
    def answer(path: str) -> Reply:
        offset = 10 * number_in("page", path) if style == "page" else number_in("offset", path)
        return reply([] if 10 <= offset < 30 else rows(60)[offset : offset + 10])

    with answering(answer) as server:
        message = error_of(server, **BARE, **IDS, paging={"style": style, "page_size": 10})
    assert "it returns no record at 10, but records at 30" in message and len(server.requests) == 4


@pytest.mark.parametrize("gap", [Reply(404), Reply(405), Reply(410), Reply(204, b""), reply({"sites": []})])
@pytest.mark.parametrize("style", ["offset", "page"])
def test_a_list_of_warehouses_with_a_missing_page_is_an_error(style: str, gap: Reply) -> None:
    def answer(path: str) -> Reply:
        offset = 10 * number_in("page", path) if style == "page" else number_in("offset", path)
        return gap if offset == 10 else sites(offset)

    with pytest.raises(Exception, match=f"no records at position 10, but at 20|HTTP {gap.status}"):
        list_all(answer, style=style)


@pytest.mark.parametrize("style", ["offset", "page"])
def test_a_list_of_warehouses_ends_with_a_missing_page(style: str) -> None:
    def answer(path: str) -> Reply:
        offset = 10 * number_in("page", path) if style == "page" else number_in("offset", path)
        return sites(offset) if offset < 30 else Reply(404)

    assert len(list_all(answer, style=style)) == 30


def test_a_full_list_of_warehouses_without_the_key_of_the_next_page_is_an_error() -> None:
    with pytest.raises(SourceMappingError, match="no page has the key paging.cursor_path next"):
        list_all(lambda _: sites(0, meta={"next": "b"}), style="cursor", cursor_path="next")
    with pytest.raises(SourceMappingError, match="no page has the header Link"):
        list_all(lambda _: sites(0), style="next_link")
    assert len(list_all(lambda _: sites(25), style="cursor", cursor_path="next")) == 5
    assert len(list_all(lambda _: sites(0, next=None), style="cursor", cursor_path="next")) == 10


def test_a_page_of_records_without_ids_that_comes_twice_is_unproven(store: str) -> None:
    """One node ignored the cursor: rows 10 to 19 may be missing."""
    pages = {"": (0, "b"), "b": (0, "c"), "c": (20, None)}

    def answer(path: str) -> Reply:
        start, following = pages[path.rpartition("cursor=")[2] if "cursor" in path else ""]
        return reply({"data": rows(30)[start : start + 10], "next": following})

    paging = {**CURSORS["paging"], "stable": True}
    with answering(answer) as server:
        verdict, _ = read(server, store, **ROWS, paging=paging)
    assert verdict is Verdict.UNPROVEN and "1 pages have the same records as earlier ones" in report_of(store)


@pytest.mark.parametrize("changing", [1, 3])
def test_a_source_that_starts_over_while_its_records_change_ends_the_read(changing: int) -> None:
    """Of each lap of three pages some have a record with another value, and every cursor is new."""
    requests = count()

    def answer(_: str) -> Reply:
        number = next(requests)
        found = rows(30)[number % 3 * 10 :][:10]
        if number % 3 < changing:
            found[-1] = {**found[-1], "units_moved": number}
        return reply({"data": found, "next": f"t{number}"})

    with answering(answer) as server:
        message = error_of(server, **CURSORS)
    assert "begin with the same record" in message and len(server.requests) <= MAX_REPEATS + 4


@pytest.mark.parametrize("style", ["offset", "page"])
def test_an_api_that_counts_from_0_is_not_read_from_1(style: str) -> None:
    def answer(path: str) -> Reply:
        offset = 10 * number_in("page", path) if style == "page" else number_in("offset", path)
        return reply(rows(15)[offset : offset + 10])

    with answering(answer) as server:
        message = error_of(server, **BARE, **IDS, paging={"style": style, "page_size": 10, "first": 1})
    assert "set paging.first to 0" in message


@pytest.mark.parametrize("zero", [Reply(404), Reply(400), Reply(500), reply([]), reply(rows(10))])
def test_an_api_that_counts_from_1_may_answer_0_in_any_way(zero: Reply, store: str) -> None:
    def answer(path: str) -> Reply:
        number = number_in("page", path)
        return reply(rows(15)[10 * number - 10 : 10 * number]) if number else zero

    with answering(answer) as server:
        paging = {"style": "page", "page_size": 10, "first": 1, "limit_param": None}
        verdict, found = read(server, store, **BARE, **IDS, order={"stable": True}, paging=paging)
    assert (verdict, found) == (Verdict.COMPLETE, 15)


@pytest.mark.parametrize(
    "body",
    ['{"data": [%s], "data": []}', '{"data": [%s], "next": "b", "next": null}', '{"data": 1, "data": [%s]}'],
)
def test_a_key_that_comes_twice_is_an_error(body: str) -> None:
    record = json.dumps(rows(1)[0] | {"next": 1, "data": {"data": 2, "next": 3}})
    with scripted(Reply(body=(body % record).encode())) as server:
        assert "twice in one object" in error_of(server, **CURSORS)
    with (
        scripted(reply({"data": [json.loads(record)], "next": None})) as server,
        pytest.raises(pytest.fail.Exception),
    ):
        error_of(server, **CURSORS)
    with pytest.raises(SourceMappingError, match="twice in one object"):
        list_all(lambda _: Reply(body=b'{"sites": ["A"], "sites": ["B"]}'))


@pytest.mark.parametrize("style", ["offset", "page"])
@pytest.mark.parametrize("period", [2, 3])
def test_equal_rows_in_a_period_hide_a_shift(style: str, period: int, store: str) -> None:
    """Rows of the first page leave once it is read, and as many others come at the end."""
    shown = [{**each, "movement_id": None, "timestamp_utc": rows(1)[0]["timestamp_utc"]} for each in rows(40)]
    for number, each in enumerate(shown):
        each["sku_id"] = f"A-{number}" if number < 5 else f"B-{number % period}"
    requests = count()

    def answer(path: str) -> Reply:
        if next(requests) == 1:
            del shown[2 : 2 + period]
            shown[-2:-2] = [{**shown[0], "sku_id": f"C-{number}"} for number in range(period)]
        offset = number_in("offset", path) + number_in("page", path) * number_in("limit", path)
        return reply({"data": shown[offset:][: number_in("limit", path)], "total": len(shown)})

    with answering(answer) as server:
        paging = {"style": style, "page_size": 10}
        verdict, _ = read(server, store, **COUNTED, order={"stable": True}, paging=paging)
    assert verdict is Verdict.UNPROVEN and "map fields.movement_id" in report_of(store)


@pytest.mark.parametrize(
    ("total", "found"), [(24, "records follow at position 24"), (26, "none at position 25")]
)
@pytest.mark.parametrize("style", ["offset", "page"])
def test_a_wrong_total_is_named(total: int, found: str, style: str, store: str) -> None:
    def answer(path: str) -> Reply:
        limit = number_in("limit", path)
        offset = number_in("offset", path) + number_in("page", path) * limit
        return reply({"data": rows(25)[offset:][:limit], "total": total})

    with answering(answer) as server:
        verdict, _ = read(server, store, **COUNTED, **IDS, paging={"style": style, "page_size": 10})
    shown = report_of(store)
    assert verdict is Verdict.INCOMPLETE and "other records now" not in shown
    assert found in shown or f"25 of {total} records" in shown


def test_an_empty_text_is_no_record_id(store: str) -> None:
    found = [{**each, "movement_id": ""} for each in rows(5)]
    with answering(slices(found)) as server:
        assert read(server, store, **COUNTED, **IDS) == (Verdict.UNPROVEN, 5)
    assert "5 records have no id" in report_of(store)


def test_a_body_in_another_charset_is_read(store: str) -> None:
    found = [{**each, "site": "Größe"} for each in rows(3)]
    with answering(slices(found, charset="iso-8859-1")) as server:
        assert read(server, store, **COUNTED, **IDS) == (Verdict.COMPLETE, 3)

"""No page is cut, skipped or read again for ever without an error that names the key to check."""

from __future__ import annotations

import asyncio
import json
from itertools import count
from typing import Any

import pytest
from sqlalchemy import text

from sku_velocity.errors import SourceMappingError
from sku_velocity.model.run import Verdict
from sku_velocity.model.window import Window
from sku_velocity.source.client import SourceClient
from sku_velocity.source.digest import mapping_digest
from sku_velocity.source.page_json import value_text
from sku_velocity.source.spec import parse_spec
from sku_velocity.source.window import WindowReader
from sku_velocity.steps.window import chunks_of
from sku_velocity.store.database import Database
from tests.source.test_pages import CURSORS, IDS, LINKED, ROWS, error_of, number_in, read, reply, rows
from tests.source.test_pages import store as store  # a fixture
from tests.support.scripted_server import Reply, ScriptedServer, answering, scripted
from tests.support.steps_driver import no_sleep

TOTAL = {"total": {"from": "body", "path": "total"}}


def report_of(store: str) -> str:
    async def look() -> str:
        database = Database(store)
        try:
            async with database.reading() as connection:
                return str(await connection.scalar(text("SELECT report FROM sync_runs")))
        finally:
            await database.close()

    return asyncio.run(look())


def error_of_pages(server: ScriptedServer, **parts: Any) -> str:
    """Return the error that probing a window and reading its planned pages ends with."""
    base = {"name": "acme", "base_url": server.url, "auth": {"kind": "none"}}
    spec = parse_spec({**base, "pace": {"requests_per_second": 10_000}, **parts}, "test")

    async def run() -> None:
        async with SourceClient.open(spec, None, sleep=no_sleep) as client:
            reader = WindowReader.of(client, "WH-01", Window.everything())
            for chunk in chunks_of(await reader.probe(), spec):
                for page in chunk.pages():
                    await reader.read(page)

    with pytest.raises(SourceMappingError) as caught:
        asyncio.run(run())
    return str(caught.value)


@pytest.mark.parametrize("total", [None, 34])
def test_a_page_that_is_longer_than_the_first_is_never_cut(total: int | None) -> None:
    def answer(path: str) -> Reply:
        found = [each for each in rows(35)[10 * number_in("page", path) :][:10] if each != rows(4)[3]]
        return reply({"data": found, "total": total})

    parts = {**ROWS, **IDS, **({} if total is None else TOTAL)}
    with answering(answer) as server:
        paging = {"style": "page", "limit_param": None, "page_size": 10}
        message = error_of_pages(server, **parts, paging=paging)
    assert "requested 9 records, got 10" in message and "paging.limit_param" in message


@pytest.mark.parametrize("pages", ["one page", "a full page"])
def test_a_window_without_the_key_of_the_next_page_is_unproven(pages: str, store: str) -> None:
    paging = {**CURSORS["paging"], "cursor_path": "nxt", "stable": True}
    with scripted(reply({"data": rows(10 if pages == "a full page" else 3), "next": "b"})) as server:
        verdict, _ = read(server, store, **{**CURSORS, "paging": paging})
    assert verdict is Verdict.UNPROVEN
    assert "paging.cursor_path nxt" in report_of(store)


@pytest.mark.parametrize("body", [{"next": None}, {"next": ""}, {"next": False}, {"more": False}])
def test_a_key_that_says_the_end_is_the_end(body: dict[str, Any], store: str) -> None:
    paging = {**CURSORS["paging"], "stable": True} | ({"more_path": "more"} if "more" in body else {})
    with scripted(reply({"data": rows(10), **body})) as server:
        assert read(server, store, **{**CURSORS, "paging": paging}) == (Verdict.COMPLETE, 10)


@pytest.mark.parametrize("change", [{"cursor_path": "nxt"}, {"cursor_param": "after"}, {"more_path": "more"}])
def test_a_corrected_paging_key_reads_the_window_again(change: dict[str, str]) -> None:
    def digest(**paging: Any) -> str:
        parts = {"name": "acme", "base_url": "http://wms.test", "paging": {**CURSORS["paging"], **paging}}
        return mapping_digest(parse_spec(parts, "test"))

    assert digest(**change) != digest() == digest(page_size=7, stable=True)


@pytest.mark.parametrize(
    "rel", ["rel='next'", 'rel="next,last"', 'rel="last"; rel="Next"', "rel*=UTF-8''next"]
)
def test_an_unusual_relation_with_the_word_next_is_an_error(rel: str) -> None:
    with scripted(reply(rows(10), Link=f"</movements?p=2>; {rel}")) as server:
        message = error_of(server, **LINKED)
    assert "the header Link cannot be read" in message and "next" in message.lower()


@pytest.mark.parametrize("empty", [Reply(204, b""), reply(None)])
@pytest.mark.parametrize("style", ["cursor", "link"])
def test_a_promised_page_without_content_is_no_end(empty: Reply, style: str) -> None:
    first = (
        reply({"data": rows(10), "next": "b"})
        if style == "cursor"
        else reply(rows(10), Link='</movements?p=2>; rel="next"')
    )
    with scripted(first, empty) as server:
        message = error_of(server, **(CURSORS if style == "cursor" else LINKED))
    assert "the page before names this one" in message and "paging." in message


@pytest.mark.parametrize("spelling", ["1772352004.144272509", "1e3", "123456789012345678901234567890"])
def test_a_number_is_sent_back_as_it_came(spelling: str) -> None:
    last = reply({"data": rows(20)[10:], "next": None})
    first = Reply(body=f'{{"data": {json.dumps(rows(10))}, "next": {spelling}}}'.encode())
    with answering(lambda path: last if "cursor" in path else first) as server:
        read_to_the_end(server)
    assert server.requests[-1][0].endswith(f"cursor={spelling}")


def read_to_the_end(server: ScriptedServer) -> None:
    with pytest.raises(pytest.fail.Exception):  # no error
        error_of(server, **CURSORS)


def test_the_text_of_a_nested_value_is_found() -> None:
    assert value_text(b'{"a": [{"b" : 1.50 }], "a": [{"b": 2.50}]}', "a.0.b") == "2.50"


def test_a_cursor_that_is_ignored_ends_the_read() -> None:
    tokens = count()
    with answering(lambda _: reply({"data": rows(10), "next": f"t{next(tokens)}"})) as server:
        message = error_of(server, **CURSORS)
    assert "check paging.cursor_param cursor" in message and len(server.requests) < 6


def test_records_far_beyond_the_total_end_the_read() -> None:
    """The records differ in each answer, as by the time at which they were read."""
    tokens = count()

    def answer(_: str) -> Reply:
        number = next(tokens)
        found = [{**row, "movement_id": f"{number}-{row['movement_id']}"} for row in rows(10)]
        return reply({"data": found, "next": f"t{number}", "total": 20})

    with answering(answer) as server:
        message = error_of(server, **CURSORS | TOTAL)
    assert "the source reports 20" in message and "paging.cursor_param cursor" in message
    assert len(server.requests) == 5


@pytest.mark.parametrize("zero", [0, "0", [], {}])
def test_a_next_cursor_that_may_mean_the_end_is_an_error(zero: Any) -> None:
    with scripted(reply({"data": rows(10), "next": zero})) as server:
        message = error_of(server, **CURSORS)
    assert "if it means the end, set paging.more_path" in message
    assert (zero in (0, "0")) == ("0 came as the next cursor" in message)


@pytest.mark.parametrize("end", [0, "0", [], {}])
def test_any_cursor_is_the_end_if_the_flag_says_so(end: Any, store: str) -> None:
    paging = {**CURSORS["paging"], "stable": True, "more_path": "more"}
    with scripted(reply({"data": rows(10), "next": end, "more": False})) as server:
        assert read(server, store, **{**CURSORS, "paging": paging}) == (Verdict.COMPLETE, 10)


def test_a_source_that_ignores_the_range_is_told_by_its_header() -> None:
    paging = {"in": "range_header", "page_size": 10, "range_unit": "items", "range_header": "X-Range"}
    with scripted(reply(rows(20), **{"Content-Range": "items 0-19/20"})) as server:
        message = error_of(server, records={}, total={"from": "content_range"}, paging=paging)
    assert "check paging.range_header X-Range" in message


@pytest.mark.parametrize(("style", "key"), [("offset", "paging.offset_param"), ("page", "paging.page_param")])
def test_a_source_with_a_total_that_ignores_the_position_is_an_error(style: str, key: str) -> None:
    with scripted(reply({"data": rows(10), "total": 1000})) as server:
        paging = {"style": style, "page_size": 10}
        message = error_of_pages(server, **{**ROWS, **IDS, **TOTAL, "paging": paging})
    assert f"check {key}" in message and len(server.requests) == 3


def test_records_inserted_before_the_first_page_are_no_ignored_position(store: str) -> None:
    """Ten records come before the others once the first page has been read."""
    requests = count()

    def answer(path: str) -> Reply:
        shown = rows(30)[10:] if next(requests) == 0 else rows(30)
        offset, limit = number_in("offset", path), number_in("limit", path)
        return reply({"data": shown[offset:][:limit], "total": len(shown)})

    with answering(answer) as server:
        paging = {"page_size": 10, "overlap": 0}
        verdict, found = read(server, store, **{**ROWS, **IDS, **TOTAL, "paging": paging})
    assert (verdict, found) == (Verdict.UNPROVEN, 30)

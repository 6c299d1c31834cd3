"""A window ends only on a sign that was understood as the end, and no source makes a run read forever."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from sku_velocity.errors import SourceMappingError, VelocityError
from sku_velocity.model.run import Verdict
from sku_velocity.model.window import Window
from sku_velocity.source.client import SourceClient
from sku_velocity.source.paging import MAX_EMPTY_PAGES
from sku_velocity.source.spec import parse_spec
from sku_velocity.source.window import WindowReader
from sku_velocity.steps import window as steps
from sku_velocity.store import Store, migrate
from tests.support.scripted_server import Reply, ScriptedServer, answering, scripted
from tests.support.steps_driver import no_sleep, published, sync

BARE: dict[str, Any] = {"records": {}, "total": {"from": "none"}}
ROWS: dict[str, Any] = {"records": {"path": "data"}, "total": {"from": "none"}}
IDS = {"fields": {"movement_id": "movement_id"}}
LINKED = {**BARE, **IDS, "paging": {"style": "next_link", "page_size": 10}}
CURSORS = {**ROWS, **IDS, "paging": {"style": "cursor", "cursor_path": "next", "page_size": 10}}


@pytest.fixture
def store(sqlite_url: str) -> str:
    asyncio.run(migrate(sqlite_url))
    return sqlite_url


def row(number: int) -> dict[str, Any]:
    return {
        "movement_id": f"M-{number}",
        "sku_id": "A-1",
        "warehouse_id": "WH-01",
        "units_moved": 1,
        "timestamp_utc": f"2026-03-01T00:{number // 60:02}:{number % 60:02}Z",
    }


def rows(count: int) -> list[dict[str, Any]]:
    return [row(number) for number in range(count)]


def reply(body: Any, **headers: str) -> Reply:
    return Reply(body=json.dumps(body).encode(), headers=headers)


def number_in(name: str, path: str) -> int:
    found = re.search(rf"[?&]{name}=(\d+)", path)
    return int(found[1]) if found else 0


def by_offset(
    visible: Callable[[int, int], Sequence[dict[str, Any]]], total: int | None = None
) -> Callable[[str], Reply]:
    """Return the rows of an offset and a limit, in an envelope if there is a total."""

    def answer(path: str) -> Reply:
        found = list(visible(number_in("offset", path), number_in("limit", path)))
        return reply(found if total is None else {"data": found, "total": total})

    return answer


def read(server: ScriptedServer, store: str, **parts: Any) -> tuple[Verdict | None, int]:
    """Return the verdict on a window and the number of published rows."""
    verdict = sync(server, store, **parts).verdict
    return verdict, published(store).total()


def is_published(verdict: Verdict | None) -> bool:
    return verdict not in (None, Verdict.INCOMPLETE)


def error_of(server: ScriptedServer, **parts: Any) -> str:
    """Return the error that probing a window and reading its pages in order ends with."""
    spec = {"name": "acme", "base_url": server.url, "auth": {"kind": "none"}, **parts}
    spec["pace"] = {"requests_per_second": 10_000}

    async def run() -> None:
        async with SourceClient.open(parse_spec(spec, "test"), None, sleep=no_sleep) as client:
            reader = WindowReader.of(client, "WH-01", Window.everything())
            await reader.probe()
            cursor, offset = None, 0
            while (page := await reader.read_from(cursor, offset)).next_cursor:
                cursor, offset = page.next_cursor, page.page.end

    with pytest.raises(VelocityError) as caught:
        asyncio.run(run())
    return str(caught.value)


@pytest.mark.parametrize("sign", ['rel="next last"', 'rel="Next"', 'REL="next"', 'title="a, b"; rel=next'])
def test_the_page_of_a_next_link_is_read_in_any_notation(sign: str, store: str) -> None:
    pages = [
        reply(rows(10), Link=f"</movements?p=2>; {sign}"),
        reply(rows(20)[10:], Link=f"</movements?p=3>; {sign}"),
        reply(rows(25)[20:], Link='</movements?p=1>; rel="first"'),
    ]
    with answering(lambda path: pages[max(0, number_in("p", path) - 1)]) as server:
        verdict, count = read(server, store, **LINKED)
    assert is_published(verdict) and count == 25


@pytest.mark.parametrize("link", ["next", "/movements?p=2; rel=next", '<u>; rel="next'])
def test_a_link_header_that_cannot_be_read_is_an_error(link: str) -> None:
    with scripted(reply(rows(10), Link=link)) as server:
        assert "the header Link cannot be read" in error_of(server, **LINKED)


@pytest.mark.parametrize("more", [15, True, "Y", "yes", "15", None, 1.0])
def test_a_flag_that_does_not_say_the_end_lets_the_cursor_decide(more: Any, store: str) -> None:
    flag = {"paging": {**CURSORS["paging"], "more_path": "remaining"}}
    pages = [
        {"data": rows(10), "remaining": more, "next": "b"},
        {"data": rows(20)[10:], "next": "c"},
        {"data": rows(25)[20:], "remaining": "N", "next": "d"},
    ]
    with answering(lambda path: reply(pages["bc".find(path[-1]) + 1])) as server:
        verdict, count = read(server, store, **{**CURSORS, **flag})
    assert is_published(verdict) and count == 25


@pytest.mark.parametrize("more", ["maybe", -1, [], {"a": 1}, ""])
def test_a_flag_that_is_not_understood_is_an_error(more: Any) -> None:
    flag = {"paging": {**CURSORS["paging"], "more_path": "remaining"}}
    with scripted(reply({"data": rows(10), "remaining": more, "next": None})) as server:
        assert "paging.more_path remaining" in error_of(server, **{**CURSORS, **flag})


def test_more_pages_without_a_cursor_are_an_error() -> None:
    flag = {"paging": {**CURSORS["paging"], "more_path": "more"}}
    with scripted(reply({"data": rows(10), "more": True})) as server:
        message = error_of(server, **{**CURSORS, **flag})
    assert "paging.more_path more" in message and "paging.cursor_path next" in message


def test_a_cursor_in_a_body_without_an_envelope_is_an_error() -> None:
    with scripted(reply(rows(10))) as server:
        assert "nothing at paging.cursor_path next" in error_of(server, **{**CURSORS, **BARE})


@pytest.mark.parametrize("style", ["header", "body"])
def test_a_relative_link_belongs_to_the_page_that_contains_it(style: str, store: str) -> None:
    links = {"/movements": "/api/pages/2", "/api/pages/2": "3", "/api/pages/3": "?last=1"}
    numbers = {"/movements": 0, "/api/pages/2": 1, "/api/pages/3": 2, "/api/pages/3?last=1": 3}
    parts = (
        LINKED if style == "header" else {**ROWS, **IDS, "paging": {**LINKED["paging"], "next_path": "next"}}
    )

    def answer(path: str) -> Reply:
        path = path if path in numbers else path.partition("?")[0]
        found, link = rows(40)[numbers[path] * 10 :][:10], links.get(path)
        if style == "body":
            return reply({"data": found, "next": link})
        return reply(found, **({"Link": f'<{link}>; rel="next"'} if link else {}))

    with answering(answer) as server:
        verdict, count = read(server, store, **parts)
    assert is_published(verdict) and count == 40


@pytest.mark.parametrize("empty", [Reply(204, b""), reply({"data": None, "total": 0}), reply(None)])
def test_a_quiet_hour_is_an_empty_window(empty: Reply, store: str) -> None:
    with scripted(empty) as server:
        total = {"total": {"from": "body", "path": "total"}}
        assert read(server, store, **{**ROWS, **IDS, **total}) == (Verdict.COMPLETE, 0)


@pytest.mark.parametrize("status", [0, "success", True, 17])
def test_a_status_in_the_body_that_is_not_understood_is_an_error(status: Any) -> None:
    with scripted(reply({"data": rows(1), "status": status})) as server:
        throttle = {"throttle": {"body_status_path": "status"}}
        assert "throttle.body_status_path status" in error_of(server, **ROWS, **throttle)


def test_a_source_that_hides_a_row_after_cutting_the_page_is_not_taken_for_whole(store: str) -> None:
    hidden = by_offset(lambda offset, limit: [each for each in rows(100)[offset:][:limit] if each != row(10)])
    with answering(hidden) as server:
        verdict, count = read(server, store, **BARE, **IDS, paging={"page_size": 10})
    assert not is_published(verdict) or count == 99


def test_a_row_behind_the_end_that_the_total_names_is_seen(store: str) -> None:
    """The source reports a total of 10, hides the row after it, and has more rows behind it."""
    hidden = by_offset(
        lambda offset, limit: [each for each in rows(30)[offset:][:limit] if each != row(10)], total=10
    )
    total = {"total": {"from": "body", "path": "total"}}
    with answering(hidden) as server:
        verdict, _ = read(server, store, **{**ROWS, **IDS, **total}, paging={"page_size": 10})
    assert verdict is Verdict.INCOMPLETE


def test_a_source_that_ignores_the_offset_is_an_error() -> None:
    with scripted(reply(rows(10))) as server:
        assert "check paging.offset_param" in error_of(server, **BARE, paging={"page_size": 10})
    assert len(server.requests) == 2


def test_a_source_that_clamps_the_offset_is_an_error() -> None:
    with answering(by_offset(lambda offset, limit: rows(95)[min(offset, 90) :][:limit])) as server:
        assert "check paging.offset_param" in error_of(server, **BARE, paging={"page_size": 10})
    assert len(server.requests) < 20


def test_a_source_that_has_records_at_any_offset_is_an_error() -> None:
    with answering(
        by_offset(lambda offset, limit: [{**row(1), "n": offset + n} for n in range(limit)])
    ) as server:
        assert "still returns records at" in error_of(server, **BARE, paging={"page_size": 10})
    assert len(server.requests) < 50


def test_cursors_that_lead_back_are_an_error(store: str) -> None:
    pages = {"A": ("B", 10), "B": ("A", 20)}

    def answer(path: str) -> Reply:
        following, start = pages.get(path[-1], ("A", 0))
        return reply({"data": rows(30)[start:][:10], "next": following})

    with answering(answer) as server:
        assert "requested before: check paging.cursor_path next" in error_of(server, **CURSORS)
        assert read(server, store, **CURSORS) == (None, 0)
    assert len(server.requests) <= 7


def test_a_resumed_run_knows_the_cursors_of_its_ledger(store: str) -> None:
    """The pages lead back from 45 to 15. The resumed process begins at 40, and 20 is in the ledger."""

    def answer(path: str) -> Reply:
        number = number_in("cursor", path)
        return reply({"data": [row(number)], "next": 15 if number == 45 else number + 1})

    with answering(answer) as server:
        spec = {"name": "acme", "base_url": server.url, "auth": {"kind": "none"}, **CURSORS}
        spec |= {"pace": {"requests_per_second": 10_000}, "paging": {**CURSORS["paging"], "page_size": 1}}

        async def run(pages: int) -> None:
            async with (
                Store.open(store) as ledger,
                SourceClient.open(parse_spec(spec, "test"), None, sleep=no_sleep) as client,
            ):
                await read_pages(WindowReader.of(client, "WH-01", Window.everything()), ledger, pages)

        asyncio.run(run(40))
        with pytest.raises(SourceMappingError, match="requested before"):
            asyncio.run(run(1000))
    assert len(server.requests) == 40 + len(range(40, 46)) + len(range(15, 20))


async def read_pages(reader: WindowReader, store: Store, pages: int) -> None:
    """Plan run `r` unless it is planned, and read its next chunks until `pages` pages are read."""
    planned = await store.runs.find("r") or await steps.plan(reader, store, "r")
    while reader.client.tally.requests < pages:
        progress = (await store.chunks.of("r"))[-1]
        await steps.read_chunk(reader, store, planned, progress)


def test_empty_pages_without_end_are_an_error() -> None:
    numbers = iter(range(10**6))
    with answering(lambda _: reply({"data": [], "next": f"c{next(numbers)}"})) as server:
        message = error_of(server, **CURSORS)
    assert "pages in a row are empty" in message and "paging.cursor_path next" in message
    assert len(server.requests) == MAX_EMPTY_PAGES + 1


def test_a_total_that_is_far_too_high_does_not_make_a_run_read_forever(store: str) -> None:
    with answering(by_offset(lambda offset, limit: rows(30)[offset:][:limit], total=10**12)) as server:
        total = {"total": {"from": "body", "path": "total"}}
        assert read(server, store, **{**ROWS, **IDS, **total}, paging={"page_size": 10}) == (None, 0)
    assert len(server.requests) < 500


def test_empty_pages_in_the_middle_are_not_the_end(store: str) -> None:
    def answer(path: str) -> Reply:
        number = number_in("cursor", path)
        found = rows(20)[0 if number == 0 else 10 :][:10] if number in (0, 50) else []
        return reply({"data": found, "next": number + 1 if number < 60 else None})

    with answering(answer) as server:
        verdict, count = read(server, store, **CURSORS)
    assert is_published(verdict) and count == 20


@pytest.mark.parametrize("parts", [IDS, {"total": {"from": "body", "path": "total"}}], ids=["ids", "total"])
def test_a_page_past_the_end_that_repeats_the_last_one_is_the_end(parts: dict[str, Any], store: str) -> None:
    def answer(path: str) -> Reply:
        offset = 10 * min(number_in("page", path), 3)
        return reply({"data": rows(40)[offset:][:10], "total": 40})

    paging = {"paging": {"style": "page", "page_size": 10}, "order": {"stable": True}}
    with answering(answer) as server:
        verdict, count = read(server, store, **{**ROWS, **parts, **paging})
    assert is_published(verdict) and count == 40


def test_a_source_that_ignores_the_page_number_is_an_error() -> None:
    with scripted(reply(rows(10))) as server:
        paging = {"style": "page", "page_size": 10}
        assert "check paging.page_param" in error_of(server, **BARE, **IDS, paging=paging)

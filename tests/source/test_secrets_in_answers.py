"""A source that repeats its token: no message, ledger or dead letter contains it, and reading goes on."""

from __future__ import annotations

import asyncio
import json
import traceback
from collections.abc import Callable
from typing import Any
from urllib.parse import quote as percent_encode
from urllib.parse import quote_plus

import pytest
from pydantic import SecretStr

from sku_velocity.errors import SourceAddressError, SourceMappingError, VelocityError
from sku_velocity.model.chunk import PageResult
from sku_velocity.model.window import Window
from sku_velocity.source.client import SourceClient
from sku_velocity.source.spec import parse_spec
from sku_velocity.source.warehouses import list_warehouses
from sku_velocity.source.window import WindowReader
from tests.support.fake_clock import FakeClock
from tests.support.scripted_server import Reply, ScriptedServer, scripted

SECRET = "Zq7/Xw9+Kp3=Lm5 Vt8"
LINKS = {"style": "next_link", "next_path": "next"}
CURSOR = {"style": "cursor", "cursor_path": "next"}
OAUTH = {"kind": "oauth2_client_credentials", "client_id": "me"}


def read(server: ScriptedServer, pages: int = 2, **parts: Any) -> list[PageResult]:
    """Read pages one after the other, each with a new client, as a run does that is resumed."""
    spec = parse_spec({"name": "acme", "base_url": server.url, "records": {"path": "data"}, **parts}, "test")

    async def run() -> list[PageResult]:
        clock, results = FakeClock(), list[PageResult]()
        while len(results) < pages:
            async with SourceClient.open(spec, SecretStr(SECRET), clock, clock.sleep) as client:
                reader = WindowReader.of(client, "WH-01", Window.everything())
                cursor = results[-1].next_cursor if results else None
                results.append(await reader.read_from(cursor, len(results)))
        return results

    return asyncio.run(run())


def page(following: str | None, *records: Any) -> Reply:
    return Reply(body=json.dumps({"data": records or [{"n": 1}], "next": following}).encode())


def shown_by(error: BaseException) -> str:
    return "".join(traceback.format_exception(error)) + repr(error)


@pytest.mark.parametrize("spell", [lambda secret: percent_encode(secret, ""), percent_encode, quote_plus])
def test_a_link_is_stored_without_the_token_and_followed_with_it(spell: Callable[[str], str]) -> None:
    with scripted(page(f"/m?access_token={spell(SECRET)}&p=2"), page(None)) as server:
        first, _ = read(server, paging=LINKS)
    assert first.next_cursor is not None and "Zq7" not in first.next_cursor and "&p=2" in first.next_cursor
    assert server.requests[1][0] == f"/m?access_token={percent_encode(SECRET, '')}&p=2"


@pytest.mark.parametrize("place", ["query", "json_body"])
@pytest.mark.parametrize("spell", [str, quote_plus, lambda secret: percent_encode(secret, "")])
def test_a_cursor_is_stored_without_the_token_and_sent_with_it(
    spell: Callable[[str], str], place: str
) -> None:
    cursor = f"2|{spell(SECRET)}|1001"
    request = {"method": "POST", "body": {}} if place == "json_body" else {}
    with scripted(page(cursor), page(None)) as server:
        first, _ = read(server, paging=CURSOR | {"in": place}, request=request)
    assert first.next_cursor is not None and "Zq7" not in first.next_cursor
    if place == "json_body":
        assert json.loads(server.bodies[1])["cursor"] == cursor
    else:
        assert f"cursor={percent_encode(cursor, '')}" in server.requests[1][0]


def test_a_link_with_a_fetched_token_gets_the_token_of_the_run_that_follows_it() -> None:
    tokens = [Reply(body=b'{"access_token": "first-token-1"}'), Reply(body=b'{"access_token": "second-2"}')]
    script = [tokens[0], page("/m?t=first-token-1&p=2"), tokens[1], page(None)]
    with scripted(*script) as server:
        first, _ = read(server, paging=LINKS, auth=OAUTH | {"token_url": f"{server.url}/token"})
    assert first.next_cursor is not None and "first-token-1" not in first.next_cursor
    assert server.requests[3][0] == "/m?t=second-2&p=2"


@pytest.mark.parametrize("in_header", [False, True])
def test_a_link_to_another_host_is_reported_without_the_token(in_header: bool) -> None:
    link = f"https://elsewhere.test/m?access_token={percent_encode(SECRET, '')}"
    reply = (
        Reply(body=b'{"data": [{}]}', headers={"Link": f'<{link}>; rel="next"'}) if in_header else page(link)
    )
    paging = {"style": "next_link"} | ({} if in_header else {"next_path": "next"})
    with scripted(reply) as server, pytest.raises(SourceAddressError, match=r"access_token=\*\*\*") as caught:
        read(server, paging=paging)
    assert "Zq7" not in shown_by(caught.value) and "Lm5" not in shown_by(caught.value)


@pytest.mark.parametrize(
    ("reply", "parts"),
    [
        (page("http://[::1" + SECRET), {"paging": LINKS}),
        (page("\ud800" + SECRET), {"paging": LINKS}),
        (
            Reply(body=b'{"data": []}', headers={"Link": f"<broken {SECRET}"}),
            {"paging": {"style": "next_link"}},
        ),
        (Reply(body=json.dumps({"data": [{}], "next": {"t": SECRET}}).encode()), {"paging": CURSOR}),
        (
            Reply(body=json.dumps({"data": [{}], "next": None, "more": SECRET}).encode()),
            {"paging": CURSOR | {"more_path": "more"}},
        ),
        (
            Reply(body=json.dumps({"data": [], "error": {"no": SECRET}}).encode()),
            {"records": {"path": "data", "error_path": "error"}, "paging": CURSOR},
        ),
        (Reply(302, headers={"Location": f"https://{quote_plus(SECRET)}.test/"}), {"paging": CURSOR}),
        (Reply(body=json.dumps({"no": "x" * 180 + SECRET}).encode("utf-16")), {"paging": CURSOR}),
        (Reply(body=(" " * 65530 + SECRET).encode()), {"paging": CURSOR}),
        (
            Reply(body=(" " * 2040 + SECRET).encode()),
            {"paging": CURSOR, "timeouts": {"max_page_bytes": 2048}},
        ),
        (Reply(401, f'{{"no": "{SECRET}"}}'.replace("/", "\\/").encode()), {"paging": CURSOR}),
    ],
    ids=[
        "link",
        "surrogate",
        "header",
        "cursor",
        "flag",
        "error",
        "redirect",
        "utf-16",
        "edge",
        "limit",
        "php",
    ],
)
def test_no_error_about_an_answer_contains_a_part_of_the_token(reply: Reply, parts: dict[str, Any]) -> None:
    with scripted(reply) as server, pytest.raises(VelocityError) as caught:
        read(server, **parts)
    shown = shown_by(caught.value)
    assert not any(part in shown for part in ("Zq7", "Xw9", "Kp3", "Lm5", "Vt8"))


def test_a_warehouse_without_a_name_is_reported_without_the_token() -> None:
    listing = {"request": {"path": "/sites"}, "field": "code"}
    reply = Reply(body=json.dumps([{"url": f"/sites/1?t={percent_encode(SECRET)}"}]).encode())
    with scripted(reply) as server:
        spec = parse_spec({"name": "acme", "base_url": server.url, "warehouses": listing}, "test")

        async def run() -> None:
            async with SourceClient.open(spec, SecretStr(SECRET)) as client:
                await list_warehouses(client)

        with pytest.raises(SourceMappingError, match=r"\?t=\*\*\*") as caught:
            asyncio.run(run())
    assert "Zq7" not in shown_by(caught.value)


def test_a_rejected_record_is_kept_without_the_token() -> None:
    record = {
        "sku_id": "SKU-1",
        "url": f"https://wms.example.com/1?t={percent_encode(SECRET, '')}",
        "n": "1.10",
    }
    with scripted(page(None, record)) as server:
        (letter,) = read(server, pages=1, paging=CURSOR)[0].dead_letters
    assert json.loads(letter.record_json) == record | {"url": "https://wms.example.com/1?t=***"}

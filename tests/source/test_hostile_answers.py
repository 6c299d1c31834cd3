"""Malicious headers, cursors, links and bodies: each is a clear error, or has no effect."""

from __future__ import annotations

import asyncio
import gzip
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from sku_velocity.errors import (
    ConfigurationError,
    SourceAddressError,
    SourceAuthError,
    SourceMappingError,
    SourceThrottledError,
    VelocityError,
)
from sku_velocity.model.window import Window
from sku_velocity.source.client import SourceClient
from sku_velocity.source.spec import parse_spec
from sku_velocity.source.window import WindowReader
from tests.support.acme import WHOLE, spec_file
from tests.support.commands import run
from tests.support.fake_clock import FakeClock
from tests.support.scripted_server import Reply, ScriptedServer, scripted

SECRET = "s3cret-token"
EMPTY = b'{"data": [], "total": 0}'
BOMB = gzip.compress(b"[" + b" " * 200_000_000 + b"]", compresslevel=1)


def read(server: ScriptedServer, warehouse: str = "WH-01", cursor: str | None = None, **parts: Any) -> Any:
    """Return the probe of a window or, with a cursor, a page of it."""
    spec = {"name": "acme", "base_url": server.url, "records": {"path": "data"}, **parts}
    spec = {"total": {"from": "body", "path": "total"}, **spec}

    async def work() -> Any:
        clock = FakeClock()
        async with SourceClient.open(parse_spec(spec, "t"), SecretStr(SECRET), clock, clock.sleep) as client:
            reader = WindowReader.of(client, warehouse, Window.everything())
            return await (reader.read_from(cursor, 100) if cursor else reader.probe())

    return asyncio.run(work())


def refusal(reply: Reply, kind: type[VelocityError], **parts: Any) -> str:
    """Return the message of an immediate error: short, on one line, without terminal controls."""
    with scripted(reply) as server, pytest.raises(kind) as caught:
        read(server, **parts)
    assert len(server.requests) <= 1
    message = str(caught.value)
    assert message.isprintable() and len(message) < 1_000 and SECRET not in message
    return message


def test_a_decompression_bomb_is_refused_by_its_unpacked_size() -> None:
    message = refusal(Reply(body=BOMB, headers={"Content-Encoding": "gzip"}), SourceMappingError)
    assert len(BOMB) < 2_000_000 and "is over 33554432 bytes (timeouts.max_page_bytes)" in message


@pytest.mark.parametrize("coding", ["gzip, gzip", "br", "zstd", "gzip\t, deflate", "x" * 5_000])
def test_an_encoding_that_was_not_requested_is_not_unpacked(coding: str) -> None:
    message = refusal(Reply(body=b"x", headers={"Content-Encoding": coding}), SourceMappingError)
    assert "only gzip, deflate was requested" in message


def test_a_compressed_page_is_read() -> None:
    with scripted(Reply(body=gzip.compress(EMPTY), headers={"Content-Encoding": "gzip"})) as server:
        assert read(server).total == 0
    assert server.requests[0][1]["Accept-Encoding"] == "gzip, deflate"


def test_a_decompression_bomb_from_the_token_endpoint_is_refused() -> None:
    bomb = Reply(body=BOMB, headers={"Content-Encoding": "gzip"})
    with scripted(bomb) as tokens:
        auth = {"kind": "oauth2_client_credentials", "token_url": tokens.url, "client_id": "me"}
        assert "is over 65536 bytes" in refusal(Reply(), SourceAuthError, auth=auth)


@pytest.mark.parametrize("wait", ["inf", "1e300", "Fri, 31 Dec 9999 23:59:59 GMT"])
@pytest.mark.parametrize("status", [500, 429])
def test_an_endless_retry_after_is_an_error(wait: str, status: int) -> None:
    refusal(Reply(status, headers={"Retry-After": wait}), SourceThrottledError)


@pytest.mark.parametrize(
    "wait", ["nan", "-inf", "Fri, 31 Dec 99999999999 23:59:59 GMT", "\x1b[31m", "x" * 9_000]
)
def test_an_invalid_retry_after_is_ignored(wait: str) -> None:
    with scripted(Reply(503, headers={"Retry-After": wait}), Reply(body=EMPTY)) as server:
        assert read(server).total == 0


@pytest.mark.parametrize("target", ["//evil.test", "", "?\x85", "x" * 60_000])
def test_a_redirect_is_reported_and_not_followed(target: str) -> None:
    assert "which is not followed" in refusal(Reply(302, headers={"Location": target}), SourceAddressError)


@pytest.mark.parametrize("target", ["http://[::1", "javascript:alert(1)", "//\x1b[31m"])
def test_a_redirect_to_an_invalid_address_is_reported(target: str) -> None:
    with scripted(Reply(302, headers={"Location": target})) as server, pytest.raises(VelocityError) as caught:
        read(server)
    assert "address: " in str(caught.value) and str(caught.value).isprintable()


@pytest.mark.parametrize(
    "total", [b"1" + b"0" * 400, b"-1", b"1e999", b'"\\ud800"', b"[]", b"1" + b"0" * 5_000]
)
def test_an_absurd_total_in_the_body_is_no_total(total: bytes) -> None:
    reply = Reply(body=b'{"data": [], "total": ' + total + b"}")
    assert "no total at total.path total" in refusal(reply, SourceMappingError)


@pytest.mark.parametrize("total", ["9" * 400, "9" * 5_000, "-1", "\x1b[31m"])
def test_an_absurd_total_in_a_header_is_no_total(total: str) -> None:
    reply = Reply(body=EMPTY, headers={"X-Total": total})
    message = refusal(reply, SourceMappingError, total={"from": "header", "header": "X-Total"})
    assert "no total at header X-Total" in message


@pytest.mark.parametrize("count", [b"[" * 100_000, b"Infinity", b"NaN", b"1" + b"0" * 400])
def test_an_absurd_total_from_a_count_request_is_no_total(count: bytes) -> None:
    total = {"from": "count_request", "request": {"path": "/count"}}
    with (
        scripted(Reply(body=EMPTY), Reply(body=count)) as server,
        pytest.raises(VelocityError, match="count"),
    ):
        read(server, total=total)


@pytest.mark.parametrize("cursor", ["a\r\nX-Evil: 1", "a&limit=1#", "\x1b[31m", "../../admin", "é\u202e\x00"])
def test_a_cursor_cannot_add_parameters_or_headers(cursor: str) -> None:
    with scripted(Reply(body=b'{"data": []}')) as server:
        read(server, cursor=cursor, paging={"style": "cursor", "cursor_path": "next", "limit_param": None})
    path, headers = server.requests[0]
    assert path.startswith("/movements?cursor=") and path.count("&") == path.count("=") - 1 == 0
    assert "X-Evil" not in headers


@pytest.mark.parametrize("cursor", ["x" * 10_000_000, "a\ud800"])
def test_a_cursor_that_does_not_fit_in_a_url_is_an_error(cursor: str) -> None:
    paging = {"style": "cursor", "cursor_path": "next"}
    assert "cannot be built" in refusal(Reply(), SourceAddressError, cursor=cursor, paging=paging)


def test_a_cursor_that_does_not_advance_is_reported_briefly() -> None:
    cursor = "\x1b[31m" + "x" * 30_000
    reply = Reply(body=b'{"data": [], "next": "\\u001b[31m' + b"x" * 30_000 + b'"}')
    paging = {"style": "cursor", "cursor_path": "next"}
    assert "returned a cursor or link that was requested before" in refusal(
        reply, SourceMappingError, cursor=cursor, paging=paging
    )


@pytest.mark.parametrize("link", ["http://[::1", "/a\r\nX-Evil: 1", "\x1b[31m", "x" * 70_000, "?c=\ud800"])
def test_a_link_that_is_not_a_url_is_an_error(link: str) -> None:
    paging = {"style": "next_link", "next_path": "next"}
    assert "is not a valid URL" in refusal(Reply(), SourceAddressError, cursor=link, paging=paging)


@pytest.mark.parametrize("warehouse", ["a\r\nX-Evil: 1", "a\x00", "é", "a\ud800"])
def test_a_warehouse_cannot_escape_its_header(warehouse: str) -> None:
    request = {"headers": {"X-Site": "{warehouse}"}}
    message = refusal(Reply(), SourceAddressError, warehouse=warehouse, request=request)
    assert "cannot be built" in message and "check the warehouse" in message


@pytest.mark.parametrize("warehouse", ["../admin", "a?b=c#d", "a/b", "%2e%2e", "a\r\nb"])
def test_a_warehouse_cannot_escape_its_path_segment(warehouse: str) -> None:
    with scripted(Reply(body=EMPTY)) as server:
        read(server, warehouse, request={"path": "/sites/{warehouse}/moves"})
    path = server.requests[0][0]
    assert path.startswith("/sites/") and path.partition("?")[0].count("/") == 3 and "#" not in path


@pytest.mark.parametrize("warehouse", [".", ".."])
def test_a_warehouse_that_names_a_parent_directory_is_refused(warehouse: str) -> None:
    request = {"path": "/sites/{warehouse}/moves"}
    assert "changes the path" in refusal(Reply(), ConfigurationError, warehouse=warehouse, request=request)


@pytest.mark.usefixtures("token")
def test_terminal_controls_from_a_source_are_not_printed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    hostile = '{"records": [{"a": "\x1b[2J \x9b2J \u202e [link=http://x.test]y[/link]"}], "total": 1}'
    for reply in (Reply(401, hostile.encode()), Reply(body=hostile.encode())):
        with scripted(reply) as server:
            words = [
                "--source",
                spec_file(server, tmp_path),
                "--token-env",
                "WMS_TOKEN",
                "--warehouse",
                "\x1b[1m",
            ]
            for command in (["check-source"], ["sync", "--store", f"sqlite:///{tmp_path}/s.db"]):
                bounds = [word for name, value in WHOLE.items() for word in (f"--{name}", value)]
                assert run(*command, *words, *bounds) == 2
    shown = capsys.readouterr()
    assert (
        not any(mark in shown.out + shown.err for mark in ("\x1b", "\x9b", "\u202e"))
        and "[link=" in shown.err
    )

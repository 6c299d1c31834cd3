"""SourceClient against a real server with scripted replies; waits are recorded, not slept."""

from __future__ import annotations

import asyncio
import gzip
import json
import socket
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import pytest
from pydantic import SecretStr

from sku_velocity.errors import (
    ConfigurationError,
    SourceAddressError,
    SourceAuthError,
    SourceMappingError,
    SourceThrottledError,
    SourceUnavailableError,
    UnreadableBodyError,
    VelocityError,
)
from sku_velocity.source.client import Response, SourceClient
from sku_velocity.source.requests import RequestParts
from sku_velocity.source.spec import parse_spec
from tests.support.fake_clock import FakeClock
from tests.support.scripted_server import Reply, ScriptedServer, scripted

pytestmark = pytest.mark.anyio

OK = Reply(body=b"[1]")
SECRET = "s3cret-token"


def decode(body: bytes) -> Any:
    try:
        return json.loads(body)
    except ValueError as error:
        raise UnreadableBodyError(f"not JSON: {body!r}") from error


async def fetch(url: str, clock: FakeClock | None = None, token: str = SECRET, **parts: Any) -> Response[Any]:
    spec = parse_spec({"name": "acme", "base_url": url, **parts}, "test")
    clock = clock or FakeClock()
    async with SourceClient.open(spec, SecretStr(token), clock, clock.sleep) as client:
        return await client.fetch(client.build_request(RequestParts("GET", spec.url, {}, {})), decode)


async def error_of(server: ScriptedServer, **parts: Any) -> VelocityError:
    with pytest.raises(VelocityError) as caught:
        await fetch(server.url, **parts)
    return caught.value


@pytest.mark.parametrize("status", [408, 429, 500, 502, 503, 504])
async def test_a_transient_status_is_retried(status: int) -> None:
    clock = FakeClock()
    with scripted(Reply(status), OK) as server:
        response = await fetch(server.url, clock)
    assert (response.content, response.tally.requests, response.tally.retried) == ([1], 2, 1)
    assert 2 <= max(clock.slept) <= 10


@pytest.mark.parametrize("status", [500, 429])
async def test_a_request_is_sent_at_most_four_times(status: int) -> None:
    with scripted(Reply(status)) as server:
        error = await error_of(server)
    assert type(error) is SourceUnavailableError  # the name that Prefect shows
    assert len(server.requests) == 4


@pytest.mark.parametrize(
    ("status", "kind", "category"),
    [
        (401, SourceAuthError, "token"),
        (403, SourceAuthError, "token"),
        (404, SourceAddressError, "address"),
        (302, SourceAddressError, "address"),
        (400, SourceMappingError, "mapping"),
        (422, SourceMappingError, "mapping"),
    ],
)
async def test_a_permanent_error_is_not_retried(status: int, kind: type, category: str) -> None:
    with scripted(Reply(status, b"no such luck")) as server:
        error = await error_of(server)
    assert (
        isinstance(error, kind)
        and f"{category}: HTTP {status}" in str(error)
        and "no such luck" in str(error)
    )
    assert len(server.requests) == 1


async def test_a_redirect_is_not_followed() -> None:
    with scripted(OK) as elsewhere, scripted(Reply(302, headers={"Location": elsewhere.url})) as server:
        await error_of(server)
    assert elsewhere.requests == []


async def test_a_truncated_body_is_retried() -> None:
    with scripted(Reply(body=b"[1, 2, 3, 4]", cut=True), OK) as server:
        assert (await fetch(server.url)).tally.retried == 1


async def test_a_body_that_is_not_json_is_retried() -> None:
    with scripted(Reply(body=b"<html>busy</html>"), OK) as server:
        assert (await fetch(server.url)).content == [1]


async def test_a_body_that_remains_unreadable_is_quoted() -> None:
    with scripted(Reply(body=b"<html>sign in</html>")) as server:
        error = await error_of(server)
    assert isinstance(error, UnreadableBodyError) and "<html>sign in</html>" in str(error)


async def test_a_refused_connection_is_tried_four_times() -> None:
    with scripted(OK) as server:
        pass
    clock = FakeClock()
    with pytest.raises(SourceUnavailableError, match="address"):
        await fetch(server.url, clock)
    assert len([seconds for seconds in clock.slept if seconds >= 2]) == 3


@pytest.mark.parametrize("status", [429, 503])
async def test_a_retry_after_is_waited_in_full_and_uses_no_attempt(status: int) -> None:
    clock = FakeClock()
    busy = Reply(status, headers={"Retry-After": "7"})
    with scripted(*[busy] * 9, OK) as server:
        response = await fetch(server.url, clock)
    assert (response.tally.requests, response.tally.retried, response.tally.throttled) == (10, 0, 9)
    assert clock.now >= 63


async def test_a_retry_after_may_be_a_date() -> None:
    clock = FakeClock()
    date = format_datetime(datetime.now(UTC) + timedelta(seconds=40), usegmt=True)
    with scripted(Reply(503, headers={"Retry-After": date}), OK) as server:
        await fetch(server.url, clock)
    assert 35 <= clock.now <= 41


async def test_a_retry_after_of_another_status_delays_the_next_attempt() -> None:
    clock = FakeClock()
    with scripted(Reply(500, headers={"Retry-After": "30"}), OK) as server:
        response = await fetch(server.url, clock)
    assert response.tally.retried == 1 and max(clock.slept) == 30


async def test_a_request_waits_at_most_ten_minutes_in_total() -> None:
    clock = FakeClock()
    busy = Reply(429, headers={"Retry-After": "250"})
    with scripted(busy) as server, pytest.raises(SourceThrottledError, match="750 s"):
        await fetch(server.url, clock)
    assert len(server.requests) == 3 and clock.now <= 600


async def test_a_retry_after_of_zero_does_not_cause_a_busy_loop() -> None:
    with scripted(Reply(429, headers={"Retry-After": "0"})) as server:
        assert isinstance(await error_of(server), SourceUnavailableError)
    assert len(server.requests) == 4


async def test_the_token_is_sent_as_the_spec_says() -> None:
    with scripted(OK) as server:
        await fetch(server.url)
        await fetch(server.url, auth={"kind": "header", "header": "X-Key", "prefix": "key "})
        await fetch(server.url, auth={"kind": "none"})
    shown = [(headers.get("Authorization"), headers.get("X-Key")) for _, headers in server.requests]
    assert shown == [(f"Bearer {SECRET}", None), (None, f"key {SECRET}"), (None, None)]


async def test_an_error_never_contains_the_token() -> None:
    with scripted(Reply(401, b"bad token " + SECRET.encode())) as server:
        error = await error_of(server)
    assert SECRET not in str(error) and "bad token ***" in str(error)


@pytest.mark.parametrize("token", ["", "  ", "päss", "two\nlines"])
async def test_a_token_that_does_not_fit_in_a_header_is_a_configuration_error(token: str) -> None:
    with scripted(OK) as server, pytest.raises(ConfigurationError, match="token") as caught:
        await fetch(server.url, token=token)
    assert not server.requests
    assert not token.strip() or token not in str(caught.value)


async def test_a_line_break_after_the_token_is_ignored() -> None:
    with scripted(OK) as server:
        await fetch(server.url, token=f"{SECRET}\n")
    assert server.requests[0][1]["Authorization"] == f"Bearer {SECRET}"


async def test_a_page_over_the_size_limit_is_an_error_that_quotes_its_start() -> None:
    with scripted(Reply(body=b'["' + b"x" * 5000 + b'"]')) as server:
        error = await error_of(server, timeouts={"max_page_bytes": 2048})
    assert isinstance(error, SourceMappingError) and "over 2048 bytes" in str(error)
    assert "lower paging.page_size, or raise timeouts.max_page_bytes" in str(error)
    assert f'["{"x" * 198}' in str(error) and "x" * 199 not in str(error)


async def test_a_compression_that_was_not_requested_is_no_matter_of_the_page_size() -> None:
    with scripted(Reply(body=b"[1]", headers={"Content-Encoding": "br"})) as server:
        error = await error_of(server)
    assert isinstance(error, SourceMappingError) and "compressed as 'br'" in str(error)
    assert "turn that off at the source" in str(error) and "page" not in str(error)


async def test_an_error_response_is_quoted_verbatim_including_braces() -> None:
    with scripted(Reply(401, b'{"detail": "{token} has expired"}')) as server:
        error = await error_of(server)
    assert isinstance(error, SourceAuthError) and '{"detail": "{token} has expired"}' in str(error)


@pytest.mark.parametrize("damage", [b"", b"garbage"], ids=["truncated", "trailing"])
async def test_a_damaged_gzip_body_is_read_again(damage: bytes) -> None:
    body = gzip.compress(b"[1]")
    coding = {"Content-Encoding": "gzip"}
    broken = Reply(body=body + damage if damage else body[:-3], headers=coding)
    with scripted(broken, Reply(body=body, headers=coding)) as server:
        response = await fetch(server.url)
    assert (response.content, response.tally.retried) == ([1], 1)


async def test_a_body_that_remains_damaged_is_retriable() -> None:
    with scripted(Reply(body=b"[1]", headers={"Content-Encoding": "gzip"})) as server:
        error = await error_of(server)
    assert isinstance(error, SourceUnavailableError) and "the gzip body is damaged" in str(error)


async def test_no_cache_may_answer_for_the_source() -> None:
    auth = {"kind": "oauth2_client_credentials", "client_id": "me"}
    with scripted(Reply(body=b'{"access_token": "t"}'), OK) as server:
        await fetch(server.url, auth={**auth, "token_url": f"{server.url}/token"})
    assert [(sent["Cache-Control"], sent["Pragma"]) for _, sent in server.requests] == [("no-cache",) * 2] * 2


@pytest.mark.parametrize(
    ("value", "sent"), [("a b", "a%20b"), ("a+b", "a%2Bb"), ("a%20b", "a%2520b"), ("é&=", "%C3%A9%26%3D")]
)
async def test_a_parameter_arrives_as_it_was_given(value: str, sent: str) -> None:
    with scripted(OK) as server:
        spec = parse_spec({"name": "acme", "base_url": server.url}, "test")
        async with SourceClient.open(spec, SecretStr(SECRET)) as client:
            await client.fetch(client.build_request(RequestParts("GET", spec.url, {"q": value}, {})), decode)
    assert server.requests[0][0].partition("?")[2] == f"q={sent}"


async def test_no_content_is_null() -> None:
    with scripted(Reply(204, b"")) as server:
        assert (await fetch(server.url)).content is None


async def test_an_abandoned_request_does_not_arrive_later() -> None:
    """A closed connection discards unsent data: it ends with a reset, not an orderly close."""
    with socket.create_server(("127.0.0.1", 0)) as listener, ThreadPoolExecutor(1) as pool:
        ended = pool.submit(wait_for_close, listener)
        with pytest.raises(SourceUnavailableError):
            await fetch(f"http://127.0.0.1:{listener.getsockname()[1]}", timeouts={"total": 0.2})
        assert isinstance(await asyncio.wrap_future(ended), ConnectionResetError)


def wait_for_close(listener: socket.socket) -> OSError | None:
    """Accept one client, send no reply, and return the error that ends its connection."""
    connection, _ = listener.accept()
    with connection:
        try:
            while connection.recv(65536):
                pass
        except OSError as error:
            return error
    return None


async def test_a_redirect_is_reported_with_its_target_without_its_query() -> None:
    with scripted(Reply(302, headers={"Location": "/sso/login?next=s3cret-token"})) as server:
        error = await error_of(server)
    shown = (
        f"redirected to {server.url}/sso/login, which is not followed: set base_url and request.path to it"
    )
    assert shown in str(error) and "if it is a login page, check the token" in str(error)


PAGE = b"<!DOCTYPE html>\n<title>Sign in</title>"


@pytest.mark.parametrize(
    "reply", [Reply(body=PAGE), Reply(body=b"<p>Hi", headers={"Content-Type": "text/html; charset=utf-8"})]
)
async def test_an_html_page_is_reported_with_its_address_as_a_likely_login_page(reply: Reply) -> None:
    with scripted(reply) as server:
        error = await error_of(server)
    assert isinstance(error, UnreadableBodyError) and len(server.requests) == 4
    assert f"GET {server.url}/movements: the response is an HTML page, not JSON (HTTP 200)" in str(error)
    assert "probably a login page: check the token" in str(error)


@pytest.mark.parametrize("is_named", [True, False])
async def test_a_404_names_the_option_of_a_warehouse_that_the_request_names(is_named: bool) -> None:
    parts = {"request": {"path": "/sites/{warehouse}"}} if is_named else {}
    with scripted(Reply(404)) as server:
        error = await error_of(server, **parts)
    assert ("(--warehouse)" in str(error)) is is_named and "base_url" in str(error)

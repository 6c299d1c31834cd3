"""SourceClient against a real server that answers as told; waiting is recorded, not done."""

from __future__ import annotations

import asyncio
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
from sku_velocity.source.client import Answer, SourceClient
from sku_velocity.source.requests import Ask
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


async def fetch(url: str, clock: FakeClock | None = None, token: str = SECRET, **parts: Any) -> Answer[Any]:
    spec = parse_spec({"name": "acme", "base_url": url, **parts}, "test")
    clock = clock or FakeClock()
    async with SourceClient.open(spec, SecretStr(token), clock, clock.sleep) as client:
        return await client.fetch(client.build_request(Ask("GET", spec.url, {}, {})), decode)


async def refusal(server: ScriptedServer, **parts: Any) -> VelocityError:
    with pytest.raises(VelocityError) as caught:
        await fetch(server.url, **parts)
    return caught.value


@pytest.mark.parametrize("status", [408, 429, 500, 502, 503, 504])
async def test_a_passing_status_is_tried_again(status: int) -> None:
    clock = FakeClock()
    with scripted(Reply(status), OK) as server:
        answer = await fetch(server.url, clock)
    assert (answer.content, answer.tally.requests, answer.tally.retried) == ([1], 2, 1)
    assert 2 <= max(clock.slept) <= 10


@pytest.mark.parametrize("status", [500, 429])
async def test_four_attempts_are_all(status: int) -> None:
    with scripted(Reply(status)) as server:
        error = await refusal(server)
    assert type(error) is SourceUnavailableError  # as Prefect will name it
    assert len(server.requests) == 4


@pytest.mark.parametrize(
    ("status", "kind", "word"),
    [
        (401, SourceAuthError, "token"),
        (403, SourceAuthError, "token"),
        (404, SourceAddressError, "address"),
        (302, SourceAddressError, "address"),
        (400, SourceMappingError, "mapping"),
        (422, SourceMappingError, "mapping"),
    ],
)
async def test_what_no_retry_helps_is_fatal_at_once(status: int, kind: type, word: str) -> None:
    with scripted(Reply(status, b"no such luck")) as server:
        error = await refusal(server)
    assert isinstance(error, kind) and f"{word}: HTTP {status}" in str(error) and "no such luck" in str(error)
    assert len(server.requests) == 1


async def test_a_redirect_is_not_followed() -> None:
    with scripted(OK) as elsewhere, scripted(Reply(302, headers={"Location": elsewhere.url})) as server:
        await refusal(server)
    assert elsewhere.requests == []


async def test_a_body_cut_short_is_tried_again() -> None:
    with scripted(Reply(body=b"[1, 2, 3, 4]", cut=True), OK) as server:
        assert (await fetch(server.url)).tally.retried == 1


async def test_a_body_that_is_not_json_is_tried_again() -> None:
    with scripted(Reply(body=b"<html>busy</html>"), OK) as server:
        assert (await fetch(server.url)).content == [1]


async def test_a_body_that_stays_unreadable_is_quoted() -> None:
    with scripted(Reply(body=b"<html>sign in</html>")) as server:
        error = await refusal(server)
    assert isinstance(error, UnreadableBodyError) and "<html>sign in</html>" in str(error)


async def test_a_refused_connection_is_tried_four_times() -> None:
    with scripted(OK) as server:
        pass
    clock = FakeClock()
    with pytest.raises(SourceUnavailableError, match="address"):
        await fetch(server.url, clock)
    assert len([seconds for seconds in clock.slept if seconds >= 2]) == 3


@pytest.mark.parametrize("status", [429, 503])
async def test_a_wait_is_obeyed_in_full_and_spends_no_attempt(status: int) -> None:
    clock = FakeClock()
    busy = Reply(status, headers={"Retry-After": "7"})
    with scripted(*[busy] * 9, OK) as server:
        answer = await fetch(server.url, clock)
    assert (answer.tally.requests, answer.tally.retried, answer.tally.throttled) == (10, 0, 9)
    assert clock.now >= 63


async def test_a_wait_may_be_a_date() -> None:
    clock = FakeClock()
    date = format_datetime(datetime.now(UTC) + timedelta(seconds=40), usegmt=True)
    with scripted(Reply(503, headers={"Retry-After": date}), OK) as server:
        await fetch(server.url, clock)
    assert 35 <= clock.now <= 41


async def test_a_wait_of_another_status_is_obeyed_between_attempts() -> None:
    clock = FakeClock()
    with scripted(Reply(500, headers={"Retry-After": "30"}), OK) as server:
        answer = await fetch(server.url, clock)
    assert answer.tally.retried == 1 and max(clock.slept) == 30


async def test_a_request_waits_ten_minutes_altogether_and_no_longer() -> None:
    clock = FakeClock()
    busy = Reply(429, headers={"Retry-After": "250"})
    with scripted(busy) as server, pytest.raises(SourceThrottledError, match="750 s"):
        await fetch(server.url, clock)
    assert len(server.requests) == 3 and clock.now <= 600


async def test_a_wait_of_nothing_is_no_busy_loop() -> None:
    with scripted(Reply(429, headers={"Retry-After": "0"})) as server:
        assert isinstance(await refusal(server), SourceUnavailableError)
    assert len(server.requests) == 4


async def test_the_token_is_shown_as_the_spec_says() -> None:
    with scripted(OK) as server:
        await fetch(server.url)
        await fetch(server.url, auth={"kind": "header", "header": "X-Key", "prefix": "key "})
        await fetch(server.url, auth={"kind": "none"})
    shown = [(headers.get("Authorization"), headers.get("X-Key")) for _, headers in server.requests]
    assert shown == [(f"Bearer {SECRET}", None), (None, f"key {SECRET}"), (None, None)]


async def test_an_error_never_shows_the_token() -> None:
    with scripted(Reply(401, b"bad token " + SECRET.encode())) as server:
        error = await refusal(server)
    assert SECRET not in str(error) and "bad token ***" in str(error)


@pytest.mark.parametrize("token", ["", "  ", "päss", "two\nlines"])
async def test_a_token_that_no_header_holds_is_a_configuration_error(token: str) -> None:
    with scripted(OK) as server, pytest.raises(ConfigurationError, match="token") as caught:
        await fetch(server.url, token=token)
    assert not server.requests
    assert not token.strip() or token not in str(caught.value)


async def test_a_line_end_after_the_token_is_forgiven() -> None:
    with scripted(OK) as server:
        await fetch(server.url, token=f"{SECRET}\n")
    assert server.requests[0][1]["Authorization"] == f"Bearer {SECRET}"


async def test_a_page_over_the_limit_is_refused_with_its_beginning() -> None:
    with scripted(Reply(body=b'["' + b"x" * 5000 + b'"]')) as server:
        error = await refusal(server, timeouts={"max_page_bytes": 2048})
    assert isinstance(error, SourceMappingError) and "over 2048 bytes" in str(error)
    assert f'["{"x" * 198}' in str(error) and "x" * 199 not in str(error)


async def test_a_refusal_is_quoted_as_it_stands_braces_and_all() -> None:
    with scripted(Reply(401, b'{"detail": "{token} has expired"}')) as server:
        error = await refusal(server)
    assert isinstance(error, SourceAuthError) and '{"detail": "{token} has expired"}' in str(error)


async def test_what_was_given_up_does_not_arrive_later() -> None:
    """A closed connection forgets what it has not sent: its end is a reset, not the end of a talk."""
    with socket.create_server(("127.0.0.1", 0)) as listener, ThreadPoolExecutor(1) as pool:
        ended = pool.submit(end_of_talk, listener)
        with pytest.raises(SourceUnavailableError):
            await fetch(f"http://127.0.0.1:{listener.getsockname()[1]}", timeouts={"total": 0.2})
        assert isinstance(await asyncio.wrap_future(ended), ConnectionResetError)


def end_of_talk(listener: socket.socket) -> OSError | None:
    """How the first caller, who gets no answer, hangs up."""
    connection, _ = listener.accept()
    with connection:
        try:
            while connection.recv(65536):
                pass
        except OSError as error:
            return error
    return None

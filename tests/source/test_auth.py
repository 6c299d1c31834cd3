"""Requests are signed as the spec says, and no message contains a secret."""

from __future__ import annotations

import asyncio
import base64
import gzip
import json
from typing import Any

import httpx
import pytest
from pydantic import SecretStr

from sku_velocity.errors import (
    ConfigurationError,
    SourceAuthError,
    SourceThrottledError,
    SourceUnavailableError,
    SpecError,
    VelocityError,
)
from sku_velocity.http.signing import Answer
from sku_velocity.model.window import Window
from sku_velocity.source.auth import ClientCredentials
from sku_velocity.source.client import SourceClient
from sku_velocity.source.requests import RequestParts, Requests
from sku_velocity.source.spec import AuthSpec, parse_spec
from tests.support.fake_clock import FakeClock
from tests.support.scripted_server import Reply, ScriptedServer, scripted

pytestmark = pytest.mark.anyio

SECRET = "s3cret"


async def ask(
    server: ScriptedServer, times: int = 1, secret: str = SECRET, clock: FakeClock | None = None, **auth: Any
) -> None:
    """Fetch a page `times` times with one client."""
    spec = parse_spec({"name": "acme", "base_url": server.url, "auth": auth}, "test")
    clock = clock or FakeClock()
    async with SourceClient.open(spec, SecretStr(secret), clock, clock.sleep) as client:
        for _ in range(times):
            page = Requests(spec, "WH-01", Window.everything()).page(0, 1)
            await client.fetch(client.build_request(page), json.loads)


@pytest.mark.parametrize(
    ("auth", "header", "value"),
    [
        ({"kind": "bearer"}, "Authorization", "Bearer s3cret"),
        ({"kind": "header", "header": "Api-Key"}, "Api-Key", "s3cret"),
        ({"kind": "header", "header": "Authorization", "prefix": "token "}, "Authorization", "token s3cret"),
        ({"kind": "basic", "username": "me"}, "Authorization", "Basic bWU6czNjcmV0"),
    ],
)
async def test_the_secret_is_sent_as_the_spec_says(auth: dict[str, Any], header: str, value: str) -> None:
    with scripted(Reply()) as server:
        await ask(server, **auth)
    assert server.requests[0][1][header] == value


async def test_a_basic_secret_may_contain_the_username() -> None:
    with scripted(Reply()) as server:
        await ask(server, kind="basic", secret="you:pass:word")
    assert base64.b64decode(server.requests[0][1]["Authorization"].split()[1]) == b"you:pass:word"


async def test_a_basic_secret_without_a_username_is_a_configuration_error() -> None:
    with scripted(Reply()) as server, pytest.raises(ConfigurationError, match=r"auth.username"):
        await ask(server, kind="basic")


BODY = {"args": ["database", 0, "password", "search"], "offset": 0}
IN_BODY = {"kind": "json_body", "values": {"args.0": "acme", "args.1": 7, "args.2": "{token}"}}


def posting(server: ScriptedServer, **auth: Any) -> dict[str, Any]:
    request = {"method": "POST", "body": BODY}
    return {"name": "acme", "base_url": server.url, "request": request, "auth": IN_BODY | auth}


async def test_a_secret_in_the_body_is_sent_but_not_stored() -> None:
    with scripted(Reply()) as server:
        spec = parse_spec(posting(server), "test")
        async with SourceClient.open(spec, SecretStr(SECRET)) as client:
            request = client.build_request(Requests(spec, "WH-01", Window.everything()).page(0, 1))
            await client.fetch(request, json.loads)
    assert json.loads(server.bodies[0]) == {"args": ["acme", 7, SECRET, "search"], "offset": 0}
    assert json.loads(request.content) == BODY and SECRET not in spec.model_dump_json()


async def test_an_error_response_that_repeats_the_secret_is_quoted_without_it() -> None:
    secret = 'p"ss\u00e4wort'
    with scripted(Reply(401, json.dumps({"args": [secret]}).encode())) as server:
        spec = parse_spec(posting(server), "test")
        async with SourceClient.open(spec, SecretStr(secret)) as client:
            request = client.build_request(Requests(spec, "WH-01", Window.everything()).page(0, 1))
            with pytest.raises(SourceAuthError, match=r"\*\*\*") as caught:
                await client.fetch(request, json.loads)
    assert "wort" not in str(caught.value)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"args.0": "acme"}, "needs auth.values, one of them {token}"),
        ({"args.4": "{token}"}, "there is no args.4 in the body"),
    ],
)
def test_a_body_without_a_place_for_the_secret_is_a_wrong_spec(values: dict[str, Any], message: str) -> None:
    with scripted(Reply()) as server, pytest.raises(SpecError, match=message):
        parse_spec(posting(server, values=values), "test")


def token(value: str, **more: Any) -> Reply:
    return Reply(body=json.dumps({"access_token": value, "token_type": "bearer", **more}).encode())


def oauth(server: ScriptedServer) -> dict[str, Any]:
    return {
        "kind": "oauth2_client_credentials",
        "token_url": f"{server.url}/token",
        "client_id": "me",
        "scope": "stock",
    }


async def test_a_token_is_fetched_once_and_sent_with_each_request() -> None:
    with scripted(token("t1", expires_in=3600), Reply()) as server:
        await ask(server, times=3, **oauth(server))
    paths = [path.partition("?")[0] for path, _ in server.requests]
    assert paths == ["/token", "/movements", "/movements", "/movements"]
    assert {headers["Authorization"] for _, headers in server.requests[1:]} == {"Bearer t1"}


async def test_a_rejected_token_is_renewed_once() -> None:
    with scripted(token("t1"), Reply(401), token("t2"), Reply()) as server:
        await ask(server, **oauth(server))
    assert [headers["Authorization"] for _, headers in server.requests[1::2]] == ["Bearer t1", "Bearer t2"]


async def test_a_token_that_is_rejected_again_is_an_error() -> None:
    replies = (token("t1"), Reply(401), token("t2"), Reply(401, b"t2 is no good"))
    with scripted(*replies) as server, pytest.raises(SourceAuthError, match="token: HTTP 401") as caught:
        await ask(server, **oauth(server))
    assert "t2" not in str(caught.value) and len(server.requests) == 4


@pytest.mark.parametrize(
    ("reply", "kind"),
    [
        (Reply(400, b'{"error": "invalid_client"}'), SourceAuthError),
        (Reply(200, b"<html>"), SourceAuthError),
        (Reply(503), SourceUnavailableError),
    ],
)
async def test_a_token_url_that_returns_no_token_is_an_error(reply: Reply, kind: type[VelocityError]) -> None:
    with (
        scripted(reply) as server,
        pytest.raises(kind, match=r"token: http://\S+/token returned HTTP") as caught,
    ):
        await ask(server, **oauth(server))
    assert SECRET not in str(caught.value)


@pytest.mark.parametrize("status", [429, 503])
async def test_a_wait_that_the_token_url_asks_for_is_obeyed_in_full_and_uses_no_attempt(status: int) -> None:
    clock, busy = FakeClock(), Reply(status, headers={"Retry-After": "7"})
    with scripted(*[busy] * 9, token("t1"), Reply()) as server:
        await ask(server, clock=clock, **oauth(server))
    assert [path.partition("?")[0] for path, _ in server.requests] == ["/token"] * 10 + ["/movements"]
    assert clock.now >= 63


async def test_a_request_waits_at_most_ten_minutes_for_its_token() -> None:
    with (
        scripted(Reply(429, headers={"Retry-After": "250"})) as server,
        pytest.raises(SourceThrottledError, match="token returned HTTP 429 and asks to wait 750 s in total"),
    ):
        await ask(server, **oauth(server))
    assert len(server.requests) == 3


async def test_requests_in_flight_send_one_token_request_after_the_wait() -> None:
    clock = FakeClock()
    with scripted(Reply(429, headers={"Retry-After": "7"}), token("t1"), Reply()) as server:
        spec = parse_spec({"name": "acme", "base_url": server.url, "auth": oauth(server)}, "test")
        async with SourceClient.open(spec, SecretStr(SECRET), clock, clock.sleep) as client:
            request = client.build_request(RequestParts("GET", server.url, {}, {}))
            await asyncio.gather(*(client.fetch(request, json.loads) for _ in range(5)))
    assert [path for path, _ in server.requests] == ["/token"] * 2 + ["/"] * 5 and clock.now >= 7


@pytest.mark.parametrize("expires_in", ["-5", "0", "0.001", "NaN", "1e999", "1" * 400, '"soon"', "[]"])
async def test_no_lifetime_causes_a_token_request_before_each_request(expires_in: str) -> None:
    reply = Reply(body=f'{{"access_token": "t1", "expires_in": {expires_in}}}'.encode())
    with scripted(reply, Reply()) as server:
        await ask(server, times=3, **oauth(server))
    assert [path for path, _ in server.requests].count("/token") == 1


@pytest.mark.parametrize(
    ("expires_in", "used"), [(3600, 3570), (20, 10), (1, 10), (10**12, 86_400), (None, 270), (-1, 270)]
)
async def test_a_token_is_used_for_at_least_ten_seconds_and_at_most_a_day(
    expires_in: float | None, used: float
) -> None:
    with scripted(token("t1", expires_in=expires_in)) as server:
        spec = parse_spec({"name": "acme", "base_url": server.url, "auth": oauth(server)}, "test")
        clock = FakeClock()
        async with SourceClient.open(spec, SecretStr(SECRET), clock, clock.sleep) as client:
            for now in (0, used - 1, used + 1):
                clock.now = now
                request = client.build_request(RequestParts("GET", server.url, {}, {}))
                await client.fetch(request, json.loads)
    assert [path for path, _ in server.requests] == ["/token", "/", "/", "/token", "/"]


async def test_client_id_and_secret_are_form_encoded_before_base64() -> None:
    with scripted(token("t1"), Reply()) as server:
        await ask(server, secret="a:b c+ä/%", **(oauth(server) | {"client_id": "me:us"}))
    sent = base64.b64decode(server.requests[0][1]["Authorization"].removeprefix("Basic "))
    assert sent == b"me%3Aus:a%3Ab+c%2B%C3%A4%2F%25"


async def test_a_token_response_of_several_gzip_members_is_read() -> None:
    body = b"".join(map(gzip.compress, [b'{"access_token": ', b'"t1"}']))
    with scripted(Reply(body=body, headers={"Content-Encoding": "x-gzip"}), Reply()) as server:
        await ask(server, **oauth(server))
    assert server.requests[1][1]["Authorization"] == "Bearer t1"


async def test_requests_that_are_rejected_with_the_same_token_renew_it_once() -> None:
    auth = AuthSpec.model_validate(oauth(ScriptedServer("http://127.0.0.1:1")))
    signature = ClientCredentials("acme", auth, SECRET, FakeClock())
    tokens = [f'{{"access_token": "{name}"}}'.encode() for name in ("t1", "t2", "t3")]

    async def send(request: httpx.Request) -> Answer:
        return Answer(200, {}, tokens.pop(0))

    request = httpx.Request("GET", "http://127.0.0.1:1")
    rejected = await signature.sign(request, send)
    again = [await signature.sign(request, send, rejected) for _ in range(2)]
    assert [each.headers["Authorization"] for each in again] == ["Bearer t2"] * 2 and len(tokens) == 1


async def test_client_id_and_secret_may_be_sent_in_the_body() -> None:
    with scripted(token("t1"), Reply()) as server:
        await ask(server, **oauth(server), client_auth="body")
    assert "Authorization" not in server.requests[0][1]
    assert server.bodies[0] == b"grant_type=client_credentials&scope=stock&client_id=me&client_secret=s3cret"

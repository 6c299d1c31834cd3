"""A token is sent only to its own source, no matter where a response points."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from sku_velocity.errors import SourceAddressError, SourceAuthError, VelocityError
from sku_velocity.model.window import Window
from sku_velocity.source.client import SourceClient
from sku_velocity.source.spec import parse_spec
from sku_velocity.source.window import WindowReader
from tests.support.certificates import Authority
from tests.support.fake_clock import FakeClock
from tests.support.scripted_server import Reply, ScriptedServer, scripted

SECRET = "s3cret-token"
LINKS = {"paging": {"style": "next_link", "next_path": "next"}, "records": {"path": "data"}}
REDIRECTS = [301, 302, 303, 307, 308]


def read(server: ScriptedServer, cursor: str | None = None, **parts: Any) -> None:
    """Read a page and the next one that it links to."""
    spec = parse_spec({"name": "acme", "base_url": server.url, **parts}, "test")

    async def run() -> None:
        clock = FakeClock()
        async with SourceClient.open(spec, SecretStr(SECRET), clock, clock.sleep) as client:
            reader = WindowReader.of(client, "WH-01", Window.everything())
            page = await reader.read_from(cursor, 1 if cursor else 0)
            if page.next_cursor:
                await reader.read_from(page.next_cursor, 1)

    asyncio.run(run())


def oauth2(tokens: ScriptedServer) -> dict[str, Any]:
    return {"kind": "oauth2_client_credentials", "token_url": f"{tokens.url}/token", "client_id": "me"}


@pytest.mark.parametrize("status", REDIRECTS)
def test_a_redirect_to_another_port_is_not_followed(status: int) -> None:
    with scripted(Reply()) as elsewhere:
        redirect = Reply(status, headers={"Location": f"{elsewhere.url}/movements"})
        with scripted(redirect) as server, pytest.raises(SourceAddressError, match="which is not followed"):
            read(server)
    assert elsewhere.requests == []


def test_a_redirect_to_another_host_is_not_followed() -> None:
    with scripted(Reply()) as elsewhere:
        host = elsewhere.url.replace("127.0.0.1", "localhost")
        redirect = Reply(302, headers={"Location": host})
        with (
            scripted(redirect) as server,
            pytest.raises(SourceAddressError, match="redirected to http://localhost"),
        ):
            read(server)
    assert elsewhere.requests == []


def test_a_redirect_from_https_to_http_is_not_followed(tmp_path: Path) -> None:
    authority = Authority.make(tmp_path)
    with scripted(Reply()) as plain:
        redirect = Reply(302, headers={"Location": plain.url})
        with scripted(redirect, tls=authority.server()) as server, pytest.raises(SourceAddressError):
            read(server, tls={"ca_file": str(authority.file)})
    assert len(server.requests) == 1 and plain.requests == []


@pytest.mark.parametrize("origin", ["{url}", "http://localhost"], ids=["another port", "another host"])
def test_a_link_to_another_host_or_port_gets_no_token(origin: str) -> None:
    with scripted(Reply(body=b'{"data": []}')) as elsewhere:
        link = origin.replace("{url}", elsewhere.url) + "/movements?page=2"
        page = Reply(body=json.dumps({"data": [{}], "next": link}).encode())
        with scripted(page) as server, pytest.raises(SourceAddressError, match="must not receive the token"):
            read(server, **LINKS)
    assert len(server.requests) == 1 and elsewhere.requests == []


def test_a_link_from_https_to_http_gets_no_token(tmp_path: Path) -> None:
    authority = Authority.make(tmp_path)
    with scripted(Reply(), tls=authority.server()) as server, pytest.raises(SourceAddressError):
        read(server, server.url.replace("https", "http"), tls={"ca_file": str(authority.file)}, **LINKS)
    assert server.requests == []


@pytest.mark.parametrize(
    "link", ["//evil.test/x", "http://me@{host}/x", "http://evil.test\\@{host}/", "http://{host}@evil.test/"]
)
def test_a_link_that_only_looks_like_the_host_gets_no_token(link: str) -> None:
    page = Reply(body=b'{"data": []}')
    with scripted(page) as server, pytest.raises(SourceAddressError, match="must not receive the token"):
        read(server, link.replace("{host}", server.url.removeprefix("http://")), **LINKS)
    assert server.requests == []


def test_a_link_to_the_same_port_is_followed() -> None:
    with scripted(Reply(body=b'{"data": []}')) as server:
        read(server, f"HTTP{server.url.removeprefix('http')}/movements?page=2", **LINKS)
    assert server.requests[0][0] == "/movements?page=2"


def test_a_client_secret_is_sent_only_to_the_token_url() -> None:
    with scripted(Reply(body=b'{"access_token": "t-1"}')) as tokens, scripted(Reply()) as server:
        read(server, auth=oauth2(tokens), paging={"style": "cursor", "cursor_path": "next"})
    assert [headers["Authorization"] for _, headers in server.requests] == ["Bearer t-1"]
    assert len(tokens.requests) == 1 and SECRET not in str(server.requests) + str(server.bodies)


@pytest.mark.parametrize("status", REDIRECTS)
@pytest.mark.parametrize("place", ["basic", "body"])
def test_a_redirect_of_the_token_url_is_not_followed(status: int, place: str) -> None:
    with scripted(Reply(body=b'{"access_token": "t-1"}')) as elsewhere, scripted(Reply()) as server:
        redirect = Reply(status, headers={"Location": elsewhere.url})
        with scripted(redirect) as tokens, pytest.raises(SourceAuthError, match="no access_token"):
            read(server, auth=oauth2(tokens) | {"client_auth": place})
    assert len(tokens.requests) == 1 and elsewhere.requests == [] == server.requests


@pytest.mark.parametrize("token", ["a\\r\\nX-Evil: 1", "é", "\\u0000"])
def test_a_fetched_token_cannot_inject_a_header(token: str) -> None:
    with (
        scripted(Reply(body=f'{{"access_token": "{token}"}}'.encode())) as tokens,
        scripted(Reply()) as server,
        pytest.raises(VelocityError, match="no access_token"),
    ):
        read(server, auth=oauth2(tokens))
    assert server.requests == []

"""Certificates are verified by the known authorities, by a private one or, with a warning, by none."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from sku_velocity.errors import ConfigurationError, SourceAddressError, SpecError
from sku_velocity.source.client import SourceClient
from sku_velocity.source.requests import RequestParts
from sku_velocity.source.spec import parse_spec
from tests.support.acme import WHOLE, spec_file
from tests.support.acme_flow import sync
from tests.support.certificates import Authority
from tests.support.fake_clock import FakeClock
from tests.support.prefect_api import ask
from tests.support.prefect_server import PrefectServer
from tests.support.scripted_server import Reply, ScriptedServer, scripted


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority.make(tmp_path_factory.mktemp("tls"))


def fetch(url: str, **parts: Any) -> bytes:
    spec = parse_spec({"name": "acme", "base_url": url, **parts}, "test")

    async def run() -> bytes:
        clock = FakeClock()
        async with SourceClient.open(spec, SecretStr("s3cret"), clock, clock.sleep) as client:
            return (
                await client.fetch(client.build_request(RequestParts("GET", spec.url, {}, {})), bytes)
            ).content

    return asyncio.run(run())


def refusal(server: ScriptedServer, **parts: Any) -> str:
    """Return the error's message. A server that is not trusted receives no request."""
    with pytest.raises(SourceAddressError) as caught:
        fetch(server.url, **parts)
    assert server.requests == []
    return str(caught.value)


def test_a_certificate_of_an_unknown_authority_is_refused_with_advice(authority: Authority) -> None:
    with scripted(Reply(), tls=authority.server()) as server:
        message = refusal(server)
    assert "certificate: unable to get local issuer certificate" in message and "tls.ca_file" in message


def test_a_private_authority_is_trusted(authority: Authority) -> None:
    with scripted(Reply(body=b"[1]"), tls=authority.server()) as server:
        assert fetch(server.url, tls={"ca_file": str(authority.file)}) == b"[1]"
        assert server.requests[0][1]["Authorization"] == "Bearer s3cret"


def test_a_private_authority_replaces_the_known_ones(authority: Authority, tmp_path: Path) -> None:
    with scripted(Reply(), tls=authority.server()) as server:
        assert "certificate:" in refusal(server, tls={"ca_file": str(Authority.make(tmp_path).file)})


def test_an_expired_certificate_is_reported_as_expired(authority: Authority) -> None:
    with scripted(Reply(), tls=authority.server(ends=-timedelta(days=1))) as server:
        message = refusal(server, tls={"ca_file": str(authority.file)})
    assert "certificate has expired: its owner must renew it" in message


def test_a_certificate_of_another_host_is_refused(authority: Authority) -> None:
    with scripted(Reply(), tls=authority.server(host="127.0.0.9")) as server:
        message = refusal(server, tls={"ca_file": str(authority.file)})
    assert "use a host name in base_url that is in the certificate" in message


def test_the_oauth2_token_address_is_verified_too(authority: Authority) -> None:
    with scripted(Reply(), tls=authority.server()) as tokens, scripted(Reply()) as server:
        auth = {"kind": "oauth2_client_credentials", "token_url": f"{tokens.url}/token", "client_id": "me"}
        message = refusal(server, auth=auth)
        assert f"POST {tokens.url}/token: certificate:" in message and tokens.requests == []


@pytest.mark.parametrize("content", [None, "no certificate"])
def test_an_unreadable_ca_file_is_named(tmp_path: Path, content: str | None) -> None:
    file = tmp_path / "authority.pem"
    if content:
        file.write_text(content)
    with pytest.raises(ConfigurationError, match=r"tls.ca_file \S+authority.pem: (No such|it contains no)"):
        fetch("https://127.0.0.1:9", tls={"ca_file": str(file)})


def test_ca_file_and_verify_false_exclude_each_other() -> None:
    with pytest.raises(SpecError, match=r"tls\.ca_file .*remove one of them"):
        fetch("https://127.0.0.1:9", tls={"ca_file": "x.pem", "verify": False})


@pytest.mark.usefixtures("token")
@pytest.mark.parametrize(("verify", "warnings"), [(False, 1), (True, 0)])
def test_every_run_without_verification_logs_a_warning(
    prefect_server: PrefectServer,
    tmp_path: Path,
    sqlite_url: str,
    authority: Authority,
    verify: bool,
    warnings: int,
) -> None:
    tls = {"verify": False} if not verify else {"ca_file": str(authority.file)}
    with scripted(Reply(body=b'{"records": [], "total": 0}'), tls=authority.server()) as server:
        state, _ = sync(spec_file(server, tmp_path, tls=tls), sqlite_url, **WHOLE)
    run = str(state.state_details.flow_run_id)
    logs = ask(prefect_server, "logs", run, lambda logs: any("Complete" in each["message"] for each in logs))
    found = [each for each in logs if "is not verified" in each["message"]]
    assert state.name == "Complete" and len(found) == warnings
    assert all(each["level"] == 30 and "tls.ca_file" in each["message"] for each in found)

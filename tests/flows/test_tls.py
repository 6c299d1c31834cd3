"""Who answers is verified: by the known authorities, by one's own, or, said aloud, by none."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from flows.__main__ import main
from sku_velocity.errors import ConfigurationError, SourceAddressError, SpecError
from sku_velocity.source.client import SourceClient
from sku_velocity.source.requests import Ask
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
            return (await client.fetch(client.build_request(Ask("GET", spec.url, {}, {})), bytes)).content

    return asyncio.run(run())


def refusal(server: ScriptedServer, **parts: Any) -> str:
    """The error's message; whoever is not trusted is asked once, and shown nothing."""
    with pytest.raises(SourceAddressError) as caught:
        fetch(server.url, **parts)
    assert server.requests == []
    return str(caught.value)


def test_a_certificate_that_nobody_known_has_signed_is_refused_with_what_to_do(authority: Authority) -> None:
    with scripted(Reply(), tls=authority.server()) as server:
        told = refusal(server)
    assert "certificate: unable to get local issuer certificate" in told and "tls.ca_file" in told


def test_an_authority_of_ones_own_is_trusted(authority: Authority) -> None:
    with scripted(Reply(body=b"[1]"), tls=authority.server()) as server:
        assert fetch(server.url, tls={"ca_file": str(authority.file)}) == b"[1]"
        assert server.requests[0][1]["Authorization"] == "Bearer s3cret"


def test_an_authority_of_ones_own_is_the_only_one(authority: Authority, tmp_path: Path) -> None:
    with scripted(Reply(), tls=authority.server()) as server:
        assert "certificate:" in refusal(server, tls={"ca_file": str(Authority.make(tmp_path).file)})


def test_an_expired_certificate_is_told_as_such(authority: Authority) -> None:
    with scripted(Reply(), tls=authority.server(ends=-timedelta(days=1))) as server:
        told = refusal(server, tls={"ca_file": str(authority.file)})
    assert "certificate has expired: its owner must renew it" in told


def test_another_hosts_certificate_is_refused(authority: Authority) -> None:
    with scripted(Reply(), tls=authority.server(host="127.0.0.9")) as server:
        told = refusal(server, tls={"ca_file": str(authority.file)})
    assert "write base_url with a name that the certificate bears" in told


def test_the_address_of_the_oauth2_token_is_verified_too(authority: Authority) -> None:
    with scripted(Reply(), tls=authority.server()) as tokens, scripted(Reply()) as server:
        auth = {"kind": "oauth2_client_credentials", "token_url": f"{tokens.url}/token", "client_id": "me"}
        told = refusal(server, auth=auth)
        assert f"POST {tokens.url}/token: certificate:" in told and tokens.requests == []


@pytest.mark.parametrize("content", [None, "no certificate"])
def test_an_authority_that_cannot_be_read_is_named(tmp_path: Path, content: str | None) -> None:
    file = tmp_path / "authority.pem"
    if content:
        file.write_text(content)
    with pytest.raises(ConfigurationError, match=r"tls.ca_file \S+authority.pem: (No such|it holds no cert)"):
        fetch("https://127.0.0.1:9", tls={"ca_file": str(file)})


def test_nothing_is_verified_by_what_is_named_beside_verify_false() -> None:
    with pytest.raises(SpecError, match=r"tls: .*leave one out"):
        fetch("https://127.0.0.1:9", tls={"ca_file": "x.pem", "verify": False})


@pytest.mark.usefixtures("token")
@pytest.mark.parametrize(("verify", "warnings"), [(False, 1), (True, 0)])
def test_every_run_that_verifies_nothing_warns_of_it(
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
    told = [each for each in logs if "is not verified" in each["message"]]
    assert state.name == "Complete" and len(told) == warnings
    assert all(each["level"] == 30 and "tls.ca_file" in each["message"] for each in told)


@pytest.mark.usefixtures("prefect_server", "token")
def test_check_source_tells_that_nothing_is_verified(
    tmp_path: Path, authority: Authority, capsys: pytest.CaptureFixture[str]
) -> None:
    with scripted(Reply(body=b'{"records": [], "total": 0}'), tls=authority.server()) as server:
        source = spec_file(server, tmp_path, tls={"verify": False})
        words = ["check-source", "--source", source, "--token-env", "WMS_TOKEN", "--warehouse", "WH-01"]
        assert main(words) == 0
    shown = " ".join(capsys.readouterr().out.split())
    assert "its certificate is not verified (tls.verify: false)" in shown and "is http" not in shown

"""The statements of SECURITY.md that no other test checks."""

from __future__ import annotations

import asyncio
import base64
import re
from pathlib import Path

import httpx
import pytest
from prefect.server.api.server import create_api_app
from prefect.settings import PREFECT_SERVER_API_AUTH_STRING, temporary_settings
from pydantic import SecretStr

from blocks import WmsSource
from demo.prefect_client import prefect_client
from flows.command_line import main
from sku_velocity.source.spec import parse_spec
from tests.support.acme import WHOLE, spec_file, wms
from tests.support.acme_flow import sync
from tests.support.checkout import CHECKOUT
from tests.support.prefect_server import PrefectServer

SECRET = "hunter2-hunter2"


def test_every_test_that_security_md_names_exists() -> None:
    named = set(re.findall(r"tests/[\w/]*test_\w+\.py", (CHECKOUT / "SECURITY.md").read_text()))
    assert len(named) >= 10 and all((CHECKOUT / name).is_file() for name in named)


def test_a_prefect_server_without_a_password_gives_secrets_to_anyone(
    prefect_server: PrefectServer,
) -> None:
    spec = parse_spec({"name": "acme", "base_url": "https://wms.example.com"}, "test")
    asyncio.run(WmsSource(spec=spec, token=SecretStr(SECRET)).asave("open", overwrite=True))
    body = {"include_secrets": True}
    with prefect_client(prefect_server.api_url) as api:
        found = api.post("/block_documents/filter", json=body)
    assert SECRET in found.raise_for_status().text


@pytest.mark.parametrize(("password", "status"), [(None, 401), ("admin:wrong", 401), ("admin:right", 200)])
def test_a_prefect_server_with_a_password_requires_it(password: str | None, status: int) -> None:
    with temporary_settings({PREFECT_SERVER_API_AUTH_STRING: "admin:right"}):
        app = create_api_app(ignore_cache=True)
    signed = {"Authorization": f"Basic {base64.b64encode(password.encode()).decode()}"} if password else {}

    async def ask() -> int:
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://prefect.test") as api:
            return (await api.get("/admin/version", headers=signed)).status_code

    assert asyncio.run(ask()) == status


@pytest.mark.usefixtures("prefect_server", "token")
def test_a_token_is_rotated_by_saving_its_source_again(
    tmp_path: Path, sqlite_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    states = []
    with wms(tmp_path) as (server, _):
        words = ["save-source", "rotated", "--spec", spec_file(server, tmp_path), "--token-env"]
        monkeypatch.setenv("OLD_TOKEN", "revoked")
        for variable in ("OLD_TOKEN", "WMS_TOKEN"):
            assert main([*words, variable]) == 0
            state, result = sync("rotated", sqlite_url, **WHOLE, token_env=None)
            states.append(state.name if state.is_completed() else str(result))
    assert "token: HTTP 401" in states[0] and states[1] == "Complete"

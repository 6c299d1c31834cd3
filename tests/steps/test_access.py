"""Sources, stores and engines without Prefect: by file and URL, and advice if a name needs Prefect."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from sku_velocity.errors import ConfigurationError
from sku_velocity.source.spec import parse_spec
from sku_velocity.steps.access import (
    FileEngine,
    FileSource,
    find_engine,
    find_source,
    find_store,
)
from tests.support.engine import engine_spec

URL = "https://wms.example.com"


def open_client(access: FileSource | FileEngine) -> None:
    async def work() -> None:
        async with access.get_client():
            pass

    asyncio.run(work())


@pytest.mark.parametrize("find", [find_source, find_store, find_engine])
def test_the_name_of_a_block_is_refused_with_advice(find: Callable[[str], Any]) -> None:
    with pytest.raises(ConfigurationError, match="with Prefect: python -m flows"):
        find("wms")


def test_the_store_is_the_environments_or_one_file(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SKU_VELOCITY_STORE", "sqlite:///other.db")
    assert find_store(None).url.get_secret_value() == "sqlite:///other.db"
    monkeypatch.delenv("SKU_VELOCITY_STORE")
    assert find_store(None).url.get_secret_value() == "sqlite:///sku-velocity.db"


def test_a_missing_token_is_named_by_its_variable(tmp_path: Path) -> None:
    path = tmp_path / "acme.yaml"
    path.write_text(f"name: acme\nbase_url: {URL}\n")
    assert find_source(str(path)).token is None
    with pytest.raises(ConfigurationError, match="NO_SUCH_TOKEN is not set"):
        find_source(str(path), "NO_SUCH_TOKEN")


def test_a_client_without_a_store_sends_one_request_a_second_of_a_shared_pace() -> None:
    pace = {"requests_per_second": 50, "shared_limit": "acme-pace"}
    source = parse_spec({"name": "acme", "base_url": URL, "pace": pace}, "test")

    async def rate() -> float:
        async with FileSource(source, SecretStr("s3cret")).get_client() as client:
            return client.pacer.requests_per_second

    assert asyncio.run(rate()) == 1


@pytest.mark.parametrize(("verify", "warnings"), [(False, 2), (True, 0)])
def test_an_unverified_certificate_is_a_warning(
    caplog: pytest.LogCaptureFixture, verify: bool, warnings: int
) -> None:
    caplog.set_level(logging.WARNING, logger="sku_velocity")
    parts: dict[str, Any] = {"tls": {"verify": verify}}
    source = parse_spec({"name": "acme", "base_url": URL, **parts}, "test")
    open_client(FileSource(source, SecretStr("s3cret")))
    open_client(FileEngine(engine_spec(URL, **parts), SecretStr("s3cret")))
    assert caplog.text.count("is not verified (tls.verify: false)") == warnings
    assert "s3cret" not in caplog.text

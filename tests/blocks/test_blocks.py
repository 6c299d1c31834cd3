"""Blocks as the Prefect UI and user code see them."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from prefect.blocks.core import Block
from prefect.blocks.system import Secret
from prefect.client.orchestration import get_client
from prefect.client.schemas.actions import BlockDocumentUpdate
from prefect.testing.standard_test_suites import BlockStandardTestSuite
from pydantic import SecretStr

from blocks import SlottingEngine, VelocityStore, WmsSource
from blocks.slotting import find_engine
from blocks.store import find_store
from blocks.stored import load_token
from blocks.wms import find_source
from sku_velocity.errors import ConfigurationError
from sku_velocity.slotting.spec import parse_engine
from sku_velocity.source.spec import SourceSpec, parse_spec

SECRET = "hunter2-of-blocks"


def acme() -> SourceSpec:
    data = {
        "name": "acme",
        "base_url": "https://wms.example.com",
        "records": {"path": "rows"},
        "total": {"from": "body", "path": "total"},
        "fields": {"sku_id": ["sku", "item.sku"], "movement_id": "id"},
        "filter": [{"path": "type", "in": ["pick"]}],
    }
    return parse_spec(data, "test")


def source() -> WmsSource:
    return WmsSource(spec=acme(), token=SecretStr(SECRET))


def store() -> VelocityStore:
    return VelocityStore(url=SecretStr(f"postgresql://me:{SECRET}@db.example.com/velocity"))


def engine() -> SlottingEngine:
    spec = parse_engine({"name": "slots", "base_url": "https://slots.example.com", "batch_size": 50}, "test")
    return SlottingEngine(spec=spec, token=SecretStr(SECRET))


class BlockContract(BlockStandardTestSuite):
    # Prefect's own test of the image fetches it from the internet.
    test_has_a_valid_image = None


class TestWmsSource(BlockContract):
    @pytest.fixture
    def block(self) -> type[Block]:
        return WmsSource


class TestVelocityStore(BlockContract):
    @pytest.fixture
    def block(self) -> type[Block]:
        return VelocityStore


class TestSlottingEngine(BlockContract):
    @pytest.fixture
    def block(self) -> type[Block]:
        return SlottingEngine


every_block = pytest.mark.parametrize(
    "block", [source(), store(), engine()], ids=["source", "store", "engine"]
)


@every_block
def test_neither_repr_nor_dump_contains_a_secret(block: Block) -> None:
    assert SECRET not in repr(block) + str(block) + block.model_dump_json()


@pytest.mark.usefixtures("prefect_server")
@every_block
def test_a_loaded_block_equals_the_saved_one(block: Block) -> None:
    async def save_and_load() -> Block:
        await block.asave("round-trip", overwrite=True)
        return await type(block).aload("round-trip")

    loaded = asyncio.run(save_and_load())
    assert isinstance(loaded, VelocityStore | WmsSource | SlottingEngine)
    secret = loaded.url if isinstance(loaded, VelocityStore) else loaded.token
    assert secret is not None and SECRET in secret.get_secret_value()
    assert getattr(loaded, "spec", None) == getattr(block, "spec", None)


@pytest.mark.usefixtures("prefect_server")
def test_an_unknown_block_is_reported_with_what_to_do() -> None:
    with pytest.raises(ConfigurationError, match=r"no block wms-source/nowhere: create it"):
        asyncio.run(find_source("nowhere"))
    with pytest.raises(ConfigurationError, match=r"no block velocity-store/nowhere: create it"):
        asyncio.run(find_store("nowhere"))
    with pytest.raises(ConfigurationError, match=r"no block slotting-engine/nowhere: create it"):
        asyncio.run(find_engine("nowhere"))


@pytest.mark.usefixtures("prefect_server")
@pytest.mark.parametrize(
    ("block", "invalid", "message"),
    [
        (
            source(),
            {"spec": {"name": "acme", "pages": SECRET}},
            r"spec\.base_url: is missing, .*; spec\.pages: unknown key",
        ),
        (source(), {}, "spec: is missing"),
        (store(), {"url": [SECRET]}, "url: must be text"),
        (engine(), {"spec": {"name": "slots", "batch_size": 0}}, r"spec\.base_url: .*; spec\.batch_size: "),
    ],
)
def test_an_invalid_stored_block_is_reported_with_its_errors_and_what_to_do(
    block: Block, invalid: dict[str, Any], message: str
) -> None:
    find = {WmsSource: find_source, VelocityStore: find_store, SlottingEngine: find_engine}[type(block)]

    async def save_and_find() -> None:
        document = await block.asave("broken", overwrite=True)
        async with get_client() as client:  # as the form in the Prefect UI does
            new = BlockDocumentUpdate(data=invalid, merge_existing_data=False)
            await client.update_block_document(document, new)
        await find("broken")

    with pytest.raises(ConfigurationError, match=f"/broken cannot be used: {message}") as caught:
        asyncio.run(save_and_find())
    assert "python -m flows save-" in str(caught.value) and SECRET not in str(caught.value)


@pytest.mark.usefixtures("prefect_server")
def test_a_token_from_the_environment_overrides_the_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    async def save_and_find() -> WmsSource:
        await source().asave("with-token", overwrite=True)
        return await find_source("with-token", "ACME_TOKEN")

    monkeypatch.setenv("ACME_TOKEN", "fresh")
    found = asyncio.run(save_and_find())
    assert found.token == SecretStr("fresh") and found.spec == acme()


@pytest.mark.usefixtures("prefect_server")
def test_a_token_in_a_secret_block_is_read_by_each_run() -> None:
    async def read() -> tuple[str, ...]:
        await Secret(value=SECRET).asave("acme-token", overwrite=True)
        first = await load_token(None, "acme-token")
        await Secret(value="fresh").asave("acme-token", overwrite=True)
        second = await load_token(None, "acme-token")
        own = await load_token(SecretStr("own"), "acme-token")
        assert await load_token(None, None) is None
        return tuple(each.get_secret_value() for each in (first, second, own) if each)

    assert asyncio.run(read()) == (SECRET, "fresh", "own")


@pytest.mark.usefixtures("prefect_server")
def test_a_missing_or_unfit_secret_block_is_reported() -> None:
    async def open_client(block: WmsSource | SlottingEngine) -> None:
        async with block.get_client():
            pass

    asyncio.run(Secret(value={"a": SECRET}).asave("no-text", overwrite=True))
    for block in (WmsSource(spec=acme(), token_secret="none"), engine()):
        block = block.model_copy(update={"token": None, "token_secret": "nowhere"})
        with pytest.raises(ConfigurationError, match="no block secret/nowhere: create it"):
            asyncio.run(open_client(block))
        with pytest.raises(ConfigurationError, match="secret/no-text holds no text") as caught:
            asyncio.run(open_client(block.model_copy(update={"token_secret": "no-text"})))
        assert SECRET not in str(caught.value)


def test_a_missing_spec_file_is_reported() -> None:
    with pytest.raises(ConfigurationError, match=r"nowhere.yaml cannot be read: No such file"):
        asyncio.run(find_source("nowhere.yaml"))


def test_a_missing_token_variable_is_reported(tmp_path: Path) -> None:
    path = tmp_path / "acme.yaml"
    path.write_text("{name: acme, base_url: 'https://wms.example.com'}")
    with pytest.raises(ConfigurationError, match="ACME_TOKEN is not set"):
        asyncio.run(find_source(str(path), "ACME_TOKEN"))


def test_a_source_with_authentication_needs_a_token() -> None:
    async def open_client() -> None:
        async with WmsSource(spec=acme()).get_client():
            raise AssertionError("opened without a token")

    with pytest.raises(ConfigurationError, match=r"auth.kind is bearer, but there is no token"):
        asyncio.run(open_client())


def test_a_password_in_a_store_parameter_is_rejected_and_not_repeated() -> None:
    with pytest.raises(ConfigurationError, match="contains a password") as caught:
        asyncio.run(find_store(f"postgresql://me:{SECRET}@db.example.com/velocity"))
    assert SECRET not in str(caught.value)


def test_a_store_parameter_that_names_no_store_says_why() -> None:
    with pytest.raises(ConfigurationError, match=r"remove the '\?'"):
        asyncio.run(find_store("sqlite:////data/a?b/s.db"))


def test_without_a_name_the_store_comes_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SKU_VELOCITY_STORE", raising=False)
    assert asyncio.run(find_store(None)).url.get_secret_value() == "sqlite:///sku-velocity.db"
    monkeypatch.setenv("SKU_VELOCITY_STORE", "sqlite:///other.db")
    assert asyncio.run(find_store(None)).url.get_secret_value() == "sqlite:///other.db"


def test_an_engine_file_takes_its_token_from_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "slots.yaml"
    path.write_text("{name: slots, base_url: 'https://slots.example.com', batch_size: 50}")
    monkeypatch.delenv("SKU_VELOCITY_ENGINE_TOKEN", raising=False)
    assert asyncio.run(find_engine(str(path))).token is None
    monkeypatch.setenv("SKU_VELOCITY_ENGINE_TOKEN", SECRET)
    assert asyncio.run(find_engine(str(path))).model_dump() == engine().model_dump()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{name: slots}", "is not a slotting engine: base_url: is missing"),
        (
            "{name: slots, base_url: 'https://a.example', batch_size: 0}",
            "batch_size: .*greater than or equal",
        ),
        ("{name: slots, base_url: 'https://me:pw@a.example'}", "must not contain a user or password"),
        ("{name: slots, base_url: 'https://a.example', batches: 3}", "batches: unknown key"),
        ("[]", "must contain keys"),
    ],
)
def test_an_invalid_engine_file_is_reported_with_the_field(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "slots.yaml"
    path.write_text(text)
    with pytest.raises(ConfigurationError, match=message):
        asyncio.run(find_engine(str(path)))

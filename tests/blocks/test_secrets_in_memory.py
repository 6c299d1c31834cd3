"""No repr of an object that holds a secret contains it, nor does any error or what an error quotes."""

from __future__ import annotations

import asyncio
import json
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any, get_args

import pytest
from prefect.blocks.core import Block
from pydantic import SecretStr, ValidationError

import blocks
from blocks import VelocityStore, WmsSource
from sku_velocity.errors import SpecError, VelocityError
from sku_velocity.model.window import Window
from sku_velocity.source.client import SourceClient
from sku_velocity.source.spec import load_spec, parse_spec
from sku_velocity.source.window import WindowReader
from sku_velocity.steps.access import FileSource, UrlStore
from sku_velocity.steps.run_context import RunContext
from sku_velocity.store.database import Database
from tests.support.fake_clock import FakeClock
from tests.support.scripted_server import Reply, ScriptedServer, scripted

SECRET = 'Zq7"Xw9/Kp3+Lm5=Vt8'  # JSON and URLs escape it differently
PARTS = {SECRET[start : start + 6] for start in range(len(SECRET) - 5)}
ACME: dict[str, Any] = {"name": "acme", "base_url": "https://wms.example.com", "records": {"path": "rows"}}
KINDS: list[dict[str, Any]] = [
    {"kind": "bearer"},
    {"kind": "header"},
    {"kind": "basic", "username": "me"},
    {"kind": "oauth2_client_credentials", "client_id": "me", "token_url": "https://id.example.com"},
]


def parts_in(text: str) -> set[str]:
    """Return the parts of the secret that a text contains, plain or as JSON escapes them."""
    return {part for part in PARTS if part in text or json.dumps(part)[1:-1] in text}


def everything_of(error: BaseException) -> str:
    """Return what a log contains of an error: its message and traceback, and those of its causes."""
    return "".join(traceback.format_exception(error)) + repr(error)


@pytest.mark.parametrize("auth", KINDS, ids=lambda auth: auth["kind"])
def test_no_object_used_to_reach_a_source_contains_the_secret_in_its_repr(auth: dict[str, Any]) -> None:
    block = WmsSource(spec=parse_spec({**ACME, "auth": auth}, "test"), token=SecretStr(SECRET))
    store = VelocityStore(
        url=SecretStr(f"postgresql://me:{SECRET.replace('/', '%2F')}@db.example.com/velocity")
    )

    async def look() -> str:
        async with SourceClient.open(block.spec, block.token) as client:
            reader = WindowReader.of(client, "WH-01", Window.everything())
            exchange, signature = client._exchange, client._exchange.signature
            parts = [client, reader, *vars(client).values(), *vars(exchange).values(), signature.secrets]
            context = RunContext()
            context.source, context.store_access = block, store
            parts += [block, block.token, context, FileSource(block.spec, block.token), UrlStore(store.url)]
            return "".join(f"{part!r}{part}" for part in parts)

    shown = asyncio.run(look())
    database = Database(store.url.get_secret_value())
    shown += f"{store!r}{database!r}{database.display_url}{database._engine!r}{database._engine.url!r}"
    assert "acme" in shown and "db.example.com" in shown and not parts_in(shown)


def test_every_block_field_with_the_name_of_a_secret_is_a_secret() -> None:
    kinds = [kind for kind in vars(blocks).values() if isinstance(kind, type) and issubclass(kind, Block)]
    assert len(kinds) >= 2
    for kind in kinds:
        for name, field in kind.model_fields.items():
            if name == "token_secret":  # the name of another block
                continue
            if any(word in name for word in ("token", "secret", "password", "url", "key")):
                assert SecretStr in (field.annotation, *get_args(field.annotation)), f"{kind.__name__}.{name}"


def ask(server: ScriptedServer) -> VelocityError:
    spec = parse_spec({**ACME, "base_url": server.url, "total": {"from": "body", "path": "total"}}, "test")

    async def run() -> None:
        clock = FakeClock()
        async with SourceClient.open(spec, SecretStr(SECRET), clock, clock.sleep) as client:
            await WindowReader.of(client, "WH-01", Window.everything()).probe()

    with pytest.raises(VelocityError) as caught:
        asyncio.run(run())
    return caught.value


BODIES: dict[str, Callable[[str], str]] = {
    "in plain text": lambda secret: f"bad token {secret}",
    "as JSON": lambda secret: json.dumps({"error": f"bad token {secret}"}),
    "in records without fields": lambda secret: json.dumps({"rows": [{"error": secret}], "total": 1}),
    "without a total": lambda secret: json.dumps({"rows": [], "message": secret}),
}


@pytest.mark.parametrize("status", [200, 401, 500])
@pytest.mark.parametrize("pad", [0, 160, 178, 70_000])
@pytest.mark.parametrize("body", BODIES)
def test_a_response_that_repeats_the_secret_is_quoted_without_it(body: str, pad: int, status: int) -> None:
    """Even if the quote ends within the secret: no part of it may remain."""
    answer = (" " if pad > 1_000 else "x") * pad
    text = BODIES[body](answer + SECRET) if pad else BODIES[body](SECRET)
    with scripted(Reply(status, text.encode())) as server:
        error = ask(server)
    assert not parts_in(everything_of(error))


@pytest.mark.parametrize(
    "change",
    [
        {"base_url": f"https://me:{SECRET.replace('/', '%2F')}@wms.example.com"},
        {"token": SECRET},
        {"auth": {"kind": "bearer", "token": SECRET}},
        {"auth": SECRET},
        {"pace": {"burst": SECRET}},
    ],
)
def test_a_secret_in_a_spec_is_rejected_and_not_repeated(change: dict[str, Any]) -> None:
    with pytest.raises(SpecError) as caught:
        parse_spec({**ACME, **change}, "acme.yaml")
    assert not parts_in(everything_of(caught.value))
    with pytest.raises(ValidationError) as refused:
        WmsSource(spec={**ACME, **change})
    assert not parts_in(everything_of(refused.value))


def test_invalid_yaml_in_a_spec_file_is_not_repeated(tmp_path: Path) -> None:
    path = tmp_path / "acme.yaml"
    path.write_text(f"name: acme\ntoken: '{SECRET}' : {{\n")
    with pytest.raises(SpecError, match=r"acme.yaml is not YAML: line 2, column \d+: ") as caught:
        load_spec(path)
    assert not parts_in(everything_of(caught.value))

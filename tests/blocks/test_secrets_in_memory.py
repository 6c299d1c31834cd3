"""No object that holds a secret shows it, nor does an error on its way up, or what is quoted in it."""

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
from flows.runtime.connections import RunResources
from sku_velocity.errors import SpecError, VelocityError
from sku_velocity.model.window import Window
from sku_velocity.source.client import SourceClient
from sku_velocity.source.spec import load_spec, parse_spec
from sku_velocity.source.window import WindowReader
from sku_velocity.store.database import Database
from tests.support.fake_clock import FakeClock
from tests.support.scripted_server import Reply, ScriptedServer, scripted

SECRET = 'Zq7"Xw9/Kp3+Lm5=Vt8'  # it is written otherwise in JSON and in a URL
PIECES = {SECRET[start : start + 6] for start in range(len(SECRET) - 5)}
ACME: dict[str, Any] = {"name": "acme", "base_url": "https://wms.example.com", "records": {"path": "rows"}}
KINDS: list[dict[str, Any]] = [
    {"kind": "bearer"},
    {"kind": "header"},
    {"kind": "basic", "username": "me"},
    {"kind": "oauth2_client_credentials", "client_id": "me", "token_url": "https://id.example.com"},
]


def shows(text: str) -> set[str]:
    """The pieces of the secret that stand in a text, as they are or as JSON writes them."""
    return {piece for piece in PIECES if piece in text or json.dumps(piece)[1:-1] in text}


def everything_of(error: BaseException) -> str:
    """What a log shows of an error: its message, its cause's and so on, with their lines."""
    return "".join(traceback.format_exception(error)) + repr(error)


@pytest.mark.parametrize("auth", KINDS, ids=lambda auth: auth["kind"])
def test_no_object_on_the_way_to_a_source_shows_the_secret(auth: dict[str, Any]) -> None:
    block = WmsSource(spec=parse_spec({**ACME, "auth": auth}, "test"), token=SecretStr(SECRET))
    store = VelocityStore(
        url=SecretStr(f"postgresql://me:{SECRET.replace('/', '%2F')}@db.example.com/velocity")
    )

    async def look() -> str:
        async with SourceClient.open(block.spec, block.token) as client:
            reader = WindowReader.of(client, "WH-01", Window.everything())
            parts = [client, reader, *vars(client).values(), *vars(client._signature).keys()]
            return "".join(
                f"{part!r}{part}" for part in [*parts, block, block.token, RunResources(block, store)]
            )

    shown = asyncio.run(look())
    database = Database(store.url.get_secret_value())
    shown += f"{store!r}{database!r}{database.where}{database._engine!r}{database._engine.url!r}"
    assert "acme" in shown and "db.example.com" in shown and not shows(shown)


def test_every_field_of_a_block_that_names_a_secret_is_one() -> None:
    kinds = [kind for kind in vars(blocks).values() if isinstance(kind, type) and issubclass(kind, Block)]
    assert len(kinds) >= 2
    for kind in kinds:
        for name, field in kind.model_fields.items():
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
    "without a total": lambda secret: json.dumps({"rows": [], "told": secret}),
}


@pytest.mark.parametrize("status", [200, 401, 500])
@pytest.mark.parametrize("pad", [0, 160, 178, 70_000])
@pytest.mark.parametrize("body", BODIES)
def test_an_answer_that_repeats_the_secret_is_quoted_without_it(body: str, pad: int, status: int) -> None:
    """Where the quote ends within the secret, too: none of its pieces may stay."""
    answer = (" " if pad > 1_000 else "x") * pad
    text = BODIES[body](answer + SECRET) if pad else BODIES[body](SECRET)
    with scripted(Reply(status, text.encode())) as server:
        error = ask(server)
    assert not shows(everything_of(error))


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
def test_a_secret_that_stands_in_a_spec_is_refused_and_not_repeated(change: dict[str, Any]) -> None:
    with pytest.raises(SpecError) as caught:
        parse_spec({**ACME, **change}, "acme.yaml")
    assert not shows(everything_of(caught.value))
    with pytest.raises(ValidationError) as refused:
        WmsSource(spec={**ACME, **change})
    assert not shows(everything_of(refused.value))


def test_a_line_of_a_spec_file_that_is_no_yaml_is_not_repeated(tmp_path: Path) -> None:
    path = tmp_path / "acme.yaml"
    path.write_text(f"name: acme\ntoken: '{SECRET}' : {{\n")
    with pytest.raises(SpecError, match=r"acme.yaml is not YAML: line 2, column \d+: ") as caught:
        load_spec(path)
    assert not shows(everything_of(caught.value))

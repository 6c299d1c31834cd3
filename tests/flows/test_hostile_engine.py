"""A slotting engine is trusted no more than a source: its answers do no harm and expose no token."""

from __future__ import annotations

import asyncio
import gzip
import json
import logging
import traceback
from contextvars import Context
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr, ValidationError

from blocks import SlottingEngine
from sku_velocity.errors import EngineAddressError, EngineContractError, EngineThrottledError, VelocityError
from sku_velocity.slotting.batches import Answer
from sku_velocity.slotting.client import SlottingClient
from tests.support.certificates import Authority
from tests.support.engine import a_batch, engine_spec, reply_body
from tests.support.fake_clock import FakeClock
from tests.support.scripted_server import Reply, ScriptedServer, scripted

SECRET = 'Zq7"Xw9/Kp3+Lm5=Vt8'
PIECES = {SECRET[start : start + 6] for start in range(len(SECRET) - 5)}
TAKEN = Reply(207, reply_body(["m-0", "m-1"]))


def push(server: ScriptedServer, **parts: Any) -> Answer:
    async def run() -> Answer:
        clock = FakeClock()
        spec = engine_spec(server.url, **parts)
        async with SlottingClient.open(spec, SecretStr(SECRET), clock, clock.sleep) as client:
            assert SECRET not in f"{client!r}{vars(client)!r}"
            return await client.push_movements(a_batch())

    return asyncio.run(run())


def refusal(reply: Reply, kind: type[VelocityError], **parts: Any) -> str:
    with scripted(reply) as server, pytest.raises(kind) as caught:
        push(server, **parts)
    return "".join(traceback.format_exception(caught.value))


@pytest.mark.parametrize("status", [200, 401, 422, 500])
@pytest.mark.parametrize("pad", [0, 165, 180])
def test_a_token_in_an_answer_is_not_quoted(status: int, pad: int) -> None:
    for body in ("x" * pad + SECRET, json.dumps({"error": "x" * pad + SECRET})):
        shown = refusal(Reply(status, body.encode()), VelocityError)
        assert not any(piece in shown or json.dumps(piece)[1:-1] in shown for piece in PIECES)


def test_a_token_in_a_reason_is_masked() -> None:
    with scripted(Reply(207, reply_body(["m-1"], {"m-0": f"{SECRET} may not"}))) as server:
        assert push(server).rejected == {"m-0": "*** may not"}


def test_a_redirect_is_not_followed() -> None:
    with scripted(TAKEN) as elsewhere:
        redirect = Reply(307, headers={"Location": elsewhere.url})
        assert "which is not followed" in refusal(redirect, EngineAddressError)
    assert elsewhere.requests == []


def test_a_decompression_bomb_is_refused_by_its_unpacked_size() -> None:
    bomb = gzip.compress(b" " * 100_000_000, compresslevel=1)
    reply = Reply(body=bomb, headers={"Content-Encoding": "gzip"})
    assert "is over 33554432 bytes" in refusal(reply, EngineContractError)


@pytest.mark.parametrize("status", [429, 500])
def test_an_endless_retry_after_is_an_error(status: int) -> None:
    assert "asks to wait" in refusal(Reply(status, headers={"Retry-After": "inf"}), EngineThrottledError)


def test_the_engines_certificate_is_verified(tmp_path: Path) -> None:
    authority = Authority.make(tmp_path)
    with scripted(TAKEN, tls=authority.server()) as server:
        with pytest.raises(EngineAddressError, match=r"certificate: .*tls.ca_file"):
            push(server)
        assert server.requests == []
        for tls in ({"ca_file": str(authority.file)}, {"verify": False}):
            assert push(server, tls=tls).accepted == ("m-0", "m-1")


@pytest.mark.parametrize(("verify", "warnings"), [(True, 0), (False, 1)])
def test_an_unverified_certificate_logs_a_warning(
    caplog: pytest.LogCaptureFixture, verify: bool, warnings: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("prefect", "prefect.tls"):
        monkeypatch.setattr(logging.getLogger(name), "propagate", True)
        monkeypatch.setattr(logging.getLogger(name), "disabled", False)
    caplog.set_level(logging.WARNING, logger="prefect.tls")
    block = SlottingEngine(spec=engine_spec("https://engine.example.com", tls={"verify": verify}))

    async def open_client() -> None:
        async with block.get_client():
            pass

    Context().run(asyncio.run, open_client())  # outside any run, regardless of what ran before
    assert caplog.text.count("is not verified (tls.verify: false)") == warnings


def test_a_secret_in_the_address_is_refused_and_not_repeated() -> None:
    with pytest.raises(ValidationError) as caught:
        SlottingEngine(spec={"name": "engine", "base_url": "https://me:hunter2@engine.example.com"})
    assert "hunter2" not in str(caught.value)

"""SlottingClient against a real server with scripted answers; waits are recorded, not slept."""

from __future__ import annotations

import json
from typing import Any

import pytest
from pydantic import SecretStr

from sku_velocity.errors import (
    ConfigurationError,
    EngineAddressError,
    EngineAuthError,
    EngineContractError,
    EngineRefusalError,
    EngineThrottledError,
    EngineUnavailableError,
    VelocityError,
)
from sku_velocity.model.push import SkuFigures, class_batch
from sku_velocity.slotting.batches import Answer
from sku_velocity.slotting.client import SlottingClient
from tests.support.engine import ENGINE_TOKEN, a_batch, engine_spec, reply_body
from tests.support.fake_clock import FakeClock
from tests.support.scripted_server import Reply, ScriptedServer, scripted

pytestmark = pytest.mark.anyio

TAKEN = Reply(207, reply_body(["m-0", "m-1"]))


async def push(
    url: str, clock: FakeClock | None = None, token: str | None = ENGINE_TOKEN, **parts: Any
) -> Answer:
    clock = clock or FakeClock()
    secret = SecretStr(token) if token else None
    async with SlottingClient.open(engine_spec(url, **parts), secret, clock, clock.sleep) as client:
        return await client.push_movements(a_batch())


async def refusal(server: ScriptedServer, **parts: Any) -> VelocityError:
    with pytest.raises(VelocityError) as caught:
        await push(server.url, **parts)
    return caught.value


async def test_each_record_is_accepted_or_rejected_with_its_reason() -> None:
    with scripted(Reply(207, reply_body(["m-1"], {"m-0": "no such SKU"}))) as server:
        answer = await push(server.url)
    assert answer == Answer(("m-1",), {"m-0": "no such SKU"}, requests=1)


async def test_a_batch_carries_its_key_in_the_configured_header() -> None:
    with scripted(TAKEN) as server:
        await push(server.url)
        await push(server.url, idempotency_header="X-Request-Id", movements_path="v2/moves")
    (first, headers), (second, other_headers) = server.requests
    assert (first, second) == ("/movements", "/v2/moves")
    assert headers["Idempotency-Key"] == other_headers["X-Request-Id"] == a_batch().key
    assert json.loads(server.bodies[0])["records"][1]["id"] == "m-1"


@pytest.mark.parametrize("status", [408, 409, 425, 429, 500, 502, 503, 504, 524])
async def test_a_temporary_failure_is_retried_with_the_same_key_and_content(status: int) -> None:
    clock = FakeClock()
    with scripted(Reply(status), TAKEN) as server:
        answer = await push(server.url, clock)
    assert answer.requests == 2 and 2 <= max(clock.slept) <= 10
    keys = {headers["Idempotency-Key"] for _, headers in server.requests}
    assert len(keys) == len(set(server.bodies)) == 1


@pytest.mark.parametrize("reply", [Reply(207, b"<html>busy</html>"), Reply(207, TAKEN.body, cut=True)])
async def test_an_unreadable_answer_is_requested_again(reply: Reply) -> None:
    with scripted(reply, TAKEN) as server:
        assert (await push(server.url)).requests == 2


async def test_it_gives_up_after_four_attempts_and_the_error_names_the_batch() -> None:
    with scripted(Reply(500, b"out of slots")) as server:
        error = await refusal(server)
    assert type(error) is EngineUnavailableError and len(server.requests) == 4
    assert "out of slots" in str(error) and a_batch().key in str(error) and server.url in str(error)


async def test_an_unreachable_engine_is_retriable() -> None:
    with scripted(TAKEN) as server:
        pass
    with pytest.raises(EngineUnavailableError, match="check base_url"):
        await push(server.url)


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (401, EngineAuthError),
        (403, EngineAuthError),
        (404, EngineAddressError),
        (307, EngineAddressError),
        (400, EngineRefusalError),
        (413, EngineRefusalError),
        (422, EngineRefusalError),
    ],
)
async def test_a_permanent_error_is_not_retried(status: int, kind: type) -> None:
    with scripted(Reply(status, b"no such luck")) as server:
        error = await refusal(server)
    assert type(error) is kind and f"HTTP {status}; it says: no such luck" in str(error)
    assert len(server.requests) == 1 and isinstance(error, EngineRefusalError) and error.took_nothing


async def test_a_refusal_after_a_lost_answer_does_not_claim_that_nothing_was_taken() -> None:
    with scripted(Reply(207, TAKEN.body, cut=True), Reply(401)) as server:
        error = await refusal(server)
    assert isinstance(error, EngineAuthError) and not error.took_nothing


@pytest.mark.parametrize(
    "first",
    [
        *(Reply(status, headers={"Retry-After": "1"}) for status in (429, 503)),
        *(Reply(status) for status in (408, 409, 425, 429, 500, 502, 504)),
        Reply(207, b"no JSON"),
    ],
    ids=lambda reply: f"{reply.status} {reply.headers}",
)
async def test_a_refusal_after_any_other_answer_does_not_claim_that_nothing_was_taken(first: Reply) -> None:
    with scripted(first, Reply(413)) as server:
        error = await refusal(server)
    assert type(error) is EngineRefusalError and not error.took_nothing and len(server.requests) == 2


async def test_a_redirect_is_not_followed() -> None:
    with scripted(TAKEN) as elsewhere, scripted(Reply(307, headers={"Location": elsewhere.url})) as server:
        assert "127.0.0.1, which is not followed" in str(await refusal(server))
    assert elsewhere.requests == []


@pytest.mark.parametrize("status", [429, 503])
async def test_a_requested_wait_is_obeyed_in_full_and_uses_no_attempt(status: int) -> None:
    clock = FakeClock()
    busy = Reply(status, headers={"Retry-After": "7"})
    with scripted(*[busy] * 9, TAKEN) as server:
        assert (await push(server.url, clock)).requests == 10
    assert clock.now >= 63


async def test_a_batch_waits_at_most_ten_minutes_in_total() -> None:
    with scripted(Reply(429, headers={"Retry-After": "250"})) as server:
        error = await refusal(server)
    assert isinstance(error, EngineThrottledError) and "750 s" in str(error) and len(server.requests) == 3


@pytest.mark.parametrize(
    ("body", "found"),
    [
        (reply_body(["m-0"]), "1 (m-1) missing, none too many"),
        (reply_body(["m-0", "m-1", "m-2"]), "none missing, 1 (m-2) too many"),
        (reply_body(["m-0", "m-1"], {"m-1": "twice"}), "none missing, 1 (m-1) too many"),
        (reply_body(["m-0", "m-0"]), "1 (m-1) missing, 1 (m-0) too many"),
    ],
)
async def test_an_answer_that_does_not_list_each_record_once_is_an_error(body: bytes, found: str) -> None:
    with scripted(Reply(207, body)) as server:
        error = await refusal(server)
    assert isinstance(error, EngineContractError) and found in str(error)


@pytest.mark.parametrize("body", [b"[]", b'{"accepted": ["m-0", "m-1"]}', b'{"ok": true}', b"null"])
async def test_an_answer_of_another_shape_is_quoted(body: bytes) -> None:
    with scripted(Reply(200, body)) as server:
        error = await refusal(server)
    assert isinstance(error, EngineContractError) and body.decode() in str(error)


async def test_an_answer_over_the_limit_is_refused() -> None:
    with scripted(Reply(207, b" " * 5000)) as server:
        error = await refusal(server, timeouts={"max_page_bytes": 2048})
    assert isinstance(error, EngineContractError) and "over 2048 bytes" in str(error)
    assert "raise timeouts.max_page_bytes" in str(error) and "batch_size" not in str(error)


async def test_an_answer_without_content_is_an_error() -> None:
    with scripted(Reply(204, b"")) as server:
        error = await refusal(server)
    assert isinstance(error, EngineContractError) and len(server.requests) == 1


async def test_a_damaged_gzip_answer_is_requested_again() -> None:
    damaged = Reply(207, b"not gzip", headers={"Content-Encoding": "gzip"})
    with scripted(damaged, TAKEN) as server:
        assert (await push(server.url)).requests == 2


async def test_a_rejection_without_a_reason_says_so() -> None:
    body = b'{"accepted": ["m-0"], "rejected": [{"id": "m-1"}]}'
    with scripted(Reply(207, body)) as server:
        assert (await push(server.url)).rejected == {"m-1": "the engine gave no reason"}


async def test_the_token_is_sent_to_the_engine_and_not_shown_anywhere_else() -> None:
    with scripted(Reply(401, f"bad token {ENGINE_TOKEN}".encode())) as server:
        error = await refusal(server)
    assert server.requests[0][1]["Authorization"] == f"Bearer {ENGINE_TOKEN}"
    assert ENGINE_TOKEN not in str(error) and "bad token ***" in str(error)


async def test_an_engine_may_need_no_token() -> None:
    with scripted(TAKEN) as server:
        await push(server.url, token=None)
    assert "Authorization" not in server.requests[0][1]


async def test_a_token_that_is_no_valid_header_is_a_configuration_error() -> None:
    with scripted(TAKEN) as server, pytest.raises(ConfigurationError, match="slots: token") as caught:
        await push(server.url, token="two\nlines")
    assert not server.requests and "lines" not in str(caught.value)


async def test_classes_are_sent_to_their_own_path() -> None:
    batch = class_batch("acme", 3, [SkuFigures("WH-01", "SKU-1", {"abc_lines": "A"})])
    clock = FakeClock()
    with scripted(Reply(207, reply_body(["WH-01/SKU-1"]))) as server:
        async with SlottingClient.open(engine_spec(server.url), None, clock, clock.sleep) as client:
            answer = await client.push_classes(batch)
    assert answer.accepted == ("WH-01/SKU-1",) and server.requests[0][0] == "/classes"
    assert server.requests[0][1]["Idempotency-Key"].startswith("classes-acme-3-")

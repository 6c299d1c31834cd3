"""The simulated slotting engine over real HTTP: it must be tested before the push relies on it."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from simulator import EngineScenario, EngineServer, Fault, serve_engine
from tests.support.checkout import CHECKOUT


@pytest.fixture(scope="module")
def server() -> Iterator[EngineServer]:
    with serve_engine() as running:
        yield running


@pytest.fixture
def engine(server: EngineServer) -> EngineServer:
    server.play(EngineScenario())
    return server


def send(
    engine: EngineServer, key: str | None, *ids: str, path: str = "/movements", **headers: str
) -> httpx.Response:
    if key:
        headers["Idempotency-Key"] = key
    records = [{"id": id, "sku_id": "SKU-1"} for id in ids]
    return httpx.post(engine.url + path, json={"records": records}, headers=headers, timeout=10)


def stats(engine: EngineServer) -> Any:
    return httpx.get(f"{engine.url}/stats").json()


def test_a_key_is_accepted_once_and_always_answered_alike(engine: EngineServer) -> None:
    first, second = send(engine, "k", "a", "b"), send(engine, "k", "a", "b")
    assert first.status_code == second.status_code == 207 and first.content == second.content
    assert first.json() == {"accepted": ["a", "b"], "rejected": []}
    assert engine.accepted == {"a": 1, "b": 1} and stats(engine)["replayed"] == 1


def test_another_key_counts_again_and_the_statistics_show_it(engine: EngineServer) -> None:
    send(engine, "k-1", "a", "b")
    send(engine, "k-2", "b")
    assert engine.accepted == {"a": 1, "b": 2}
    assert stats(engine)["movements"] == {"accepted": 2, "more_than_once": 1, "rejected": 0}
    assert httpx.get(f"{engine.url}/accepted").json()["/movements"] == {"a": 1, "b": 2}


def test_a_key_with_other_content_is_refused(engine: EngineServer) -> None:
    send(engine, "k", "a")
    assert send(engine, "k", "b").status_code == 422
    assert send(engine, "k", "a", path="/classes").status_code == 422
    assert engine.accepted == {"a": 1}


def test_rejections_follow_the_seed_and_have_a_reason(engine: EngineServer) -> None:
    ids = [f"m-{number}" for number in range(100)]
    engine.play(EngineScenario(reject_ratio=0.2))
    answer = send(engine, "k", *ids).json()
    assert 5 < len(answer["rejected"]) < 40 and len(answer["accepted"]) + len(answer["rejected"]) == 100
    assert answer["rejected"][0]["reason"] == "unknown SKU SKU-1"
    engine.play(EngineScenario(reject_ratio=0.2))
    assert send(engine, "k", *ids).json() == answer


def test_classes_are_stored_separately_and_the_last_one_counts(engine: EngineServer) -> None:
    send(engine, "k-1", "WH-01/SKU-1", path="/classes")
    assert engine.simulator.classes.current["WH-01/SKU-1"]["sku_id"] == "SKU-1"
    assert not engine.accepted


@pytest.mark.parametrize(
    ("status", "request_of"),
    [
        (400, {"key": None}),
        (404, {"key": "k", "path": "/nowhere"}),
        (401, {"key": "k", "Authorization": "Bearer wrong"}),
    ],
)
def test_refused_requests_are_not_counted(
    engine: EngineServer, status: int, request_of: dict[str, Any]
) -> None:
    engine.play(EngineScenario(token="right" if status == 401 else None))
    assert send(engine, request_of.pop("key"), "a", **request_of).status_code == status
    assert not engine.accepted


def test_a_body_that_is_not_a_batch_is_refused(engine: EngineServer) -> None:
    headers = {"Idempotency-Key": "k"}
    answers = [
        httpx.post(f"{engine.url}/movements", content=body, headers=headers)
        for body in (b"", b"[]", b'{"records": [{}]}', b'{"records": 1}')
    ]
    assert {answer.status_code for answer in answers} == {400}


def test_requests_over_the_ceiling_are_answered_with_429_and_a_wait(engine: EngineServer) -> None:
    engine.play(EngineScenario(requests_per_second=2))
    answers = [send(engine, f"k-{number}", f"m-{number}") for number in range(3)]
    assert [answer.status_code for answer in answers] == [207, 207, 429]
    assert answers[2].headers["Retry-After"] == "1" and len(engine.accepted) == 2


def test_a_reset_occurs_after_the_batch_was_accepted_and_a_500_before(engine: EngineServer) -> None:
    engine.play(EngineScenario(faults=(Fault("reset", 0, times=1), Fault("500", 1, times=1))))
    with pytest.raises(httpx.TransportError):
        send(engine, "k-1", "a")
    assert engine.accepted == {"a": 1}
    assert send(engine, "k-2", "b").status_code == 500 and engine.accepted == {"a": 1}
    assert {send(engine, key, id).status_code for key, id in (("k-1", "a"), ("k-2", "b"))} == {207}
    assert engine.accepted == {"a": 1, "b": 1}


def test_it_runs_as_a_process_that_prints_its_url() -> None:
    command = [sys.executable, "-m", "simulator", "engine", "--token", "t", "--reject-ratio", "1"]
    process = subprocess.Popen(command, cwd=CHECKOUT, stdout=subprocess.PIPE, text=True)
    assert process.stdout
    url = json.loads(process.stdout.readline())["url"]
    headers = {"Idempotency-Key": "k", "Authorization": "Bearer t"}
    answer = httpx.post(f"{url}/movements", json={"records": [{"id": "a"}]}, headers=headers)
    process.send_signal(signal.SIGTERM)
    assert answer.json()["rejected"][0]["id"] == "a" and process.wait(timeout=20) == 0
    process.stdout.close()

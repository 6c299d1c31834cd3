"""The simulator's and the tests' client of a Prefect server outlasts a locked database."""

from __future__ import annotations

import pytest

from demo import prefect_client as module
from demo.prefect_client import prefect_client
from tests.support.scripted_server import Reply, scripted

BUSY = Reply(503, b'{"exception_message": "Service Unavailable"}')


def test_a_busy_server_is_asked_again() -> None:
    with scripted(BUSY, BUSY, Reply(body=b'{"id": "a"}')) as server, prefect_client(server.url) as api:
        assert api.post("/deployments/", json={"name": "b"}).raise_for_status().json() == {"id": "a"}
        assert len(server.requests) == 3


def test_a_server_that_stays_busy_is_told_of(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PATIENCE", 0.0)
    with scripted(BUSY, Reply()) as server, prefect_client(server.url) as api:
        assert api.get("/health").status_code == 503
        assert len(server.requests) == 1


def test_another_failure_is_not_asked_again() -> None:
    with scripted(Reply(500), Reply()) as server, prefect_client(server.url) as api:
        assert api.get("/health").status_code == 500

"""The demo's and the tests' client of a Prefect server retries while its database is locked."""

from __future__ import annotations

import pytest

from demo import prefect_client as module
from demo.prefect_client import prefect_client
from tests.support.scripted_server import Reply, scripted

BUSY = Reply(503, b'{"exception_message": "Service Unavailable"}')


def test_requests_to_a_busy_server_are_retried() -> None:
    with scripted(BUSY, BUSY, Reply(body=b'{"id": "a"}')) as server, prefect_client(server.url) as api:
        assert api.post("/deployments/", json={"name": "b"}).raise_for_status().json() == {"id": "a"}
        assert len(server.requests) == 3


def test_the_503_of_a_server_that_stays_busy_is_returned(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "RETRY_SECONDS", 0.0)
    with scripted(BUSY, Reply()) as server, prefect_client(server.url) as api:
        assert api.get("/health").status_code == 503
        assert len(server.requests) == 1


def test_other_errors_are_not_retried() -> None:
    with scripted(Reply(500), Reply()) as server, prefect_client(server.url) as api:
        assert api.get("/health").status_code == 500

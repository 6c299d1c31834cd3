"""The push as a part of a sync: failures are visible, unpublish nothing, and are retried on their own."""

from __future__ import annotations

from pathlib import Path

import pytest

from simulator.faults import Fault
from sku_velocity.cli.executor import Executor
from sku_velocity.errors import ConfigurationError
from tests.support.acme import dead_letters, published
from tests.support.engine import ENGINE_TOKEN, both
from tests.support.operations import sync

REFUSING = (Fault("401", 1), Fault("401", 3))

pytestmark = pytest.mark.usefixtures("token")


@pytest.fixture(autouse=True)
def engine_token(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SKU_VELOCITY_ENGINE_TOKEN", ENGINE_TOKEN)


def test_each_record_of_a_published_window_is_pushed_once(
    executor: Executor, tmp_path: Path, store_url: str
) -> None:
    with both(tmp_path, reject_ratio=0.01) as (server, engine, request):
        outcome, report = sync(executor, store=store_url, **request)
        truth = server.ground_truth("WH-01")
    accepted, rejected = engine.accepted, engine.simulator.movements.rejected
    assert outcome.name == "Complete" and f"accepted {report.push.accepted}" in outcome.message
    assert accepted.total() == len(accepted) == report.push.accepted
    assert rejected.total() == report.push.rejected > 0
    assert report.push.accepted + report.push.rejected == truth.valid
    assert dead_letters(store_url, report.run_id) == truth.bad + report.push.rejected


def test_a_failed_push_fails_the_run_keeps_it_published_and_is_retried_on_its_own(
    executor: Executor, tmp_path: Path, store_url: str
) -> None:
    with both(tmp_path, faults=REFUSING) as (server, engine, request):
        outcome, report = sync(executor, store=store_url, **request)
        truth = server.ground_truth("WH-01")
        assert (outcome.name, outcome.is_failed) == ("PushFailed", True)
        assert "2 of 10 chunks failed; Retry pushes only what is left" in outcome.message
        assert "HTTP 401" in outcome.message and len(report.push.failed_chunks) == 2
        assert report.published and published(store_url) == (truth.valid, truth.units, 1)
        before = engine.accepted
        engine.clear()
        engine.reset_stats()
        server.reset_stats()
        outcome, resumed = sync(executor, store=store_url, resume=report.run_id, **request)
        assert outcome.name == "Complete" and resumed.push.failed_chunks == []
        assert server.stats().requests == 0 and engine.stats().requests == 2
    assert len(before) < resumed.push.accepted == engine.accepted.total() == truth.valid
    assert published(store_url) == (truth.valid, truth.units, 1)


def test_an_unpublished_window_is_not_pushed(executor: Executor, tmp_path: Path, sqlite_url: str) -> None:
    with both(tmp_path) as (_, engine, request):
        outcome, report = sync(executor, store=sqlite_url, **request, max_reject_ratio=0.01)
    assert outcome.name == "Incomplete" and report.push is None and engine.stats().requests == 0


def test_an_unknown_engine_is_reported_before_anything_is_read(
    executor: Executor, tmp_path: Path, sqlite_url: str
) -> None:
    with both(tmp_path) as (server, _, request), pytest.raises(ConfigurationError, match="nowhere"):
        sync(executor, store=sqlite_url, **request | {"push": "nowhere"})
    assert server.stats().requests == 0

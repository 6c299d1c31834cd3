"""The push as a part of a sync: failures are visible, unpublish nothing, and are retried on their own."""

from __future__ import annotations

from pathlib import Path

import pytest

from simulator.faults import Fault
from simulator.server import serve_engine
from simulator.slotting import EngineScenario
from sku_velocity.cli.executor import Executor
from sku_velocity.errors import ConfigurationError
from tests.support.acme import dead_letters, published
from tests.support.engine import ENGINE_TOKEN, both, engine_file, held
from tests.support.late_source import published as late_published
from tests.support.late_source import serve_late
from tests.support.operations import sync
from tests.support.store_rows import hour

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


def test_late_corrected_and_deleted_rows_are_pushed_as_corrections(
    executor: Executor, tmp_path: Path, store_url: str
) -> None:
    with serve_late() as served, serve_engine(EngineScenario(token=ENGINE_TOKEN)) as engine:
        names = served.fill(0, 1, 12)
        parameters = {"start": hour(0), "end": hour(1), "push": engine_file(tmp_path, engine)}
        source = served.write_spec(tmp_path)
        _, first = sync(executor, source, store_url, **parameters)
        assert (first.push.kind, first.push.accepted) == ("first", 12)
        served.add(hour(0.5))
        served.correct(names[3], units_moved=7)
        served.delete(names[5])
        outcome, report = sync(executor, source, store_url, **parameters)
    assert (report.push.kind, report.push.accepted, report.push.removed) == ("corrections", 2, 1)
    assert "slots accepted 2, rejected 0, removed 1." in outcome.message
    assert held(engine) == late_published(store_url) == served.content


def test_what_only_the_spec_changed_is_pushed_on_request(
    executor: Executor, tmp_path: Path, sqlite_url: str
) -> None:
    with serve_late() as served, serve_engine(EngineScenario(token=ENGINE_TOKEN)) as engine:
        served.fill(0, 1, 12)
        parameters = {"start": hour(0), "end": hour(1), "push": engine_file(tmp_path, engine)}
        sync(executor, served.write_spec(tmp_path), sqlite_url, **parameters)
        other = served.write_spec(tmp_path, fields={"movement_id": "id", "sku_id": {"const": "SKU-2"}})
        before = held(engine)
        outcome, report = sync(executor, other, sqlite_url, **parameters)
        assert (outcome.name, report.cause, report.push.kind) == ("Complete", "spec", "withheld")
        assert "set push_spec_changes" in outcome.message and held(engine) == before
        parameters |= {"push_spec_changes": True, "resume": report.run_id}
        _, report = sync(executor, other, sqlite_url, **parameters)
    assert (report.push.kind, report.push.accepted) == ("corrections", 12)
    assert held(engine) == late_published(sqlite_url) != before


def test_a_revision_waits_for_an_open_batch_of_the_run_that_it_replaced(
    executor: Executor, tmp_path: Path, sqlite_url: str
) -> None:
    faults = (Fault("401", 0),)  # refuses the first batch
    lost = (Fault("reset", 0, times=4),)  # accepts it, and answers nothing
    with serve_late() as served, serve_engine(EngineScenario(token=ENGINE_TOKEN, faults=lost)) as engine:
        names = served.fill(0, 1, 4)
        parameters = {"start": hour(0), "end": hour(1), "push": engine_file(tmp_path, engine)}
        source = served.write_spec(tmp_path)
        outcome, first = sync(executor, source, sqlite_url, **parameters)
        assert outcome.name == "PushFailed"
        served.delete(names[0])
        engine.play(EngineScenario(token=ENGINE_TOKEN, faults=faults))
        outcome, second = sync(executor, source, sqlite_url, **parameters)
        assert outcome.name == "PushFailed"
        assert f"earlier run of the window comes first: {first.run_id}" in outcome.message
        assert not engine.accepted
        engine.clear()
        outcome, report = sync(executor, source, sqlite_url, resume=second.run_id, **parameters)
    assert (outcome.name, report.push.kind) == ("Complete", "replacement")
    assert held(engine) == late_published(sqlite_url) == served.content


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

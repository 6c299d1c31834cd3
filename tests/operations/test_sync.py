"""A sync of a real API, on each store: published whole, or not at all."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from simulator.dialect import DIALECTS
from simulator.faults import Fault
from simulator.scenario import Change
from sku_velocity.cli.executor import Executor
from sku_velocity.errors import ConfigurationError, SourceAuthError
from sku_velocity.model.run import RunReport, Verdict
from tests.support.acme import WHOLE, dead_letters, published, spec_file, wms
from tests.support.operations import sync
from tests.support.velocity_store import look

pytestmark = pytest.mark.usefixtures("token")


def test_a_window_is_published_whole_and_a_second_run_publishes_the_same_rows(
    executor: Executor, tmp_path: Path, store_url: str
) -> None:
    with wms(tmp_path) as (server, source):
        truth = server.ground_truth("WH-01")
        for number, cause, differing in ((1, "first", None), (2, "revision", 0)):
            outcome, report = sync(executor, source, store_url, **WHOLE)
            assert outcome.name == "Complete" and isinstance(report, RunReport) and report.published
            assert (report.loaded, report.rejected) == (truth.valid, truth.bad)
            assert published(store_url) == (truth.valid, truth.units, 1)
            assert dead_letters(store_url, report.run_id) == truth.bad
            assert (report.publication, report.cause) == (number, cause)
            assert (report.added, report.changed, report.removed) == (differing, differing, differing)
        _, again = sync(executor, source, store_url, **WHOLE, resume=report.run_id)
        assert (again.publication, again.cause) == (2, "revision")


def test_failed_chunks_leave_nothing_published_and_a_resume_reads_only_those(
    executor: Executor, tmp_path: Path, store_url: str
) -> None:
    with wms(tmp_path, faults=(Fault("401", 299), Fault("401", 699))) as (server, source):
        outcome, report = sync(executor, source, store_url, **WHOLE)
        assert outcome.name == "Incomplete" and report.failed_chunks == [3, 7]
        assert "2 of 10 chunks failed" in outcome.message and published(store_url) == (0, 0, 0)
        costs = "SELECT requests, seconds > 0 FROM chunks WHERE state = 'failed'"
        assert look(store_url, costs) == [(1, True), (1, True)]
        server.clear()
        server.reset_stats()
        outcome, resumed = sync(executor, source, store_url, **WHOLE, resume=report.run_id)
        assert resumed.most_tasks > 0
        read = {page.offset for page in server.stats().pages if page.limit == 101}
        truth = server.ground_truth("WH-01")
    assert outcome.name == "Complete" and read == {299, 699, 999}  # and a page behind the last record
    assert resumed.run_id == report.run_id
    assert published(store_url) == (truth.valid, truth.units, 1)


def test_a_source_that_clamps_the_page_size_is_planned_and_published(
    executor: Executor, tmp_path: Path, sqlite_url: str
) -> None:
    with wms(tmp_path, max_page_size=51) as (server, source):
        outcome, report = sync(executor, source, sqlite_url, **WHOLE)
        truth = server.ground_truth("WH-01")
    assert outcome.name == "Complete" and report.chunks == 20
    assert published(sqlite_url) == (truth.valid, truth.units, 1)


def test_cursor_pages_are_read_in_sequence_and_resumed(
    executor: Executor, tmp_path: Path, store_url: str
) -> None:
    cursor = {
        "paging": {"style": "cursor", "cursor_path": "next", "page_size": 10},
        "total": {"from": "none"},
    }
    failing = (Fault("401", 500),)
    with wms(tmp_path, dialect=DIALECTS["cursor"], faults=failing) as (server, _):
        source = spec_file(server, tmp_path, **cursor)
        outcome, report = sync(executor, source, store_url, **WHOLE)
        assert outcome.name == "Incomplete" and report.failed_chunks == [2]
        server.clear()
        server.reset_stats()
        outcome, report = sync(executor, source, store_url, **WHOLE, resume=report.run_id)
        truth, read = server.ground_truth("WH-01"), {page.offset for page in server.stats().pages}
    assert outcome.name == "Unproven" and report.chunks == 5 and min(read - {0}) == 500
    assert published(store_url) == (truth.valid, truth.units, 1)


def test_a_window_that_changes_once_is_repaired(executor: Executor, tmp_path: Path, store_url: str) -> None:
    with wms(tmp_path, changes=(Change(4, position=0, delete=3),)) as (server, source):
        outcome, report = sync(executor, source, store_url, **WHOLE)
        truth = server.ground_truth("WH-01")
    assert (outcome.name, report.verdict, report.repairs) == ("Repaired", Verdict.REPAIRED, 1)
    assert published(store_url) == (truth.valid, truth.units, 1)


def test_a_window_that_keeps_changing_leaves_the_published_rows(
    executor: Executor, tmp_path: Path, store_url: str
) -> None:
    with wms(tmp_path) as (server, source):
        sync(executor, source, store_url, **WHOLE)
        before = published(store_url)
        moving = tuple(Change(request, position=0, insert=1) for request in range(1, 100))
        server.play(replace(server.simulator.scenario, changes=moving))
        outcome, report = sync(executor, source, store_url, **WHOLE)
    assert outcome.name == "Incomplete" and not report.published and report.repairs == 2
    assert published(store_url) == before


def test_a_retry_of_a_changed_window_reads_it_again(
    executor: Executor, tmp_path: Path, sqlite_url: str
) -> None:
    moving = tuple(Change(request, position=0, insert=1) for request in range(2, 100))
    with wms(tmp_path, changes=moving) as (server, source):
        outcome, report = sync(executor, source, sqlite_url, **WHOLE, repairs=0)
        assert outcome.name == "Incomplete" and "Retry reads the window again" in outcome.message
        server.play(replace(server.simulator.scenario, changes=()))
        outcome, report = sync(executor, source, sqlite_url, **WHOLE, resume=report.run_id)
        truth = server.ground_truth("WH-01")
    assert (outcome.name, report.repairs) == ("Repaired", 1)
    assert published(sqlite_url) == (truth.valid, truth.units, 1)


def test_a_window_with_too_many_rejects_is_not_published(
    executor: Executor, tmp_path: Path, sqlite_url: str
) -> None:
    with wms(tmp_path) as (_, source):
        outcome, report = sync(executor, source, sqlite_url, **WHOLE, max_reject_ratio=0.01)
        assert outcome.name == "Incomplete" and report.repairs == 0 and "rejects" in outcome.message
        assert sync(executor, source, sqlite_url, **WHOLE, max_reject_ratio=0.02)[0].name == "Complete"


def test_a_refused_token_fails_the_run_with_the_reason(
    executor: Executor, tmp_path: Path, sqlite_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WMS_TOKEN", "another")
    with wms(tmp_path) as (_, source), pytest.raises(SourceAuthError):
        sync(executor, source, sqlite_url, **WHOLE)


def test_an_unknown_run_cannot_be_resumed(executor: Executor, tmp_path: Path, sqlite_url: str) -> None:
    with wms(tmp_path) as (_, source), pytest.raises(ConfigurationError, match="no-such-run"):
        sync(executor, source, sqlite_url, **WHOLE, resume="no-such-run")

"""Published windows are compared with their source again, and revised if it has changed."""

from __future__ import annotations

import asyncio
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from simulator.server import serve_engine
from simulator.slotting import EngineScenario
from sku_velocity.cli.executor import Executor
from sku_velocity.model.run import Verdict
from tests.support.engine import ENGINE_TOKEN, engine_file, held
from tests.support.exported import seen_by_duckdb
from tests.support.late_source import published, serve_late
from tests.support.operations import recheck, refresh_velocity, sync
from tests.support.published_store import table
from tests.support.store_rows import hour

pytestmark = pytest.mark.usefixtures("token")
HOURS = 3


def read_hours(executor: Executor, source: str, store: str, **parameters: Any) -> None:
    for number in range(HOURS):
        _, report = sync(executor, source, store, start=hour(number), end=hour(number + 1), **parameters)
        assert report.published


def test_late_corrected_and_deleted_rows_are_published_and_unchanged_windows_stay(
    executor: Executor, tmp_path: Path, store_url: str
) -> None:
    with serve_late() as served:
        names = served.fill(0, HOURS, 36)
        source = served.write_spec(tmp_path)
        read_hours(executor, source, store_url)
        outcome, report = recheck(executor, source, store_url)
        assert (outcome.name, report.compared, report.windows) == ("Complete", HOURS, [])
        served.add(hour(0.5), units_moved=7)
        served.correct(names[12], units_moved=3)  # the first of the second hour
        served.delete(names[20])
        before = served.requests
        outcome, report = recheck(executor, source, store_url)
        assert outcome.name == "Complete" and served.requests - before == report.requests
        assert published(store_url) == served.content
    assert [(each.start, each.why) for each in report.windows] == [
        (hour(1), "11 records, 12 before"),
        (hour(0), "13 records, 12 before"),
    ]
    assert [(each.added, each.changed, each.removed) for each in report.windows] == [(0, 1, 1), (1, 0, 0)]
    assert report.compared == HOURS and report.lateness.rows == 1


def test_the_next_refresh_counts_the_revised_rows(executor: Executor, tmp_path: Path, store_url: str) -> None:
    def lines() -> list[tuple[str, int]]:
        refresh_velocity(executor, store_url, as_of=date(2026, 3, 1), reports=str(tmp_path / "reports"))
        sql = "SELECT sku_id, lines_7 FROM current_velocity ORDER BY sku_id"
        return [(row[0], row[1]) for row in asyncio.run(table(store_url, sql))]

    with serve_late() as served:
        names = served.fill(0, HOURS, 36)
        source = served.write_spec(tmp_path)
        read_hours(executor, source, store_url)
        assert lines() == [("SKU-1", 36)]
        served.add(hour(0.5), sku_id="SKU-2")
        served.delete(names[-1])
        recheck(executor, source, store_url)
        assert lines() == [("SKU-1", 35), ("SKU-2", 1)]


def test_a_window_that_cannot_be_proven_stays_unproven(
    executor: Executor, tmp_path: Path, sqlite_url: str
) -> None:
    with serve_late(style="cursor") as served:
        served.fill(0, HOURS, 36)
        source = served.write_spec(tmp_path, paging=served.spec()["paging"] | {"stable": False})
        read_hours(executor, source, sqlite_url)
        served.add(hour(0.5))
        _, report = recheck(executor, source, sqlite_url)
        assert [(each.verdict, each.published) for each in report.windows] == [(Verdict.UNPROVEN, True)]
        outcome, report = recheck(executor, source, sqlite_url, require_proof=True, full=True)
        assert outcome.is_failed and len(report.failed) == HOURS
        assert published(sqlite_url) == served.content


def test_revisions_go_to_the_slotting_engine_and_into_the_exported_files(
    executor: Executor, tmp_path: Path, store_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SKU_VELOCITY_ENGINE_TOKEN", ENGINE_TOKEN)
    exported = tmp_path / "exported"
    with serve_late() as served, serve_engine(EngineScenario(token=ENGINE_TOKEN)) as engine:
        names = served.fill(0, HOURS, 36)
        source = served.write_spec(tmp_path)
        to = {"push": engine_file(tmp_path, engine), "export_to": str(exported)}
        read_hours(executor, source, store_url, **to)
        served.add(hour(0.5), units_moved=7)
        served.correct(names[12], units_moved=3)
        served.delete(names[20])
        engine.reset_stats()
        outcome, report = recheck(executor, source, store_url, **to)
        assert outcome.name == "Complete" and len(report.revised) == 2
        assert engine.stats().requests == 3  # the added row, the corrected one, and the deleted one
        assert held(engine) == published(store_url) == served.content
        assert seen_by_duckdb(exported).total() == served.content.total()
        sent = engine.stats().requests
        recheck(executor, source, store_url, **to)
        assert engine.stats().requests == sent


def test_no_window_is_begun_once_the_budget_is_spent(
    executor: Executor, tmp_path: Path, sqlite_url: str
) -> None:
    with serve_late() as served:
        served.fill(0, HOURS, 36)
        source = served.write_spec(tmp_path)
        read_hours(executor, source, sqlite_url)
        _, report = recheck(executor, source, sqlite_url, max_requests=1)
        assert (report.compared, report.not_reached) == (1, HOURS - 1)
        _, report = recheck(executor, source, sqlite_url, max_requests=1, full=True)
        assert (report.compared, report.not_reached) == (1, HOURS - 1)

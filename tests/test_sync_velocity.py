"""The main job against a real API, on each store: published whole, or not at all."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from sqlalchemy import text

from flows.sync_velocity import sync_velocity
from simulator.faults import Fault
from simulator.scenario import Change, Scenario
from simulator.server import Server, serve
from sku_velocity.errors import ConfigurationError, SourceAuthError
from sku_velocity.models import RunReport, Verdict
from sku_velocity.store import Store
from sku_velocity.store.engine import Database

pytestmark = pytest.mark.usefixtures("prefect_server")

TOKEN = "s3cret-token"
WHOLE = {"start": "2026-03-01T00:00:00Z", "end": "2026-03-08T00:00:00Z"}
ROWS = text(
    "SELECT count(*), coalesce(sum(units_moved), 0), count(DISTINCT flow_run_id) FROM published_movements"
)


@contextmanager
def wms(tmp_path: Path, **scenario: Any) -> Iterator[tuple[Server, str]]:
    """A simulated WMS of 1,000 records, and the path of its spec with pages of 100."""
    with serve(Scenario(token=TOKEN, bad_ratio=0.02, **scenario)) as server:
        path = tmp_path / "acme.yaml"
        path.write_text(yaml.safe_dump(spec_of(server)))
        yield server, str(path)


def spec_of(server: Server) -> dict[str, Any]:
    return {
        "name": "acme",
        "base_url": server.url,
        "request": {"params": {"warehouse": "{warehouse}"}},
        "records": {"path": "records"},
        "total": {"from": "body", "path": "total"},
        "paging": {"page_size": 101},  # 100 of its own and one of the page before
        "pace": {"requests_per_second": 200},
        "fields": {"movement_id": "movement_id"},
    }


def sync(source: str, store: str, **parameters: Any) -> Any:
    """Run the flow; give its state and what it ended with: a report or an exception."""

    async def run() -> Any:
        request = {"warehouse": "WH-01", "chunk_retries": 0, "token_env": "WMS_TOKEN"} | parameters
        state = await sync_velocity(source=source, store=store, **request, return_state=True)
        return state, await state.aresult(raise_on_failure=False)

    return asyncio.run(run())


@pytest.fixture(autouse=True)
def token(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WMS_TOKEN", TOKEN)


def published(url: str) -> tuple[int, int, int]:
    """Rows, units and runs that a reader of the store sees."""

    async def look() -> tuple[int, int, int]:
        database = Database(url)
        try:
            async with database.reading() as connection:
                rows, units, runs = (await connection.execute(ROWS)).one()
                return int(rows), int(units), int(runs)
        finally:
            await database.close()

    return asyncio.run(look())


def dead_letters(url: str, run: str) -> int:
    async def count() -> int:
        async with Store.open(url) as store:
            return len(await store.dead_letters(run))

    return asyncio.run(count())


def test_a_window_is_published_whole_and_a_second_run_gives_the_same_rows(
    tmp_path: Path, store_url: str
) -> None:
    with wms(tmp_path) as (server, source):
        truth = server.ground_truth("WH-01")
        for _ in range(2):
            state, report = sync(source, store_url, **WHOLE)
            assert state.name == "Complete" and isinstance(report, RunReport) and report.published
            assert (report.loaded, report.rejected) == (truth.valid, truth.bad)
            assert published(store_url) == (truth.valid, truth.units, 1)
            assert dead_letters(store_url, report.flow_run_id) == truth.bad


def test_failed_chunks_leave_nothing_published_and_a_resume_reads_only_those(
    tmp_path: Path, store_url: str
) -> None:
    with wms(tmp_path, faults=(Fault("401", 299), Fault("401", 699))) as (server, source):
        state, report = sync(source, store_url, **WHOLE)
        assert state.name == "Incomplete" and report.failed_chunks == [3, 7]
        assert "2 of 10 chunks failed" in state.message and published(store_url) == (0, 0, 0)
        server.clear()
        server.reset_stats()
        state, resumed = sync(source, store_url, **WHOLE, resume=report.flow_run_id)
        read = {page.offset for page in server.stats().pages if page.limit == 101}
        truth = server.ground_truth("WH-01")
    assert state.name == "Complete" and read == {299, 699}
    assert resumed.flow_run_id == report.flow_run_id
    assert published(store_url) == (truth.valid, truth.units, 1)


def test_a_clamped_page_is_planned_for_and_published(tmp_path: Path, sqlite_url: str) -> None:
    with wms(tmp_path, max_page_size=51) as (server, source):
        state, report = sync(source, sqlite_url, **WHOLE)
        truth = server.ground_truth("WH-01")
    assert state.name == "Complete" and report.chunks == 20
    assert published(sqlite_url) == (truth.valid, truth.units, 1)


def test_a_window_that_moves_once_is_repaired(tmp_path: Path, store_url: str) -> None:
    with wms(tmp_path, changes=(Change(4, position=0, delete=3),)) as (server, source):
        state, report = sync(source, store_url, **WHOLE)
        truth = server.ground_truth("WH-01")
    assert (state.name, report.verdict, report.repairs) == ("Repaired", Verdict.REPAIRED, 1)
    assert published(store_url) == (truth.valid, truth.units, 1)


def test_a_window_that_keeps_moving_leaves_what_was_published(tmp_path: Path, store_url: str) -> None:
    with wms(tmp_path) as (server, source):
        sync(source, store_url, **WHOLE)
        before = published(store_url)
        moving = tuple(Change(request, position=0, insert=1) for request in range(1, 100))
        server.play(replace(server.simulator.scenario, changes=moving))
        state, report = sync(source, store_url, **WHOLE)
    assert state.name == "Incomplete" and not report.published and report.repairs == 2
    assert published(store_url) == before


def test_a_window_with_too_many_rejects_is_not_published(tmp_path: Path, sqlite_url: str) -> None:
    with wms(tmp_path) as (_, source):
        state, report = sync(source, sqlite_url, **WHOLE, max_reject_ratio=0.01)
        assert state.name == "Incomplete" and report.repairs == 0 and "rejects" in state.message
        assert sync(source, sqlite_url, **WHOLE, max_reject_ratio=0.02)[0].name == "Complete"


def test_a_refused_token_ends_the_run_with_the_reason(
    tmp_path: Path, sqlite_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WMS_TOKEN", "another")
    with wms(tmp_path) as (_, source):
        state, error = sync(source, sqlite_url, **WHOLE)
    assert state.is_failed() and isinstance(error, SourceAuthError)


def test_an_unknown_run_cannot_be_resumed(tmp_path: Path, sqlite_url: str) -> None:
    with wms(tmp_path) as (_, source):
        state, error = sync(source, sqlite_url, **WHOLE, resume="no-such-run")
    assert state.is_failed() and isinstance(error, ConfigurationError) and "no-such-run" in str(error)

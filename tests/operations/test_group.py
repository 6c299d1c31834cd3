"""A group of warehouses is read within one run: each is proven and published by itself."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from simulator.faults import Fault
from sku_velocity.cli.executor import Executor
from sku_velocity.cli.executor import current as process
from sku_velocity.steps.run_context import RunContext
from sku_velocity.steps.sync import ingest_chunk, prove_window, read_window
from tests.support.acme import published, spec_file, wms
from tests.support.days import WINDOWED, day
from tests.support.operations import sync_group
from tests.support.published_store import table

THREE = ("WH-01", "WH-02", "WH-03")


def test_one_that_fails_does_not_affect_the_others_and_reading_again_completes_it(
    executor: Executor, tmp_path: Path, store_url: str, token: None
) -> None:
    with wms(tmp_path, warehouses=THREE) as (server, _):
        source = spec_file(server, tmp_path, **WINDOWED)
        window = {"warehouses": [*THREE, "WH-01"], "start": day(1), "end": day(3)}
        server.play(replace(server.simulator.scenario, faults=(Fault("401", 99, warehouse="WH-02"),)))
        outcome, report = sync_group(executor, source, store_url, **window)
        assert outcome.name == "Incomplete" and outcome.message.startswith("2 of 3 windows published")
        [left] = report.left
        assert left.warehouse == "WH-02" and "HTTP 401" in left.message and left.run_id
        assert [run.warehouse for run in report.runs] == list(THREE)
        truth = [server.ground_truth(name, day(1), day(3)) for name in ("WH-01", "WH-03")]
        assert published(store_url) == (sum(t.valid for t in truth), sum(t.units for t in truth), 2)
        server.clear()
        outcome, report = sync_group(executor, source, store_url, **window)
        all_truth = server.ground_truth(None, day(1), day(3))
    assert outcome.name == "Complete" and [run.published for run in report.runs] == [True] * 3
    assert published(store_url) == (all_truth.valid, all_truth.units, 3)


def test_a_warehouse_that_cannot_be_asked_for_is_named_with_the_reason(
    executor: Executor, tmp_path: Path, sqlite_url: str, token: None
) -> None:
    with wms(tmp_path, warehouses=THREE) as (server, _):
        source = spec_file(server, tmp_path, **WINDOWED)
        server.play(replace(server.simulator.scenario, faults=(Fault("401", 0, warehouse="WH-03"),)))
        window = {"warehouses": [*THREE], "start": day(1), "end": day(2)}
        outcome, report = sync_group(executor, source, sqlite_url, **window)
    assert [run.published for run in report.runs] == [True, True, False]
    assert "WH-03 2026-03-01" in outcome.message and "SourceAuthError" in report.left[0].message


def test_the_report_of_each_window_counts_its_own_requests(
    executor: Executor, tmp_path: Path, sqlite_url: str, token: None
) -> None:
    with wms(tmp_path, warehouses=THREE) as (server, _):
        source = spec_file(server, tmp_path, **WINDOWED)
        server.play(replace(server.simulator.scenario, faults=(Fault("503", 0, times=1, warehouse="WH-02"),)))
        server.reset_stats()
        sync_group(executor, source, sqlite_url, warehouses=[*THREE], start=day(1), end=day(2))
        sent = server.stats().requests
    found = asyncio.run(table(sqlite_url, "SELECT report FROM sync_runs ORDER BY warehouse_id"))
    reports = [json.loads(report) for (report,) in found]
    requests = [report["requests"] for report in reports]
    assert sum(requests) == sent and requests[0] == requests[2] == requests[1] - 1


@pytest.mark.parametrize(("days", "ingested", "proven"), [(1, 0, 0), (7, 3 * 16, 3)])
def test_a_small_window_is_one_step_and_a_larger_one_has_a_step_for_each_chunk(
    tmp_path: Path,
    sqlite_url: str,
    token: None,
    monkeypatch: pytest.MonkeyPatch,
    days: int,
    ingested: int,
    proven: int,
) -> None:
    performed, perform = Counter[str](), RunContext.perform

    async def count(self: RunContext, step: Any, *args: Any, **kwargs: Any) -> Any:
        performed[step.name] += not self.is_inline
        return await perform(self, step, *args, **kwargs)

    monkeypatch.setattr(RunContext, "perform", count)
    with wms(tmp_path, warehouses=THREE, records=3010) as (server, _):
        source = spec_file(server, tmp_path, **WINDOWED)
        window = {"warehouses": [*THREE], "start": day(1), "end": day(1 + days)}
        outcome, report = sync_group(process(), source, sqlite_url, **window)
        truth = server.ground_truth(None, day(1), day(1 + days))
    assert outcome.name == "Complete" and [run.published for run in report.runs] == [True] * 3
    assert published(sqlite_url) == (truth.valid, truth.units, 3)
    found = (performed[each.name] for each in (read_window, ingest_chunk, prove_window))
    assert tuple(found) == (3, ingested, proven)

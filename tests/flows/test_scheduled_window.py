"""A run chooses its window by its scheduled start, so that a later rerun reads the same window."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import UUID

import pytest
from prefect.client.orchestration import get_client
from prefect.states import AwaitingRetry

from simulator.faults import Fault
from sku_velocity.errors import SourceAuthError
from sku_velocity.model.run import run_id_of
from sku_velocity.model.window import Window
from tests.support.acme import spec_file, wms
from tests.support.scheduled_runs import execute, schedule


def at(hour: int, minute: int = 0) -> datetime:
    return datetime(2026, 3, 1, tzinfo=UTC) + timedelta(hours=hour, minutes=minute)


async def press_retry(run: UUID) -> None:
    async with get_client() as client:
        await client.set_flow_run_state(run, AwaitingRetry(), force=True)


@pytest.mark.usefixtures("prefect_server", "token")
def test_a_scheduled_run_of_a_source_of_days_reads_the_last_complete_day_of_its_zone(
    tmp_path: Path, sqlite_url: str
) -> None:
    window = {"params": {"start": "start", "end": "end"}, "grain": "day", "timezone": "Europe/Berlin"}
    with wms(tmp_path) as (server, _):
        source = spec_file(server, tmp_path, window=window)
        request = {"source": source, "store": sqlite_url, "warehouse": "WH-01", "token_env": "WMS_TOKEN"}
        run = asyncio.run(schedule(at(48 + 8, 20), request | {"max_reject_ratio": 1}))
        report = asyncio.run(execute(run))
        truth = server.ground_truth("WH-01", report.start, report.end)
    assert (report.start, report.end) == (at(23), at(47)) and report.published
    assert report.loaded == truth.valid > 100


@pytest.mark.usefixtures("prefect_server", "token")
def test_a_run_months_late_and_its_retry_read_the_scheduled_hour(tmp_path: Path, sqlite_url: str) -> None:
    with wms(tmp_path, faults=(Fault("401", 0),)) as (server, _):
        source = spec_file(server, tmp_path, window={"params": {"start": "start", "end": "end"}})
        request = {"source": source, "store": sqlite_url, "warehouse": "WH-01", "token_env": "WMS_TOKEN"}
        run = asyncio.run(schedule(at(8, 20), request | {"max_reject_ratio": 1}))
        assert isinstance(asyncio.run(execute(run)), SourceAuthError)  # and no plan was stored
        server.clear()
        asyncio.run(press_retry(run))
        report = asyncio.run(execute(run))
    assert (report.start, report.end, report.flow_run_id) == (at(7), at(8), str(run))
    assert report.published and 0 < report.fetched < 20  # of the 1,000 of the week
    assert report.run_id == run_id_of(str(run), "acme", "WH-01", Window(at(7), at(8)))

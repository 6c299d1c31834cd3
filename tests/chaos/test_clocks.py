"""A worker whose clock is an hour off reads the hour that was due, since the schedule determines the hour."""

from __future__ import annotations

import asyncio
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import UUID

import pytest
from prefect.client.orchestration import get_client
from prefect.states import Pending

from tests.chaos.fault_log import FaultLog
from tests.chaos.truth import seen_content, true_content
from tests.support.acme import spec_file, wms
from tests.support.scheduled_runs import execute, schedule

HOUR = timedelta(hours=1)


async def let_start(run: UUID) -> None:
    """Set the run to Pending as the Prefect server does, whose clock is right: for it the run is due."""
    async with get_client() as client:
        await client.set_flow_run_state(run, Pending(), force=True)


@pytest.mark.usefixtures("prefect_server", "token")
@pytest.mark.parametrize(("clock", "ahead"), [("fast", HOUR), ("slow", -HOUR)])
def test_a_worker_with_a_wrong_clock_reads_the_hour_that_was_due(
    clock: str, ahead: timedelta, tmp_path: Path, sqlite_url: str, fault_log: FaultLog
) -> None:
    due = datetime.now(UTC) - ahead  # the true time; this process's clock is wrong
    end = (due - timedelta(minutes=10)).replace(minute=0, second=0, microsecond=0)
    data = {"start": end - 4 * HOUR, "period": 8 * HOUR, "records": 4000}
    with wms(tmp_path, **data) as (server, _):
        source = spec_file(server, tmp_path, window={"params": {"start": "start", "end": "end"}})
        request = {"source": source, "store": sqlite_url, "warehouse": "WH-01", "token_env": "WMS_TOKEN"}
        run = asyncio.run(schedule(due, request))
        asyncio.run(let_start(run))
        started = time.monotonic()
        report = asyncio.run(execute(run))
        seconds, truth = time.monotonic() - started, true_content(server, start=end - HOUR, end=end)
    assert (report.start, report.end) == (end - HOUR, end) and truth.total() > 400
    fault_log.record(f"clock an hour {clock}", truth, seen_content(sqlite_url), seconds)

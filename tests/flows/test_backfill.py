"""A backfill in Prefect: windows share a pace, and a Retry reads only what is missing."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from prefect.client.orchestration import get_client
from prefect.states import AwaitingRetry

from flows.backfill import backfill
from flows.runtime.prefect_internals import run_flow
from simulator.faults import Fault
from tests.support.acme import published, spec_file, wms
from tests.support.days import WINDOWED, day

pytestmark = pytest.mark.usefixtures("prefect_server", "token")


def fill(source: str, store: str, **parameters: Any) -> Any:
    """Backfill the first days of March, day by day. Return the state and its result."""
    request = {"warehouses": ["WH-01"], "token_env": "WMS_TOKEN", "window_minutes": 1440}
    request |= {"max_reject_ratio": 1, "task_retries": 0, "start": day(1), "end": day(5)} | parameters

    async def run() -> Any:
        state = await backfill(source=source, store=store, **request, return_state=True)
        return state, await state.aresult(raise_on_failure=False)

    return asyncio.run(run())


def test_warehouses_with_a_shared_pace_are_read_in_parallel(tmp_path: Path, sqlite_url: str) -> None:
    pace = {"requests_per_second": 100, "shared_limit": "backfill-pace"}
    with wms(tmp_path, warehouses=("WH-01", "WH-02")) as (server, _):
        source = spec_file(server, tmp_path, **WINDOWED, pace=pace)
        both = {"warehouses": ["WH-02", "WH-01"], "max_parallel": 2, "start": day(3)}
        state, report = fill(source, sqlite_url, **both)
        truth = server.ground_truth(None, day(3), day(5))
    read = [(window.warehouse, window.start.day) for window in report.runs]
    assert state.name == "Complete" and read == [("WH-01", 3), ("WH-02", 3), ("WH-01", 4), ("WH-02", 4)]
    assert published(sqlite_url) == (truth.valid, truth.units, 4)


async def press_retry(run: UUID) -> Any:
    """Press Retry and run the flow run as a worker does. Return its result."""
    async with get_client() as client:
        await client.set_flow_run_state(run, AwaitingRetry(), force=True)
        state = await run_flow(backfill, flow_run=await client.read_flow_run(run), return_type="state")
    return await state.aresult(raise_on_failure=False)


def test_a_retry_reads_only_the_missing_windows(tmp_path: Path, sqlite_url: str) -> None:
    """The missing window is the second one, and Prefect counts a retry's subflows from the first."""
    failing = (Fault("401", 99, warehouse="WH-02", times=1),)
    with wms(tmp_path, warehouses=("WH-01", "WH-02"), faults=failing) as (server, _):
        source = spec_file(server, tmp_path, **WINDOWED)
        state, _ = fill(source, sqlite_url, warehouses=["WH-01", "WH-02"], start=day(4))
        assert state.name == "Incomplete" and "WH-02 2026-03-04" in state.message
        server.reset_stats()
        report = asyncio.run(press_retry(state.state_details.flow_run_id))
        assert [(window.warehouse, window.published) for window in report.runs] == [("WH-02", True)]
        assert {page.warehouse for page in server.stats().pages} == {"WH-02"}
        truth = server.ground_truth(None, day(4), day(5))
    assert published(sqlite_url) == (truth.valid, truth.units, 2)

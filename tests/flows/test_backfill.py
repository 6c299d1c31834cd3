"""Every missing window is read once, even if others fail. Published windows are not read again."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from prefect.client.orchestration import get_client
from prefect.states import AwaitingRetry

from blocks.shared_pace import create_shared_limit
from flows.backfill import backfill, check_options
from flows.runtime.prefect_internals import run_flow
from simulator.faults import Fault
from simulator.server import Server
from sku_velocity.errors import ConfigurationError, SourceAuthError
from sku_velocity.http.spec import PaceSpec
from tests.support.acme import published, spec_file, wms
from tests.support.acme_flow import sync

pytestmark = pytest.mark.usefixtures("prefect_server", "token")

WINDOWED = {"window": {"params": {"start": "start", "end": "end"}}}
ALL_VALID = {"max_reject_ratio": 1, "task_retries": 0}


def day(number: int) -> datetime:
    return datetime(2026, 3, number, tzinfo=UTC)


def windows_of(*numbers: int) -> set[str]:
    """Return the windows of these days of March, as the simulator reports them."""
    return {f"{day(n).isoformat()}/{day(n + 1).isoformat()}" for n in numbers}


@pytest.fixture
def acme(tmp_path: Path) -> Iterator[tuple[Server, str]]:
    """A simulated WMS that supports windows: a week of March with about 143 records a day."""
    with wms(tmp_path) as (server, _):
        yield server, spec_file(server, tmp_path, **WINDOWED)


def fail_the_first_second_page(server: Server) -> None:
    """Make the first window that is read fail once, at its second chunk."""
    server.play(replace(server.simulator.scenario, faults=(Fault("401", 99, times=1),)))


def fill(source: str, store: str, **parameters: Any) -> Any:
    """Backfill the first days of March, day by day. Return the state and its result."""
    request = {"warehouses": ["WH-01"], "token_env": "WMS_TOKEN", "window_hours": 24, "options": ALL_VALID}
    request |= {"start": day(1), "end": day(5)} | parameters

    async def run() -> Any:
        state = await backfill(source=source, store=store, **request, return_state=True)
        return state, await state.aresult(raise_on_failure=False)

    return asyncio.run(run())


def test_a_failed_window_is_left_and_a_second_backfill_reads_only_the_rest_of_it(
    acme: tuple[Server, str], store_url: str
) -> None:
    server, source = acme
    sync(source, store_url, start=day(2), end=day(3), **ALL_VALID)
    fail_the_first_second_page(server)
    server.reset_stats()
    state, report = fill(source, store_url)
    assert [window.published for window in report.windows] == [False, True, True]
    assert state.name == "Incomplete" and "1 left" in state.message and "WH-01 2026-03-01" in state.message
    assert server.stats().windows.keys() == windows_of(1, 3, 4)
    server.reset_stats()
    state, report = fill(source, store_url)
    assert state.name == "Complete" and len(report.windows) == 1
    assert server.stats().windows.keys() == windows_of(1)
    start_of_the_second = 99  # with the record before it; the final check starts at the last record
    assert all(page.offset >= start_of_the_second for page in server.stats().pages if page.limit > 20)
    truth = server.ground_truth("WH-01", day(1), day(5))
    assert published(store_url) == (truth.valid, truth.units, 4)


def test_no_request_is_sent_if_nothing_is_missing(acme: tuple[Server, str], sqlite_url: str) -> None:
    server, source = acme
    sync(source, sqlite_url, start=day(1), end=day(5), **ALL_VALID)
    server.reset_stats()
    state, report = fill(source, sqlite_url)
    assert (state.name, report.windows, server.stats().requests) == ("Complete", [], 0)


def test_warehouses_with_a_shared_pace_are_read_newest_first_and_in_parallel(
    tmp_path: Path, sqlite_url: str
) -> None:
    pace = {"requests_per_second": 100, "shared_limit": "backfill-pace"}
    with wms(tmp_path, warehouses=("WH-01", "WH-02")) as (server, _):
        source = spec_file(server, tmp_path, **WINDOWED, pace=pace)
        asyncio.run(create_shared_limit(PaceSpec.model_validate(pace)))
        both = {"warehouses": ["WH-02", "WH-01"], "max_parallel": 2, "newest_first": True, "start": day(3)}
        state, report = fill(source, sqlite_url, **both)
        truth = server.ground_truth(None, day(3), day(5))
    read = [(window.warehouse, window.start.day) for window in report.windows]
    assert state.name == "Complete" and read == [("WH-01", 4), ("WH-02", 4), ("WH-01", 3), ("WH-02", 3)]
    assert published(sqlite_url) == (truth.valid, truth.units, 4)


def test_a_wrong_setting_ends_the_backfill_at_once(
    acme: tuple[Server, str], sqlite_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    server, source = acme
    monkeypatch.setenv("WMS_TOKEN", "another")
    state, error = fill(source, sqlite_url)
    assert state.is_failed() and isinstance(error, SourceAuthError) and server.stats().requests == 1


def test_a_source_without_windows_is_refused_before_anything_is_read(tmp_path: Path, sqlite_url: str) -> None:
    with wms(tmp_path) as (server, source):
        state, error = fill(source, sqlite_url)
        assert state.is_failed() and isinstance(error, ConfigurationError)
        assert "cannot be asked for a window" in str(error) and server.stats().requests == 0


@pytest.mark.parametrize("options", [{"resume": "x"}, {"max_reject_ratio": 7}, {"colour": "red"}])
def test_options_must_be_parameters_of_sync_velocity_for_any_window(options: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError, match=next(iter(options))):
        check_options(options)


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
        assert [(window.warehouse, window.published) for window in report.windows] == [("WH-02", True)]
        assert {page.warehouse for page in server.stats().pages} == {"WH-02"}
        truth = server.ground_truth(None, day(4), day(5))
    assert published(sqlite_url) == (truth.valid, truth.units, 2)

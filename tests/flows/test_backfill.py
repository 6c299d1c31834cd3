"""Every missing window is read once, whatever becomes of the others; what is published is not read again."""

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
from prefect.flow_engine import run_flow
from prefect.states import AwaitingRetry

from blocks.shared_pace import create_shared_limit
from flows.backfill import backfill, check_options
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


def asked(*numbers: int) -> set[str]:
    """The windows of these days of March, as the simulator tells them."""
    return {f"{day(n).isoformat()}/{day(n + 1).isoformat()}" for n in numbers}


@pytest.fixture
def acme(tmp_path: Path) -> Iterator[tuple[Server, str]]:
    """A simulated WMS that can be asked for windows: a week of March of about 143 records a day."""
    with wms(tmp_path) as (server, _):
        yield server, spec_file(server, tmp_path, **WINDOWED)


def fail_the_first_second_page(server: Server) -> None:
    """Have the first window that is read fail at its second chunk, once."""
    server.play(replace(server.simulator.scenario, faults=(Fault("401", 99, times=1),)))


def fill(source: str, store: str, **parameters: Any) -> Any:
    """Backfill the first days of March, day by day; give the state and what it ended with."""
    request = {"warehouses": ["WH-01"], "token_env": "WMS_TOKEN", "window_hours": 24, "options": ALL_VALID}
    request |= {"start": day(1), "end": day(5)} | parameters

    async def run() -> Any:
        state = await backfill(source=source, store=store, **request, return_state=True)
        return state, await state.aresult(raise_on_failure=False)

    return asyncio.run(run())


def test_a_failing_window_is_left_and_a_second_backfill_reads_the_rest_of_it_alone(
    acme: tuple[Server, str], store_url: str
) -> None:
    server, source = acme
    sync(source, store_url, start=day(2), end=day(3), **ALL_VALID)
    fail_the_first_second_page(server)
    server.reset_stats()
    state, report = fill(source, store_url)
    assert [window.published for window in report.windows] == [False, True, True]
    assert state.name == "Incomplete" and "1 left" in state.message and "WH-01 2026-03-01" in state.message
    assert server.stats().windows.keys() == asked(1, 3, 4)
    server.reset_stats()
    state, report = fill(source, store_url)
    assert state.name == "Complete" and len(report.windows) == 1
    assert server.stats().windows.keys() == asked(1)
    assert max(page.limit for page in server.stats().pages) == 40  # the second chunk, and not the first
    truth = server.ground_truth("WH-01", day(1), day(5))
    assert published(store_url) == (truth.valid, truth.units, 4)


def test_where_nothing_is_missing_nothing_is_asked(acme: tuple[Server, str], sqlite_url: str) -> None:
    server, source = acme
    sync(source, sqlite_url, start=day(1), end=day(5), **ALL_VALID)
    server.reset_stats()
    state, report = fill(source, sqlite_url)
    assert (state.name, report.windows, server.stats().requests) == ("Complete", [], 0)


def test_warehouses_are_read_newest_first_and_several_at_once_where_they_share_a_pace(
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


def test_a_wrong_setting_ends_it_at_once(
    acme: tuple[Server, str], sqlite_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    server, source = acme
    monkeypatch.setenv("WMS_TOKEN", "another")
    state, error = fill(source, sqlite_url)
    assert state.is_failed() and isinstance(error, SourceAuthError) and server.stats().requests == 1


def test_a_source_that_knows_no_windows_is_refused_before_anything_is_read(
    tmp_path: Path, sqlite_url: str
) -> None:
    with wms(tmp_path) as (server, source):
        state, error = fill(source, sqlite_url)
        assert state.is_failed() and isinstance(error, ConfigurationError)
        assert "cannot be asked for a window" in str(error) and server.stats().requests == 0


@pytest.mark.parametrize("options", [{"resume": "x"}, {"max_reject_ratio": 7}, {"colour": "red"}])
def test_options_are_those_that_sync_velocity_takes_for_any_window(options: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError, match=next(iter(options))):
        check_options(options)


async def press_retry(run: UUID) -> Any:
    """What a worker does with a flow run once somebody has pressed Retry; give what it ended with."""
    async with get_client() as client:
        await client.set_flow_run_state(run, AwaitingRetry(), force=True)
        state = await run_flow(backfill, flow_run=await client.read_flow_run(run), return_type="state")
    return await state.aresult(raise_on_failure=False)


def test_a_retry_of_its_run_reads_what_is_left_and_nothing_else(tmp_path: Path, sqlite_url: str) -> None:
    """The window that is left is the second one, and Prefect counts a retry's subflows from the first."""
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

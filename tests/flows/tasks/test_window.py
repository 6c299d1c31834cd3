"""A run chooses its window by its scheduled start, so that a later rerun reads the same window."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import UUID

import pytest
from flows.tasks.window import choose_window
from prefect.client.orchestration import get_client
from prefect.states import AwaitingRetry

from simulator.faults import Fault
from sku_velocity.errors import ConfigurationError, SourceAuthError
from sku_velocity.model.run import run_id_of
from sku_velocity.model.window import Window
from sku_velocity.source.spec import parse_spec
from tests.support.acme import spec_file, wms
from tests.support.scheduled_runs import execute, schedule

PLAIN = parse_spec({"name": "acme", "base_url": "https://wms.example.com"}, "test")
WINDOWED = PLAIN.model_validate(
    {"name": "acme", "base_url": "https://wms.example.com", "window": {"params": {"start": "from"}}}
)
SETTLE = timedelta(minutes=10)


def at(hour: int, minute: int = 0) -> datetime:
    return datetime(2026, 3, 1, hour, minute, tzinfo=UTC)


@pytest.mark.parametrize(
    ("scheduled", "end"), [("2026-03-01T08:20:00+00:00", 8), ("2026-03-01T08:09:59+00:00", 7)]
)
def test_the_default_is_the_last_hour_settled_at_the_scheduled_start(
    scheduled: str, end: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    due = datetime.fromisoformat(scheduled)
    monkeypatch.setattr("prefect.runtime.flow_run.scheduled_start_time", due, raising=False)
    assert choose_window(WINDOWED, None, None, SETTLE) == Window(at(end - 1), at(end))


def test_only_an_end_means_the_hour_before_it() -> None:
    assert choose_window(WINDOWED, None, at(5), SETTLE) == Window(at(4), at(5))


def test_a_source_without_windows_is_read_whole_unless_bounds_are_given() -> None:
    assert choose_window(PLAIN, None, None, SETTLE).is_everything
    assert choose_window(PLAIN, at(1), at(2), SETTLE) == Window(at(1), at(2))


def test_an_end_before_the_start_is_a_wrong_setting() -> None:
    with pytest.raises(ConfigurationError, match="after its start"):
        choose_window(PLAIN, at(2), at(1), SETTLE)


async def press_retry(run: UUID) -> None:
    async with get_client() as client:
        await client.set_flow_run_state(run, AwaitingRetry(), force=True)


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

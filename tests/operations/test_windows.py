"""Windows of any length, in any zone, hold each movement once."""

from __future__ import annotations

import asyncio
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from sku_velocity.cli.executor import Executor
from sku_velocity.model.status import WarehouseStatus
from sku_velocity.model.window_grid import WindowGrid
from sku_velocity.store import Store
from tests.support.acme import published, spec_file, wms
from tests.support.days import WINDOWED, day
from tests.support.late_source import serve_late
from tests.support.operations import backfill, recheck, sync
from tests.support.store_rows import hour

pytestmark = pytest.mark.usefixtures("token")

NEW_YORK = "America/New_York"  # its clock is set forward on 8 March
CHANGE = {"start": datetime.fromisoformat("2026-03-06T00:00:00+00:00"), "period": timedelta(days=5)}


def status_of(store: str) -> WarehouseStatus:
    async def read() -> list[WarehouseStatus]:
        async with Store.open(store) as opened:
            return await opened.status.of_warehouses()

    [status] = asyncio.run(read())
    return status


def hours_of(status: WarehouseStatus) -> list[float]:
    return [(each.window.end - each.window.start) / timedelta(hours=1) for each in status.coverage.published]


@pytest.mark.parametrize(
    ("minutes", "zone", "hours"),
    [
        (1440, NEW_YORK, [5, 24, 24, 23, 24, 20]),  # from 00:00 to 00:00 in UTC
        (2880, None, [48, 48, 24]),
        (10_080, NEW_YORK, [76, 44]),  # Monday began at 04:00
    ],
)
def test_a_backfill_of_local_days_and_weeks_reads_each_movement_once(
    minutes: int,
    zone: str | None,
    hours: list[float],
    executor: Executor,
    tmp_path: Path,
    store_url: str,
) -> None:
    with wms(tmp_path, **CHANGE) as (server, _):
        source = spec_file(server, tmp_path, **WINDOWED)
        span = {"start": day(6), "end": day(11), "window_minutes": minutes, "window_zone": zone}
        outcome, report = backfill(executor, source, store_url, **span)
        truth = server.ground_truth("WH-01")
    assert outcome.name == "Complete" and len(report.runs) == len(hours)
    assert published(store_url) == (truth.valid, truth.units, len(hours))
    status = status_of(store_url)
    assert hours_of(status) == hours and status.grid == WindowGrid.of(minutes, zone or "UTC")


def test_gaps_between_windows_of_other_lengths_are_filled_without_reading_those_again(
    executor: Executor, tmp_path: Path, sqlite_url: str
) -> None:
    with wms(tmp_path) as (server, _):
        source = spec_file(server, tmp_path, **WINDOWED)
        known = {"start": day(2) + timedelta(hours=7), "end": day(2) + timedelta(hours=9, minutes=20)}
        sync(executor, source, sqlite_url, **known, max_reject_ratio=1)
        span: dict[str, Any] = {"start": day(1), "end": day(4), "window_minutes": 720}
        outcome, _ = backfill(executor, source, sqlite_url, **span, window_zone="Europe/Berlin")
        truth = server.ground_truth("WH-01", day(1), day(4))
    assert outcome.name == "Complete" and published(sqlite_url)[:2] == (truth.valid, truth.units)
    assert hours_of(status_of(sqlite_url)) == pytest.approx([11, 12, 8, 2 + 1 / 3, 1 + 2 / 3, 12, 12, 12, 1])


def test_days_of_which_only_hours_were_read_are_read_whole_once_the_grain_is_known(
    executor: Executor, tmp_path: Path, sqlite_url: str
) -> None:
    with wms(tmp_path) as (server, _):
        source = spec_file(server, tmp_path, **WINDOWED)
        for first, last in ((0, 26), (28, 48)):
            bounds = {"start": day(1) + timedelta(hours=first), "end": day(1) + timedelta(hours=last)}
            sync(executor, source, sqlite_url, **bounds, max_reject_ratio=1)
        spec_file(server, tmp_path, window=WINDOWED["window"] | {"grain": "day"})
        outcome, report = backfill(executor, source, sqlite_url, end=day(4))
        truth = server.ground_truth("WH-01", day(1), day(4))
    assert [(each.start, each.end) for each in report.runs] == [(day(2), day(3)), (day(3), day(4))]
    assert outcome.name == "Complete" and published(sqlite_url)[:2] == (truth.valid, truth.units)


def test_a_window_that_is_rechecked_keeps_its_length_and_zone(
    executor: Executor, tmp_path: Path, sqlite_url: str
) -> None:
    with serve_late() as served:
        served.fill(0, 6, 12)
        source = served.write_spec(tmp_path)
        windows: dict[str, Any] = {"window_minutes": 360, "window_zone": "Asia/Kolkata"}
        sync(executor, source, sqlite_url, start=hour(0.5), end=hour(6.5), **windows)
        served.add(hour(1))
        _, report = recheck(executor, source, sqlite_url)
    assert [each.added for each in report.windows] == [1]
    assert status_of(sqlite_url).grid == WindowGrid.of(360, "Asia/Kolkata")

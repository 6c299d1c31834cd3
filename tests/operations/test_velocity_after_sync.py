"""Velocity as a part of a sync: refreshed after a window is published, and sent to the engine."""

from __future__ import annotations

import asyncio
from datetime import UTC, date, datetime
from pathlib import Path

import pytest

from simulator.faults import Fault
from sku_velocity.cli.executor import Executor
from sku_velocity.errors import ConfigurationError
from sku_velocity.steps.velocity import last_day
from tests.support.acme import WHOLE, published, wms
from tests.support.engine import ENGINE_TOKEN, both
from tests.support.operations import sync
from tests.support.published_store import table

pytestmark = pytest.mark.usefixtures("token", "reports_below_tmp_path")
CLASSES = "SELECT as_of, count(*), sum(lines_91) FROM current_velocity GROUP BY as_of"


@pytest.fixture
def reports_below_tmp_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SKU_VELOCITY_ENGINE_TOKEN", ENGINE_TOKEN)


def test_velocity_is_refreshed_after_publishing_if_a_zone_is_given(
    executor: Executor, tmp_path: Path, store_url: str
) -> None:
    with wms(tmp_path) as (server, source):
        outcome, report = sync(executor, source, store_url, **WHOLE, velocity_zone="UTC")
        truth = server.ground_truth("WH-01")
    assert outcome.name == "Complete" and report.is_delivered
    skus = len({movement[1] for movement in truth.movements})
    assert [(str(day), *rest) for day, *rest in asyncio.run(table(store_url, CLASSES))] == [
        ("2026-03-07", skus, truth.valid)
    ]
    assert (tmp_path / "reports/velocity.acme.WH-01.html").is_file()


def test_the_engine_is_sent_the_classes_only_once(
    executor: Executor, tmp_path: Path, sqlite_url: str
) -> None:
    with both(tmp_path) as (_, engine, request):
        report = sync(executor, store=sqlite_url, **request, velocity_zone="UTC")[1]
        sent = engine.simulator.classes.accepted.copy()
        sync(executor, store=sqlite_url, **request, velocity_zone="UTC", resume=report.run_id)
        again = engine.simulator.classes.accepted
    assert len(sent) == asyncio.run(table(sqlite_url, CLASSES))[0][1] and again == sent


def test_a_failed_refresh_is_reported_and_the_window_stays_published(
    executor: Executor, tmp_path: Path, sqlite_url: str
) -> None:
    (tmp_path / "reports").write_text("a file where a directory should be")
    with wms(tmp_path) as (server, source):
        outcome, report = sync(executor, source, sqlite_url, **WHOLE, velocity_zone="UTC")
        truth = server.ground_truth("WH-01")
    assert (outcome.name, outcome.is_failed) == ("NotRefreshed", True) and not report.is_delivered
    assert "reports" in report.refresh_error and published(sqlite_url) == (truth.valid, truth.units, 1)


def test_an_unknown_zone_is_reported_before_anything_is_read(
    executor: Executor, tmp_path: Path, sqlite_url: str
) -> None:
    with wms(tmp_path) as (server, source):
        with pytest.raises(ConfigurationError, match="Mars/Olympus"):
            sync(executor, source, sqlite_url, **WHOLE, velocity_zone="Mars/Olympus")
        assert server.stats().requests == 0


def test_velocity_of_an_unpublished_window_is_not_refreshed(
    executor: Executor, tmp_path: Path, sqlite_url: str
) -> None:
    with wms(tmp_path, faults=(Fault("401", 299),)) as (_, source):
        assert sync(executor, source, sqlite_url, **WHOLE, velocity_zone="UTC")[0].name == "Incomplete"
    assert asyncio.run(table(sqlite_url, CLASSES)) == []


@pytest.mark.parametrize(
    ("end", "zone", "day"),
    [
        (datetime(2026, 3, 8, 0, tzinfo=UTC), "UTC", date(2026, 3, 7)),
        (datetime(2026, 3, 8, 1, tzinfo=UTC), "UTC", date(2026, 3, 7)),
        (datetime(2026, 3, 7, 23, tzinfo=UTC), "UTC", date(2026, 3, 6)),
        (datetime(2026, 3, 7, 23, tzinfo=UTC), "Europe/Berlin", date(2026, 3, 7)),
    ],
)
def test_the_day_is_the_last_full_one_in_the_warehouses_time_zone(
    end: datetime, zone: str, day: date
) -> None:
    assert last_day(end, zone) == day

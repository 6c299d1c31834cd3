"""Every missing window is read once, even if others fail. Published windows are not read again."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from simulator.faults import Fault
from simulator.server import Server
from sku_velocity.cli.executor import Executor
from sku_velocity.errors import ConfigurationError, SourceAuthError
from sku_velocity.steps.requests import BackfillRequest
from tests.support.acme import published, spec_file, wms
from tests.support.days import WINDOWED, day, windows_of
from tests.support.operations import Ended, backfill, sync

pytestmark = pytest.mark.usefixtures("token")


@pytest.fixture
def acme(tmp_path: Path) -> Iterator[tuple[Server, str]]:
    with wms(tmp_path) as (server, _):
        yield server, spec_file(server, tmp_path, **WINDOWED)


def fail_the_first_second_page(server: Server) -> None:
    """Make the first window that is read fail once, at its second chunk."""
    server.play(replace(server.simulator.scenario, faults=(Fault("401", 99, times=1),)))


def fill(executor: Executor, source: str, store: str, **parameters: Any) -> Ended:
    """Backfill the first days of March, day by day."""
    days = {"window_minutes": 1440, "start": day(1), "end": day(5)}
    return backfill(executor, source, store, **days | parameters)


def test_a_failed_window_is_left_and_a_second_backfill_reads_only_the_rest_of_it(
    executor: Executor, acme: tuple[Server, str], store_url: str
) -> None:
    server, source = acme
    sync(executor, source, store_url, start=day(2), end=day(3), max_reject_ratio=1)
    fail_the_first_second_page(server)
    server.reset_stats()
    outcome, report = fill(executor, source, store_url)
    assert [window.published for window in report.runs] == [False, True, True]
    assert (
        outcome.name == "Incomplete" and "1 left" in outcome.message and "WH-01 2026-03-01" in outcome.message
    )
    assert server.stats().windows.keys() == windows_of(1, 3, 4)
    server.reset_stats()
    outcome, report = fill(executor, source, store_url)
    assert outcome.name == "Complete" and len(report.runs) == 1
    assert server.stats().windows.keys() == windows_of(1)
    start_of_the_second = 99  # with the record before it; the final check starts at the last record
    assert all(page.offset >= start_of_the_second for page in server.stats().pages if page.limit > 20)
    truth = server.ground_truth("WH-01", day(1), day(5))
    assert published(store_url) == (truth.valid, truth.units, 4)


def test_no_request_is_sent_if_nothing_is_missing(
    executor: Executor, acme: tuple[Server, str], sqlite_url: str
) -> None:
    server, source = acme
    sync(executor, source, sqlite_url, start=day(1), end=day(5), max_reject_ratio=1)
    server.reset_stats()
    outcome, report = fill(executor, source, sqlite_url)
    assert (outcome.name, report.runs, server.stats().requests) == ("Complete", [], 0)


def test_a_wrong_setting_ends_the_backfill_at_once(
    executor: Executor, acme: tuple[Server, str], sqlite_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    server, source = acme
    monkeypatch.setenv("WMS_TOKEN", "another")
    with pytest.raises(SourceAuthError):
        fill(executor, source, sqlite_url)
    assert server.stats().requests == 1


def test_a_source_without_windows_is_refused_before_anything_is_read(
    executor: Executor, tmp_path: Path, sqlite_url: str
) -> None:
    with wms(tmp_path) as (server, source):
        with pytest.raises(ConfigurationError, match="cannot be asked for a window"):
            fill(executor, source, sqlite_url)
        assert server.stats().requests == 0


def test_warehouses_are_read_newest_first(executor: Executor, tmp_path: Path, sqlite_url: str) -> None:
    with wms(tmp_path, warehouses=("WH-01", "WH-02")) as (server, _):
        source = spec_file(server, tmp_path, **WINDOWED)
        both = {"warehouses": ["WH-02", "WH-01"], "newest_first": True, "start": day(3)}
        outcome, report = fill(executor, source, sqlite_url, **both)
        truth = server.ground_truth(None, day(3), day(5))
    read = [(window.warehouse, window.start.day) for window in report.runs]
    assert outcome.name == "Complete" and read == [("WH-01", 4), ("WH-02", 4), ("WH-01", 3), ("WH-02", 3)]
    assert published(sqlite_url) == (truth.valid, truth.units, 4)


def test_windows_in_one_process_share_its_pace_and_are_read_in_parallel(
    acme: tuple[Server, str], sqlite_url: str
) -> None:
    server, source = acme
    outcome, _ = fill(Executor(), source, sqlite_url, max_parallel=3)
    truth = server.ground_truth("WH-01", day(1), day(5))
    assert outcome.name == "Complete" and published(sqlite_url) == (truth.valid, truth.units, 4)


@pytest.mark.parametrize("wrong", [{"resume": "x"}, {"max_reject_ratio": 7}, {"colour": "red"}])
def test_the_parameters_are_those_of_a_sync_of_any_window(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError, match=next(iter(wrong))):
        BackfillRequest(source="acme.yaml", warehouses=["WH-01"], **wrong)

"""A window is exported after it is published; a failed export is visible, and nothing is read again."""

from __future__ import annotations

from pathlib import Path

import pyarrow.parquet as pq
import pytest

from sku_velocity.cli.executor import Executor
from sku_velocity.errors import ConfigurationError
from tests.support.acme import WHOLE, published, wms
from tests.support.operations import sync

pytestmark = pytest.mark.usefixtures("token")


def test_a_published_window_is_exported(executor: Executor, tmp_path: Path, store_url: str) -> None:
    with wms(tmp_path) as (server, source):
        outcome, report = sync(executor, source, store_url, **WHOLE, export_to=str(tmp_path / "out"))
        truth = server.ground_truth("WH-01")
    assert (outcome.name, report.exported) == ("Complete", "source=acme/warehouse=WH-01")
    table = pq.read_table(tmp_path / "out" / report.exported)
    assert sorted(set(table["date"].to_pylist())) == [f"2026-03-0{n}" for n in range(1, 8)]
    assert (table.num_rows, sum(table["units_moved"].to_pylist())) == (truth.valid, truth.units)


def test_an_unpublished_window_is_not_exported(executor: Executor, tmp_path: Path, sqlite_url: str) -> None:
    with wms(tmp_path) as (_, source):
        outcome, report = sync(
            executor, source, sqlite_url, **WHOLE, export_to=str(tmp_path / "out"), max_reject_ratio=0
        )
    assert outcome.name == "Incomplete" and report.exported is None and not (tmp_path / "out").exists()


def test_a_failed_export_fails_the_run_and_a_retry_only_exports(
    executor: Executor, tmp_path: Path, sqlite_url: str
) -> None:
    obstacle = tmp_path / "out" / "source=acme"
    obstacle.parent.mkdir()
    obstacle.touch()  # a file instead of a directory
    with wms(tmp_path) as (server, source):
        outcome, report = sync(executor, source, sqlite_url, **WHOLE, export_to=str(tmp_path / "out"))
        assert (outcome.name, outcome.is_failed, report.published) == ("NotExported", True, True)
        assert "Retry repeats only the export" in outcome.message and "check export_to" in outcome.message
        assert published(sqlite_url)[0] == server.ground_truth("WH-01").valid
        obstacle.unlink()
        server.reset_stats()
        run = report.run_id
        outcome, report = sync(
            executor, source, sqlite_url, **WHOLE, resume=run, export_to=str(tmp_path / "out")
        )
        assert server.stats().requests == 0
    assert outcome.name == "Complete" and (tmp_path / "out" / report.exported).exists()


def test_a_wrong_destination_is_reported_before_anything_is_read(
    executor: Executor, tmp_path: Path, sqlite_url: str
) -> None:
    with wms(tmp_path) as (server, source):
        with pytest.raises(ConfigurationError, match="nowhere://bucket"):
            sync(executor, source, sqlite_url, **WHOLE, export_to="nowhere://bucket")
        assert server.stats().requests == 0

"""A window is exported after it is published; a failed export is visible, and nothing is read again."""

from __future__ import annotations

from pathlib import Path

import pyarrow.parquet as pq
import pytest

from flows.__main__ import main
from sku_velocity.errors import ConfigurationError
from tests.support.acme import WHOLE, published, wms
from tests.support.acme_flow import sync

pytestmark = pytest.mark.usefixtures("prefect_server", "token")


def test_a_published_window_is_exported(tmp_path: Path, store_url: str) -> None:
    with wms(tmp_path) as (server, source):
        state, report = sync(source, store_url, **WHOLE, export_to=str(tmp_path / "out"))
        truth = server.ground_truth("WH-01")
    assert (state.name, report.exported) == (
        "Complete",
        "acme.WH-01.20260301T000000Z-20260308T000000Z.parquet",
    )
    table = pq.read_table(tmp_path / "out" / report.exported)
    assert (table.num_rows, sum(table["units_moved"].to_pylist())) == (truth.valid, truth.units)


def test_an_unpublished_window_is_not_exported(tmp_path: Path, sqlite_url: str) -> None:
    with wms(tmp_path) as (_, source):
        state, report = sync(source, sqlite_url, **WHOLE, export_to=str(tmp_path / "out"), max_reject_ratio=0)
    assert state.name == "Incomplete" and report.exported is None and not (tmp_path / "out").exists()


def test_a_failed_export_fails_the_run_and_a_retry_only_exports(tmp_path: Path, sqlite_url: str) -> None:
    (tmp_path / "out").touch()  # a file instead of a directory
    with wms(tmp_path) as (server, source):
        state, report = sync(source, sqlite_url, **WHOLE, export_to=str(tmp_path / "out"))
        assert (state.name, state.is_failed(), report.published) == ("NotExported", True, True)
        assert "Retry repeats only the export" in state.message and "check export_to" in state.message
        assert published(sqlite_url)[0] == server.ground_truth("WH-01").valid
        (tmp_path / "out").unlink()
        server.reset_stats()
        run = report.run_id
        state, report = sync(source, sqlite_url, **WHOLE, resume=run, export_to=str(tmp_path / "out"))
        assert server.stats().requests == 0
    assert state.name == "Complete" and (tmp_path / "out" / report.exported).exists()


def test_a_wrong_destination_is_reported_before_anything_is_read(tmp_path: Path, sqlite_url: str) -> None:
    with wms(tmp_path) as (server, source):
        state, error = sync(source, sqlite_url, **WHOLE, export_to="nowhere://bucket")
        assert server.stats().requests == 0
    assert state.is_failed() and isinstance(error, ConfigurationError)


def test_the_command_exports_and_prints_what_failed(
    tmp_path: Path, sqlite_url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with wms(tmp_path) as (_, source):
        words = ["sync", "--source", source, "--warehouse", "WH-01", "--token-env", "WMS_TOKEN"]
        words += ["--store", sqlite_url, "--task-retries", "0", "--export-to"]
        assert main([*words, str(tmp_path / "out")]) == 0
        assert "exported: acme.WH-01.everything.parquet" in capsys.readouterr().out
        assert main([*words, source]) == 1  # a file
        assert "NOT exported: " in capsys.readouterr().out
        assert main([*words, "s3://me:hunter2@bucket"]) == 2
        error = capsys.readouterr().err
    assert "carries credentials" in error and "hunter2" not in error

"""What the commands print of exports, pushes and replays."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from simulator.faults import Fault
from sku_velocity.cli.executor import Executor
from sku_velocity.model.run import RunReport
from tests.support.acme import WHOLE, wms
from tests.support.commands import run
from tests.support.engine import ENGINE_TOKEN, both
from tests.support.fixed_spec import fix_spec
from tests.support.operations import sync

pytestmark = pytest.mark.usefixtures("token")


def test_the_command_exports_and_prints_what_failed(
    executor: Executor, tmp_path: Path, sqlite_url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with wms(tmp_path) as (_, source):
        words = ["sync", "--source", source, "--warehouse", "WH-01", "--token-env", "WMS_TOKEN"]
        words += ["--store", sqlite_url, "--task-retries", "0", "--export-to"]
        assert run(*words, str(tmp_path / "out")) == 0
        assert "exported: source=acme/warehouse=WH-01" in capsys.readouterr().out
        assert run(*words, source) == 2  # a file
        assert "is a file: write a directory" in capsys.readouterr().err
        assert run(*words, f"{source}/below") == 1
        assert "NOT exported: " in capsys.readouterr().out
        assert run(*words, "s3://me:hunter2@bucket") == 2
        error = capsys.readouterr().err
    assert "carries credentials" in error and "hunter2" not in error


def test_the_command_exits_with_1_if_the_push_failed(
    tmp_path: Path,
    sqlite_url: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("SKU_VELOCITY_ENGINE_TOKEN", ENGINE_TOKEN)
    with both(tmp_path, faults=(Fault("401", 1), Fault("401", 3))) as (_, engine, request):
        words = ["sync", "--source", request["source"], "--warehouse", "WH-01", "--token-env", "WMS_TOKEN"]
        words += ["--store", sqlite_url, "--push", request["push"], "--start", WHOLE["start"]]
        words += ["--end", WHOLE["end"]]
        assert run(*words, "--json") == 1
        report = RunReport.model_validate_json(capsys.readouterr().out.splitlines()[-1])
        assert report.published and not report.is_delivered
        engine.clear()
        assert run(*words, "--resume", report.run_id) == 0
    assert "pushed to slots: accepted 980, rejected 0" in capsys.readouterr().out


def test_the_command_prints_what_stays_open_and_why(
    tmp_path: Path, sqlite_url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with wms(tmp_path) as (server, source):
        sync(Executor(), source, sqlite_url, **WHOLE)
        source, more = fix_spec(server, tmp_path)
    words = ["replay", "--source", source, "--store", sqlite_url, "--by", "jane"]
    assert run(*words) == 0
    output = capsys.readouterr().out
    assert f"{more} loaded ({more} of them published)" in output and "stay open in WH-01" in output
    assert run(*words, "--json") == 0
    report = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert report["source"] == "acme" and report["runs"][0]["loaded"] == 0

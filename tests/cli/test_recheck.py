"""The command `recheck`, and what `status` says of it, with Prefect and without."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from sku_velocity.cli.executor import Executor
from tests.cli.conftest import Command
from tests.support.late_source import published, serve_late
from tests.support.operations import sync
from tests.support.store_rows import hour

pytestmark = pytest.mark.usefixtures("token")


def test_it_prints_what_was_revised_and_how_late_rows_came(
    command: Command, tmp_path: Path, sqlite_url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with serve_late() as served:
        served.fill(0, 1, 10)
        source = served.write_spec(tmp_path)
        sync(Executor(), source, sqlite_url, start=hour(0), end=hour(1))
        words = ["recheck", "--source", source, "--store", sqlite_url]
        assert command(*words) == 0
        assert "1 windows compared, 0 revised" in capsys.readouterr().out
        served.add(hour(0.5))
        assert command(*words) == 0
        lines = capsys.readouterr().out.splitlines()
        assert lines[0].startswith("WH-01 2026-03-01T00:00:00Z/2026-03-01T01:00:00Z: 11 movements published")
        assert lines[0].endswith("(11 records, 10 before)")
        assert lines[1].startswith("late rows, after the end of their window: p50 ")
        assert "1 revised: rows 1 added, 0 changed, 0 removed" in lines[2]
        assert command(*words, "--full", "--json") == 0
        report = json.loads(capsys.readouterr().out.splitlines()[-1])
        assert (report["compared"], report["windows"], report["lateness"]) == (1, [], None)
        assert published(sqlite_url) == served.content
    assert command("status", "--store", sqlite_url, "--json") == 0
    [entry] = json.loads(capsys.readouterr().out)["warehouses"]
    assert entry["rechecked_at"] and entry["revisions"] == {
        "windows": 1,
        "added": 1,
        "changed": 0,
        "removed": 0,
    }
    assert command("status", "--store", sqlite_url) == 0
    assert "1 revisions so far: rows 1 added" in capsys.readouterr().out


def test_its_exit_code_is_1_if_a_window_is_held_and_2_for_bad_usage(
    tmp_path: Path, command: Command, sqlite_url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with serve_late() as served:
        served.fill(0, 1, 10)
        source = served.write_spec(tmp_path)
        sync(Executor(), source, sqlite_url, start=hour(0), end=hour(1))
        served.records = {}
        words = ["recheck", "--source", source, "--store", sqlite_url]
        assert command(*words) == 1
        assert "the window has not shrunk" in capsys.readouterr().out
    assert command(*words, "--max-requests", "0") == 2
    assert "--max-requests" in capsys.readouterr().err


def test_a_lookback_beyond_all_dates_is_bad_usage(
    command: Command, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command("recheck", "--source", "acme.yaml", "--lookback-hours", "876001") == 2
    assert "--lookback-hours: Input should be less than or equal to 876000" in capsys.readouterr().err

"""Every command that `status` prints works when it is pasted, and leaves nothing to do."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path

import pytest

from simulator.faults import Fault
from tests.cli.conftest import Command
from tests.support.acme import spec_file, wms

pytestmark = pytest.mark.usefixtures("token")
WEEKS = ["--window-minutes", "10080"]
EIGHT_WEEKS = ["--window-minutes", "80640"]
WINDOWED = {"window": {"params": {"start": "start", "end": "end"}}}
WEEK = ["--start", "2026-03-02T00:00:00Z", "--end", "2026-03-09T00:00:00Z"]


def steps(command: Command, store: str, capsys: pytest.CaptureFixture[str]) -> list[str]:
    """Return the commands that `status` prints, without any option but the store."""
    capsys.readouterr()
    assert command("status", "--store", store) == 0
    shown = capsys.readouterr().out
    found = re.findall(r"((?:sku-velocity|python -m flows) .*)", shown)
    assert command("status", "--store", store, "--json") == 0
    [entry] = json.loads(capsys.readouterr().out.splitlines()[-1])["warehouses"]
    assert set(entry["next_steps"]) <= set(found)
    return found


def paste(command: Command, line: str) -> int:
    words = shlex.split(line)
    return command(*(words[3:] if words[0] == "python" else words[1:]))


def sync(command: Command, source: str, store: str, *more: str) -> int:
    words = ["--source", source, "--token-env", "WMS_TOKEN", "--warehouse", "WH-01", "--store", store]
    return command("sync", *words, *more)


def test_a_failed_chunk_is_resumed(
    command: Command, tmp_path: Path, sqlite_url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    broken = Fault("401", offset=39, times=1)
    with wms(tmp_path, faults=(broken,)) as (server, _):
        source = spec_file(server, tmp_path, **WINDOWED, paging={"page_size": 21})
        assert sync(command, source, sqlite_url, *WEEK, *WEEKS, "--max-reject-ratio", "1") != 0
        [line, *_] = steps(command, sqlite_url, capsys)
        assert " sync " in line and "--resume" in line and f"--source {source} --token-env WMS_TOKEN" in line
        assert paste(command, line) == 0


def test_rejects_are_listed_and_the_source_is_checked_and_read_again(
    command: Command, tmp_path: Path, sqlite_url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with wms(tmp_path) as (server, _):
        wrong = {
            "fields": {"movement_id": "movement_id", "units_moved": {"path": "units_moved", "sign": "negate"}}
        }
        source = spec_file(server, tmp_path, **WINDOWED, **wrong)
        assert sync(command, source, sqlite_url, *WEEK, *WEEKS) == 1
        letters, check, again, *_ = steps(command, sqlite_url, capsys)
        spec_file(server, tmp_path, **WINDOWED)
        assert "dead-letters list --run" in letters and " check-source " in check
        assert [paste(command, line) for line in (letters, check, again)] == [0, 0, 0]


def test_overdue_windows_and_those_of_an_older_spec_are_read(
    command: Command, tmp_path: Path, sqlite_url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with wms(tmp_path) as (server, _):
        empty = {"limits": {"empty_is_normal": True}, **WINDOWED}
        source = spec_file(server, tmp_path, **empty)
        first = ["--start", "2026-02-16T00:00:00Z", "--end", "2026-04-13T00:00:00Z"]
        assert sync(command, source, sqlite_url, *first, *EIGHT_WEEKS) == 0
        spec_file(server, tmp_path, **empty, filter=[{"path": "units_moved", "above": 0}])
        second = ["--start", "2026-04-13T00:00:00Z", "--end", "2026-06-08T00:00:00Z"]
        assert sync(command, source, sqlite_url, *second, *EIGHT_WEEKS) == 0
        older, overdue = steps(command, sqlite_url, capsys)
        assert older.endswith("--older-spec") and " backfill " in overdue
        assert [paste(command, line) for line in (older, overdue)] == [0, 0]
        assert steps(command, sqlite_url, capsys) == []


def test_an_empty_store_explains_how_to_begin(
    command: Command, sqlite_url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command("status", "--store", sqlite_url) == 0
    assert "check-source" in capsys.readouterr().out

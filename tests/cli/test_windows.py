"""A window finer than the source's timestamps is refused before reading, with a command that works."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest

from simulator.faults import Fault
from simulator.server import Server
from tests.cli.conftest import Command
from tests.support.acme import published, spec_file, wms
from tests.support.days import WINDOWED, day

pytestmark = pytest.mark.usefixtures("token")

DAYS = {"window": WINDOWED["window"] | {"grain": "day"}}
READING = ("--token-env", "WMS_TOKEN", "--warehouse", "WH-01")
HOURS = ("--start", "2026-03-02T08:00:00Z", "--end", "2026-03-02T09:00:00Z")


def advice(capsys: pytest.CaptureFixture[str]) -> list[str]:
    """Return the command that the error names, without its program."""
    error = capsys.readouterr().err.strip()
    assert "the grain of its timestamps is a day (window.grain)" in error and "\n" not in error
    program, _, command = error.partition(": run ")[2].partition("sku-velocity ")
    return shlex.split(command or program.removeprefix("python -m flows "))


def expect_whole_day(server: Server, store: str) -> None:
    truth = server.ground_truth("WH-01", day(2), day(3))
    assert published(store) == (truth.valid, truth.units, 1) and truth.valid > 100


@pytest.mark.parametrize("verb", ["sync", "backfill"])
def test_the_command_in_the_refusal_reads_the_whole_day(
    verb: str, command: Command, tmp_path: Path, sqlite_url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with wms(tmp_path) as (server, _):
        source = spec_file(server, tmp_path, **DAYS)
        words = [verb, "--source", source, "--store", sqlite_url, *READING, "--max-reject-ratio", "1"]
        assert command(*words, *HOURS, "--window-minutes", "60") == 2
        assert server.stats().requests == 0
        assert command(*advice(capsys)) == 0
        expect_whole_day(server, sqlite_url)


def test_a_check_of_a_part_of_a_day_is_refused(
    command: Command, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with wms(tmp_path) as (server, _):
        words = ["check-source", "--source", spec_file(server, tmp_path, **DAYS), *READING]
        assert command(*words, *HOURS) == 2 and server.stats().requests == 0
        assert command(*advice(capsys)) == 0
        assert "the first record of" in capsys.readouterr().out


def test_a_run_of_an_hour_is_not_resumed_once_the_grain_is_known_to_be_a_day(
    command: Command, tmp_path: Path, sqlite_url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with wms(tmp_path, faults=(Fault("401", 5, times=1),)) as (server, _):
        source = spec_file(server, tmp_path, **WINDOWED, paging={"page_size": 4})
        words = ["sync", "--source", source, "--store", sqlite_url, *READING, "--max-reject-ratio", "1"]
        span = ("--start", "2026-03-02T08:00:00Z", "--end", "2026-03-02T11:00:00Z")
        assert command(*words, *span) == 1
        run = capsys.readouterr().out.partition("\nrun ")[2].split()[0]
        spec_file(server, tmp_path, **DAYS)
        server.reset_stats()
        assert command(*words, "--resume", run) == 2 and server.stats().requests == 0
        retried = advice(capsys)
        assert "--resume" not in retried and command(*retried) == 0
        expect_whole_day(server, sqlite_url)


@pytest.mark.usefixtures("prefect_server")
def test_a_fan_out_of_parts_of_days_is_refused(
    tmp_path: Path, sqlite_url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    from flows.command_line import main

    with wms(tmp_path) as (server, _):
        source = spec_file(server, tmp_path, **DAYS)
        words = ["sync-warehouses", "--source", source, "--store", sqlite_url, *READING]
        assert main([*words, *HOURS]) == 2 and server.stats().requests == 0
        assert advice(capsys)[-4:] == ["--start", "2026-03-02T00:00:00Z", "--end", "2026-03-03T00:00:00Z"]
        assert main([*words, "--window-minutes", "60"]) == 2 and server.stats().requests == 0
        assert "--window-minutes" not in advice(capsys)


@pytest.mark.parametrize(
    ("wrong", "expected"),
    [
        (["--window-minutes", "50"], "must be a part of a day (1, 2, 3, 4, 5, 6, 8, 9, 10, 12, 15"),
        (["--window-zone", "Mars/Base"], "give an IANA name such as Europe/Berlin"),
        (["--settle-minutes", "525601"], "less than or equal to 525600"),
    ],
)
def test_a_wrong_length_zone_or_lag_is_refused_with_what_is_allowed(
    wrong: list[str], expected: str, command: Command, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command("sync", "--source", "acme.yaml", *READING, *wrong) == 2
    assert expected in capsys.readouterr().err

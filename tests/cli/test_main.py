"""The command line: its output and its exit codes."""

from __future__ import annotations

import json
import shlex
from pathlib import Path
from typing import Any

import pytest
import yaml

from simulator.faults import Fault
from sku_velocity.store.schema import known_versions
from tests.cli.conftest import Command
from tests.support.acme import WHOLE, published, spec_file, wms
from tests.support.commands import run
from tests.support.erp import wms_and_erp
from tests.support.ports import free_port
from tests.support.scripted_server import Reply, scripted

REPORTED = {
    *("verdict", "fetched", "loaded", "rejected", "trimmed", "chunks"),
    *("requests", "retried", "throttled", "seconds", "run_id", "flow_run_id"),
}

pytestmark = pytest.mark.usefixtures("token")


def sync(command: Command, source: str, store: str, *more: str, **window: str) -> int:
    options = {"--source": source, "--store": store, "--warehouse": "WH-01", "--token-env": "WMS_TOKEN"}
    bounds = {f"--{name}": value for name, value in window.items()}
    return command("sync", *(word for pair in (options | bounds).items() for word in pair), *more)


def only_line(capsys: pytest.CaptureFixture[str]) -> str:
    """Return the text on standard error, which must be one line."""
    line = capsys.readouterr().err.strip()
    assert line.startswith("error: ") and "\n" not in line
    return line


def last_line(text: str) -> Any:
    return json.loads(text.splitlines()[-1])


def test_a_published_window_exits_with_0_and_its_report(
    command: Command, tmp_path: Path, sqlite_url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with wms(tmp_path) as (_, source):
        assert sync(command, source, sqlite_url, "--json", **WHOLE) == 0
    report = last_line(capsys.readouterr().out)
    assert report.keys() >= REPORTED and (report["verdict"], report["fetched"]) == ("complete", 1000)


def test_the_report_is_readable_on_80_columns(
    tmp_path: Path, sqlite_url: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    with wms(tmp_path) as (_, source):
        assert sync(run, source, sqlite_url, **WHOLE) == 0
    shown = capsys.readouterr().out
    assert all(word in shown for word in ("fetched", "rejected", "throttled", "seconds", "passed"))


def test_without_bounds_a_source_without_window_parameters_is_read_whole(
    tmp_path: Path, sqlite_url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with wms(tmp_path) as (server, source):
        assert sync(run, source, sqlite_url, "--json") == 0
        assert published(sqlite_url)[0] == server.ground_truth("WH-01").valid
    report = last_line(capsys.readouterr().out)
    assert report["start"] is None and report["end"] is None


def test_a_failed_chunk_exits_with_1_and_resume_reads_the_rest(
    command: Command, tmp_path: Path, sqlite_url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with wms(tmp_path, faults=(Fault("401", 299),)) as (server, source):
        assert sync(command, source, sqlite_url, "--json", **WHOLE) == 1
        report = last_line(capsys.readouterr().out)
        assert report["verdict"] == "incomplete" and report["failed_chunks"] == [3]
        server.clear()
        assert sync(command, source, sqlite_url, "--resume", report["run_id"], **WHOLE) == 0


def test_an_unavailable_source_or_store_exits_with_1_and_one_line(
    command: Command, tmp_path: Path, sqlite_url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    throttled = Reply(429, headers={"Retry-After": "3600"})
    with scripted(throttled) as server:
        source = spec_file(server, tmp_path)
        assert sync(command, source, sqlite_url, "--task-retries", "0") == 1
        assert "acme: GET" in only_line(capsys) and len(server.requests) == 1
        assert sync(command, source, f"postgresql://me@127.0.0.1:{free_port()}/x", "--task-retries", "0") == 1
    assert "check that the database is up" in only_line(capsys)


def test_a_refused_window_prints_its_rejects_and_the_command_that_lists_them(
    tmp_path: Path, sqlite_url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with wms(tmp_path) as (_, source):
        assert sync(run, source, sqlite_url, "--max-reject-ratio", "0.01", **WHOLE) == 1
    *_, line = (line for line in capsys.readouterr().out.splitlines() if line.startswith("Next: "))
    words = shlex.split(line.removeprefix("Next: sku-velocity "))
    assert words[:2] == ["dead-letters", "list"] and run(*words) == 0
    assert "open dead letters in superseded or unpublished runs" in capsys.readouterr().out


def test_too_many_rejects_exit_with_1_unless_the_limit_is_raised(tmp_path: Path, sqlite_url: str) -> None:
    with wms(tmp_path) as (_, source):
        assert sync(run, source, sqlite_url, "--max-reject-ratio", "0.01", **WHOLE) == 1
        assert sync(run, source, sqlite_url, "--max-reject-ratio", "0.02", **WHOLE) == 0


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["sync", "--warehouse", "WH-01"], "--source"),
        (["sync", "--source", "wms", "--warehouse", "WH-01"], "with Prefect: python -m flows"),
        (["sync", "--source", "nowhere.yaml", "--warehouse", "WH-01"], "nowhere.yaml cannot be read"),
        (["sync", "--source", "x", "--warehouse", "WH-01", "--start", "yesterday"], "--start"),
        (
            ["sync", "--source", "x", "--warehouse", "WH-01", "--task-retries", "-1"],
            "--task-retries: Input should be greater than or equal to 0, not '-1'",
        ),
        (
            ["sync", "--source", "x", "--warehouse", "WH-01", "--max-reject-ratio", "2"],
            "--max-reject-ratio: Input should be less than or equal to 1, not '2'",
        ),
        (["synk"], "synk"),
        (["save-store", "velocity"], "save-store"),
        (["migrate", "--store", "mysql://db.example.com/x"], "mysql"),
        (["status", "--store", "velocity"], "velocity is not a URL"),
    ],
)
def test_bad_usage_exits_with_2_and_one_line(
    arguments: list[str], expected: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(*arguments) == 2
    assert expected in only_line(capsys)


@pytest.mark.parametrize(
    ("window", "expected"),
    [
        ({"start": "2026-03-02T00:00:00Z", "end": "2026-03-01T00:00:00Z"}, "after its start"),
        ({"start": "2026-03-01T00:00:00", "end": "2026-03-02T00:00:00Z"}, "timezone"),
    ],
)
def test_a_wrong_window_exits_with_2(
    tmp_path: Path, sqlite_url: str, window: dict[str, str], expected: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with wms(tmp_path) as (_, source):
        assert sync(run, source, sqlite_url, **window) == 2
    assert expected in only_line(capsys)


def test_a_refused_token_exits_with_2_and_one_line(
    command: Command,
    tmp_path: Path,
    sqlite_url: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("WMS_TOKEN", "another")
    with wms(tmp_path) as (_, source):
        assert sync(command, source, sqlite_url, **WHOLE) == 2
    line = only_line(capsys)
    assert "token: HTTP 401" in line and "another" not in line


def test_a_missing_option_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert (
        run("sync", "--source", "acme.yaml", "--store", f"sqlite:///{tmp_path}/s.db", "--resume", "abc") == 2
    )
    assert only_line(capsys) == "error: --warehouse: is missing"


@pytest.mark.parametrize(
    ("option", "instant"), [("--start", "0001-01-01T00:00:00Z"), ("--end", "9999-12-31T23:59:59Z")]
)
@pytest.mark.parametrize("command_name", ["sync", "backfill"])
def test_a_bound_beyond_all_calendars_is_a_wrong_setting(
    tmp_path: Path,
    sqlite_url: str,
    capsys: pytest.CaptureFixture[str],
    command_name: str,
    option: str,
    instant: str,
) -> None:
    with wms(tmp_path) as (_, source):
        spec = yaml.safe_load(Path(source).read_text())
    windowed = tmp_path / "windowed.yaml"
    windowed.write_text(yaml.safe_dump(spec | {"window": {"params": {"start": "from", "end": "to"}}}))
    words = ("--source", str(windowed), "--store", sqlite_url, "--warehouse", "WH-01")
    assert run(command_name, *words, option, instant, "--token-env", "WMS_TOKEN") == 2
    assert f"{option.removeprefix('--')} {instant[:10]}" in only_line(capsys)


def test_an_unknown_run_to_resume_exits_with_2(
    tmp_path: Path, sqlite_url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with wms(tmp_path) as (_, source):
        assert sync(run, source, sqlite_url, "--resume", "no-such-run", "--json") == 2
    output = capsys.readouterr()
    assert "no-such-run" in output.err and last_line(output.out)["verdict"] == "failed"


def test_a_superseded_run_that_is_resumed_exits_with_1(
    command: Command, tmp_path: Path, sqlite_url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with wms(tmp_path) as (_, source):
        words = [
            "--source",
            source,
            "--store",
            sqlite_url,
            "--warehouse",
            "WH-01",
            "--token-env",
            "WMS_TOKEN",
        ]
        assert command("sync", *words, "--json") == 0
        first = last_line(capsys.readouterr().out)["run_id"]
        assert command("sync", *words) == 0
        assert command("sync", *words, "--resume", first) == 1
    assert "A later run has superseded this one" in capsys.readouterr().out


def test_migrate_prints_the_schema_version(sqlite_url: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("migrate", "--store", sqlite_url) == 0
    assert capsys.readouterr().out == f"schema version {known_versions()[-1]}\n"


def test_the_command_syncs_a_master_and_maps_by_it(tmp_path: Path, sqlite_url: str) -> None:
    with wms_and_erp(tmp_path) as (_, acme, erp):
        common = ["--token-env", "WMS_TOKEN", "--store", sqlite_url]
        assert run("sync-master", "--source", erp, *common) == 0
        words = ["--source", acme, "--warehouse", "WH-01", "--master", "erp", *common]
        assert run("sync", *words) == 0
        assert run("sync", *words, "--unknown-sku", "guess") == 2
    assert published(sqlite_url)[0] == 300

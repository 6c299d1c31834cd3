"""The operator's commands: what `status` reports, and what `backfill` prints and exits with."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from simulator.faults import Fault
from sku_velocity.model.chunk import Chunk, Page
from sku_velocity.model.window import Window
from sku_velocity.store import Store
from tests.support import archived
from tests.support.acme import published, spec_file, wms
from tests.support.commands import run
from tests.support.store_rows import a_page, a_row, a_run, hour, hours, land_hourly, publish_hourly

WINDOWED = {"window": {"params": {"start": "start", "end": "end"}}}
DAYS = ["--start", "2026-03-01T00:00:00Z", "--end", "2026-03-03T00:00:00Z", "--window-minutes", "1440"]


def fill(url: str, build: Callable[[Store], Awaitable[Any]]) -> Any:
    """Fill a store by `build` and return its result."""

    async def work() -> Any:
        async with Store.open(url) as store:
            return await build(store)

    return asyncio.run(work())


async def build_trouble(store: Store) -> str:
    """Publish hours with a gap, one of them superseded, and begin a run that fails; return its id."""
    for window in (hours(0, 1), hours(0, 1), hours(1, 2), hours(5, 6)):
        await publish_hourly(store, window)
    run = a_run(hours(6, 7), total=2)
    await store.runs.begin(run, [Chunk(0, 0, 1, 1), Chunk(1, 1, 1, 1)])
    await store.chunks.land_page(run.id, 0, a_page(Page(0, 1), [a_row(0, hour(6))]))
    await store.chunks.fail(run.id, 1, "acme: GET /movements: HTTP 500\x1b[31m [bold]")
    await store.runs.refuse(run.id, '{"checks": []}')
    return run.id


def test_status_reports_gaps_open_runs_and_next_steps(
    store_url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    run_id = fill(store_url, build_trouble)
    assert run("status", "--store", store_url, "--json") == 0
    [entry] = json.loads(capsys.readouterr().out)["warehouses"]
    assert (entry["source"], entry["warehouse"], entry["rows"], entry["rejects"]) == ("acme", "WH-01", 3, 0)
    assert entry["gaps"] == [{"start": "2026-03-01T02:00:00Z", "end": "2026-03-01T05:00:00Z"}]
    assert [(each["run_id"], each["landed"], each["chunks"]) for each in entry["open_runs"]] == [
        (run_id, 1, 2)
    ]
    assert entry["last_run"]["verdict"] == "incomplete" and entry["complete_until"] == "2026-03-01T06:00:00Z"
    assert entry["late"] and entry["lag_seconds"] > 2 * 3600
    [step] = entry["next_steps"]
    assert "backfill --source acme.yaml --warehouse WH-01" in step and "--start 2026-03-01T02:00:00Z" in step


def test_status_is_readable_on_80_columns_and_each_command_is_on_one_line(
    sqlite_url: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    run_id = fill(sqlite_url, build_trouble)
    assert run("status", "--store", sqlite_url) == 0
    lines = capsys.readouterr().out.splitlines()
    assert "incomplete" in lines[3] and "1: 3 h" in lines[3]
    assert "  gap: 2026-03-01T02:00:00Z/2026-03-01T05:00:00Z (3 h)" in lines
    assert any(line.startswith(f"  run {run_id} of 2026-03-01T06:00:00Z") for line in lines)
    assert lines[-1].startswith("sku-velocity backfill --source acme") and lines[-2] == "  Next:"
    assert "\x1b" not in "".join(lines) and "[bold]" in "".join(lines)


def test_status_reports_the_size_of_the_store_and_what_is_archived(
    sqlite_url: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    async def build(store: Store) -> None:
        for day in range(2):
            await archived.publish(store, archived.hours(24 * day, 24 * day + 24), 24 * day + 1, 24 * day + 2)
        await archived.archive(store, sqlite_url, tmp_path / "archive", archived.hour(24))

    fill(sqlite_url, build)
    assert run("status", "--store", sqlite_url) == 0
    shown = capsys.readouterr().out
    size = (
        r"Store: \d+ KiB.* \(\w+ \d+ KiB, .*\); \d+ KiB per published day of a warehouse; it grows by 0 KiB"
    )
    assert re.search(size, shown)
    assert f"  archived: 2 rows until 2026-03-02T00:00:00Z, in {tmp_path}/archive" in shown
    assert run("status", "--store", sqlite_url, "--json") == 0
    found = json.loads(capsys.readouterr().out)
    store = found["store"]
    assert store["bytes_per_published_day"] == store["bytes"] - store["free_bytes"] > 0
    assert sum(store["bytes_by_table"].values()) <= store["bytes"] and store["growth_bytes_per_day"] == 0
    [entry] = found["warehouses"]
    until = "2026-03-02T00:00:00Z"
    assert entry["archived"] == {"rows": 2, "to": f"{tmp_path}/archive", "until": until}
    assert (entry["rows"], entry["gaps"], entry["older_spec"]) == (2, [], [])


def test_many_gaps_and_many_runs_are_summarized(sqlite_url: str, capsys: pytest.CaptureFixture[str]) -> None:
    async def build(store: Store) -> None:
        for start in range(0, 24, 2):
            await publish_hourly(store, hours(start, start + 1))
            await land_hourly(store, hours(start + 1, start + 2))

    fill(sqlite_url, build)
    assert run("status", "--store", sqlite_url) == 0
    shown = capsys.readouterr().out
    assert shown.count("  gap: ") == 5 and "and 6 earlier gaps, 6 h in total" in shown
    assert "and 9 earlier unpublished runs" in shown


def test_a_completely_read_warehouse_has_no_next_steps(
    sqlite_url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    fill(sqlite_url, lambda store: publish_hourly(store, Window.everything()))
    assert run("status", "--store", sqlite_url) == 0
    assert "Next" not in capsys.readouterr().out


def test_status_of_an_empty_store_explains_how_to_begin(
    sqlite_url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("status", "--store", sqlite_url) == 0
    assert "check-source" in capsys.readouterr().out


def test_status_of_one_source_names_it_as_the_operator_does(
    tmp_path: Path, sqlite_url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    fill(sqlite_url, build_trouble)
    with wms(tmp_path) as (_, source):
        words = ["status", "--source", source, "--token-env", "ACME", "--store", sqlite_url, "--json"]
        assert run(*words) == 0
        [entry] = json.loads(capsys.readouterr().out)["warehouses"]
        assert f"--source {source} --token-env ACME" in entry["next_steps"][0]
        assert run(*words, "--warehouse", "WH-09") == 0
    assert json.loads(capsys.readouterr().out)["warehouses"] == []


def backfill(source: str, store: str, *more: str) -> int:
    words = ["--source", source, "--store", store, "--warehouse", "WH-01", "--token-env", "WMS_TOKEN"]
    return run("backfill", *words, "--max-reject-ratio", "1", *more)


@pytest.mark.usefixtures("token")
def test_a_dry_run_lists_what_would_be_read_and_reads_nothing(
    tmp_path: Path, sqlite_url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    run_id = fill(sqlite_url, build_trouble)
    with wms(tmp_path) as (server, _):
        source = spec_file(server, tmp_path, **WINDOWED)
        assert backfill(source, sqlite_url, "--end", "2026-03-01T07:00:00Z", "--dry-run") == 0
        lines = capsys.readouterr().out.splitlines()
        assert server.stats().requests == 0
    assert lines[0] == "WH-01 2026-03-01T02:00:00Z/2026-03-01T03:00:00Z: read in full"
    assert lines[3].endswith(f"resumes run {run_id}") and lines[4] == "4 windows are missing"


@pytest.mark.usefixtures("token")
def test_backfill_exits_with_1_while_a_window_is_missing_and_with_0_once_none_is(
    tmp_path: Path, sqlite_url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with wms(tmp_path, faults=(Fault("401", 99, times=1),)) as (server, _):
        source = spec_file(server, tmp_path, **WINDOWED)
        assert backfill(source, sqlite_url, *DAYS) == 1
        lines = capsys.readouterr().out.splitlines()
        assert "1 of 2 chunks failed" in lines[0] and "movements published" in lines[1]
        assert lines[2].startswith("1 of 2 windows published, 124 movements, 1 left; the same backfill")
        assert backfill(source, sqlite_url, *DAYS, "--json") == 0
        assert len(json.loads(capsys.readouterr().out.splitlines()[-1])["runs"]) == 1
        assert published(sqlite_url)[0] == server.ground_truth("WH-01", hour(0), hour(48)).valid


@pytest.mark.usefixtures("token")
@pytest.mark.parametrize(
    ("more", "expected"),
    [
        (["--window-minutes", "0"], "--window-minutes: must be a part of a day"),
        (["--start", "2026-03-01T00:00:00"], "timezone"),
        ([], "--start"),
    ],
)
@pytest.mark.parametrize("dry_run", [["--dry-run"], []])
def test_bad_usage_exits_with_2_dry_run_or_not(
    tmp_path: Path,
    sqlite_url: str,
    more: list[str],
    dry_run: list[str],
    expected: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    with wms(tmp_path) as (server, _):
        assert backfill(spec_file(server, tmp_path, **WINDOWED), sqlite_url, *more, *dry_run) == 2
    assert expected in capsys.readouterr().err

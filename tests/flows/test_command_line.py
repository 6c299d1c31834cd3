"""`python -m flows`: the commands and settings that need Prefect."""

from __future__ import annotations

import getpass
import json
import os
import subprocess
import sys
from pathlib import Path
from pkgutil import resolve_name

import pytest
from prefect.blocks.system import Secret
from prefect.flows import Flow
from prefect.settings import PREFECT_API_URL, temporary_settings

from demo.prefect_client import prefect_client
from flows.command_line import FLOWS, as_stored, main
from sku_velocity.steps.requests import ReplayRequest
from tests.support.acme import WHOLE, published, spec_file, wms
from tests.support.checkout import CHECKOUT
from tests.support.days import WINDOWED
from tests.support.ports import free_port
from tests.support.prefect_server import PrefectServer

pytestmark = pytest.mark.usefixtures("prefect_server", "token")


def only_line(capsys: pytest.CaptureFixture[str]) -> str:
    """Return the text on standard error, which must be one line."""
    line = capsys.readouterr().err.strip()
    assert line.startswith("error: ") and "\n" not in line
    return line


def words_for(source: str, store: str) -> list[str]:
    return ["--source", source, "--store", store, "--warehouse", "WH-01", "--token-env", "WMS_TOKEN"]


def test_credentials_of_an_export_are_refused_before_prefect_stores_them(
    prefect_server: PrefectServer, tmp_path: Path, sqlite_url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with wms(tmp_path) as (_, source):
        words = [*words_for(source, sqlite_url), "--export-to", "s3://me:hunter2-of-export@bucket"]
        for name in ("sync", "backfill", "sync-warehouses"):
            assert main([name, *words]) == 2
            assert "carries credentials" in only_line(capsys)
    with prefect_client(prefect_server.api_url) as api:
        runs = api.post("/flow_runs/filter", json={"limit": 50}).raise_for_status().text
    assert "hunter2-of-export" not in runs


@pytest.mark.parametrize("place", FLOWS.values())
def test_each_flow_is_where_the_command_line_finds_it(place: str) -> None:
    assert isinstance(resolve_name(place), Flow)


def test_a_user_who_replays_is_named_by_login() -> None:
    assert as_stored(ReplayRequest(source="acme.yaml")).by == getpass.getuser()


def test_an_unavailable_prefect_api_exits_with_1_and_is_named(
    tmp_path: Path, sqlite_url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    address = f"http://127.0.0.1:{free_port()}/api"
    with wms(tmp_path) as (_, source), temporary_settings({PREFECT_API_URL: address}):
        words = words_for(source, sqlite_url)
        assert main(["sync", *words]) == 1
        assert address in only_line(capsys)
        assert main(["save-source", "away", "--spec", source, "--token-env", "WMS_TOKEN"]) == 1
    assert address in only_line(capsys)


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["sync", "--source", "nowhere", "--warehouse", "WH-01"], "no block wms-source/nowhere"),
        (["save-source", "wms", "--spec", "nowhere.yaml"], "nowhere.yaml cannot be read"),
        (["save-store", "velocity", "--url-env", "NO_SUCH"], "NO_SUCH is not set"),
        (["save-store", "No Name"], "invalid block name No Name"),
        (["sync-warehouses", "--source", "x", "--max-parallel", "0"], "--max-parallel: Input should be"),
    ],
)
def test_bad_usage_exits_with_2_and_one_line(
    arguments: list[str], expected: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments) == 2
    assert expected in only_line(capsys)


@pytest.mark.parametrize("dry_run", [["--dry-run"], []])
def test_parallel_windows_need_a_shared_pace_dry_run_or_not(
    tmp_path: Path, sqlite_url: str, dry_run: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with wms(tmp_path) as (server, _):
        source = spec_file(server, tmp_path, **WINDOWED)
        words = words_for(source, sqlite_url)
        bounds = ["--start", WHOLE["start"], "--end", WHOLE["end"], "--max-parallel", "2"]
        assert main(["backfill", *words, *bounds, *dry_run]) == 2
        assert server.stats().requests == 0
    assert "pace.shared_limit" in only_line(capsys)


def test_status_names_its_own_program(sqlite_url: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["status", "--store", sqlite_url]) == 0
    assert "python -m flows sync" in " ".join(capsys.readouterr().out.split())


def test_saved_blocks_are_found_by_name(
    tmp_path: Path, sqlite_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SKU_VELOCITY_STORE", sqlite_url)
    with wms(tmp_path) as (server, _):
        path = spec_file(server, tmp_path)
        Secret(value=os.environ["WMS_TOKEN"]).save("wms-token")
        assert main(["save-source", "saved", "--spec", path, "--token-secret", "wms-token"]) == 0
        assert main(["save-source", "saved", "--spec", path, "--token-secret", "other"]) == 2
        assert main(["save-store", "saved"]) == 0
        words = ["sync", "--source", "saved", "--store", "saved", "--warehouse", "WH-01"]
        assert main(words) == 0
        assert published(sqlite_url)[0] == server.ground_truth("WH-01").valid


def test_it_runs_without_a_configured_prefect(tmp_path: Path, sqlite_url: str) -> None:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PREFECT_")}
    environment["PREFECT_HOME"] = str(tmp_path / "prefect")
    with wms(tmp_path) as (_, source):
        words = ["sync", "--source", source, "--token-env", "WMS_TOKEN", "--warehouse", "WH-01", "--json"]
        done = subprocess.run(
            [sys.executable, "-m", "flows", *words, "--store", sqlite_url],
            cwd=CHECKOUT,
            env=environment,
            capture_output=True,
            text=True,
            timeout=240,
            check=False,
        )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout.splitlines()[-1])["published"]

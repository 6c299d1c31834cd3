"""A team without the checkout: init, a scheduled run that fails, Retry with the mouse, all rows published."""

from __future__ import annotations

import sqlite3
import subprocess
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from demo.__main__ import page_of_run
from simulator.faults import Fault
from simulator.server import Server
from tests.support.acme import TOKEN
from tests.support.operator import SYNC_VELOCITY, end_worker
from tests.support.prefect_server import PrefectServer
from tests.support.team import Team, recent_wms
from tests.support.waiting import until
from tests.support.wheel import build_wheel, install_wheel
from tests.ui.pages import PrefectUi


@pytest.fixture(scope="module")
def prefect_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PrefectServer]:
    """A server on which nothing was ever deployed."""
    server = PrefectServer.at(tmp_path_factory.mktemp("prefect"))
    with server.running():
        yield server


@pytest.fixture
def team(prefect_server: PrefectServer, tmp_path: Path) -> Iterator[Team]:
    """A team with the wheel in an environment of its own."""
    programs = install_wheel(build_wheel(tmp_path / "dist"), tmp_path / "venv")
    directory = tmp_path / "team"
    directory.mkdir()
    team = Team(prefect_server, programs / "python", directory)
    with team.api:
        yield team


@contextmanager
def worker_of(team: Team) -> Iterator[None]:
    command = [str(team.python), "-m", "prefect", "worker", "start", "--pool", "sku-velocity"]
    with (team.directory / "worker.log").open("wb") as log:
        process = subprocess.Popen(
            command,
            cwd=team.directory,
            env=team.environment,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    try:
        yield
    finally:
        end_worker(process)


def first_run(team: Team) -> str:
    """Wait until a scheduled run of the deployment has started, and return its id."""
    deployment = team.get(SYNC_VELOCITY)["id"]
    started = {"state": {"type": {"any_": ["PENDING", "RUNNING", "FAILED"]}}}
    request = {"deployments": {"id": {"any_": [deployment]}}, "flow_runs": started}
    run = until(lambda: team.post("/flow_runs/filter", request))[0]
    assert run["auto_scheduled"]
    return str(run["id"])


def turn_off_schedules(team: Team) -> None:
    deployment = team.get(SYNC_VELOCITY)
    for each in deployment["schedules"]:
        team.patch(f"/deployments/{deployment['id']}/schedules/{each['id']}", {"active": False})


def query(team: Team, sql: str) -> list[tuple[Any, ...]]:
    """Query the store by SQLite's own client: the browser's driver occupies this thread's event loop."""
    with closing(sqlite3.connect(team.directory / "velocity.db")) as connection:
        return connection.execute(sql).fetchall()


def published(team: Team) -> int:
    [(rows,)] = query(team, "SELECT count(*) FROM published_movements")
    return int(rows)


def rows_in_window(wms: Server, team: Team) -> int:
    """Return how many rows the WMS has of the only window that is published."""
    [bounds] = query(team, "SELECT range_start, range_end FROM published_windows")
    params = {"warehouse": "WH-01", "limit": 1, **dict(zip(("start", "end"), bounds, strict=True))}
    headers = {"Authorization": f"Bearer {TOKEN}"}
    total: int = httpx.get(f"{wms.url}/movements", params=params, headers=headers).json()["total"]
    return total


def test_a_team_deploys_with_init_and_retries_a_scheduled_run_by_mouse(
    team: Team, prefect_server: PrefectServer, ui: PrefectUi
) -> None:
    with recent_wms(team.directory, faults=(Fault("401", 299),)) as wms:
        yearly = ("--schedule.sync-velocity", "0 0 1 1 *")
        first = team.init_acme(*yearly)
        assert first.returncode == 0, first.stdout + first.stderr
        assert "Nothing to change." in team.init_acme(*yearly).stdout
        with worker_of(team):
            assert team.init_acme("--schedule.sync-velocity", "* * * * *").returncode == 0
            run = first_run(team)
            turn_off_schedules(team)
            ui.page.goto(page_of_run(prefect_server.api_url.removesuffix("/api"), run))
            ui.wait_for_state("Incomplete")
            assert published(team) == 0
            wms.clear()
            ui.retry()
            ui.wait_for_state("Complete")
        assert published(team) == rows_in_window(wms, team) > 500
    assert TOKEN not in (team.directory / "prefect.yaml").read_text()

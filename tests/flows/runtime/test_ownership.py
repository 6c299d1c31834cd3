"""On a shared Prefect server, every flow run that we start has our tag, and only those have it."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from prefect import flow, runtime, tags, task
from prefect.settings import PREFECT_FLOWS_HEARTBEAT_FREQUENCY

from flows.backfill import backfill
from flows.command_line import main
from flows.runtime.ownership import HEARTBEAT, TAG, our_runs
from flows.runtime.task_runner import EventLoopTaskRunner
from tests.chaos.truth import flow_runs_in
from tests.support.acme import spec_file, wms
from tests.support.prefect_api import ask
from tests.support.prefect_server import PrefectServer

pytestmark = pytest.mark.usefixtures("token")


def tags_of(server: PrefectServer, run: str) -> tuple[list[str], set[str]]:
    """Return the tags of a flow run, and those of all its task runs."""
    [found] = ask(server, "flow_runs", run)
    return found["tags"], {tag for each in ask(server, "task_runs", run) for tag in each["tags"]}


def test_the_command_line_tags_its_flow_runs_but_no_task_runs(
    prefect_server: PrefectServer, tmp_path: Path, sqlite_url: str
) -> None:
    """Prefect asks the server for a concurrency limit for each tag of each task run."""
    words = ["--warehouse", "WH-01", "--token-env", "WMS_TOKEN", "--store", sqlite_url]
    with wms(tmp_path) as (_, source):
        assert main(["sync", "--source", source, *words]) == 0
    [run] = flow_runs_in(sqlite_url)
    assert tags_of(prefect_server, run) == (["WH-01", "acme", TAG], set())


def test_a_backfill_tags_the_runs_of_its_windows(
    prefect_server: PrefectServer, tmp_path: Path, sqlite_url: str
) -> None:
    """A worker starts it: the run has the deployment's tags, but Prefect does not pass them to subflows."""
    with wms(tmp_path) as (server, _):
        source = spec_file(server, tmp_path, window={"params": {"start": "start", "end": "end"}})
        request: dict[str, Any] = {"source": source, "store": sqlite_url, "token_env": "WMS_TOKEN"}
        day = {"start": datetime(2026, 3, 1, tzinfo=UTC), "end": datetime(2026, 3, 2, tzinfo=UTC)}
        asyncio.run(backfill(warehouses=["WH-01"], window_minutes=1440, **request, **day))
    [run] = flow_runs_in(sqlite_url)
    assert tags_of(prefect_server, run) == (["WH-01", "acme", TAG], set())


@pytest.mark.usefixtures("prefect_server")
def test_a_tagged_run_sends_heartbeats_as_the_automation_expects_them() -> None:
    @flow
    async def look() -> tuple[list[str], int | None]:
        return list(runtime.flow_run.tags), PREFECT_FLOWS_HEARTBEAT_FREQUENCY.value()

    with our_runs():
        assert asyncio.run(look()) == ([TAG], HEARTBEAT)
    assert asyncio.run(look())[0] == []


@pytest.mark.usefixtures("prefect_server")
def test_a_users_own_tags_stay_on_the_task_runs() -> None:
    @task
    async def look() -> list[str]:
        return list(runtime.task_run.tags)

    @flow(task_runner=EventLoopTaskRunner())
    def submit() -> list[str]:
        return look.submit().result()

    with our_runs(), tags("mine"):
        assert submit() == ["mine"]

"""The push in Prefect: a Retry pushes only what is left, and the UI shows a summary without a token."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from prefect.client.orchestration import get_client
from prefect.client.schemas.objects import State
from prefect.states import AwaitingRetry

from flows.command_line import main
from flows.runtime.prefect_internals import run_flow_async
from flows.sync_velocity import sync_velocity
from simulator.faults import Fault
from tests.support.acme import published
from tests.support.acme_flow import sync
from tests.support.engine import ENGINE_TOKEN, both
from tests.support.prefect_api import ask
from tests.support.prefect_server import PrefectServer

REFUSING = (Fault("401", 1), Fault("401", 3))

pytestmark = pytest.mark.usefixtures("prefect_server", "token")


@pytest.fixture(autouse=True)
def engine_token(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SKU_VELOCITY_ENGINE_TOKEN", ENGINE_TOKEN)


def test_a_retry_reads_nothing_and_pushes_only_what_is_left(tmp_path: Path, sqlite_url: str) -> None:
    with both(tmp_path, faults=REFUSING) as (server, engine, request):
        report = sync(store=sqlite_url, **request)[1]
        engine.clear()
        engine.reset_stats()
        server.reset_stats()
        state = retry(report.flow_run_id)
        truth = server.ground_truth("WH-01")
        again = asyncio.run(state.aresult())
    assert state.name == "Complete" and (again.run_id, published(sqlite_url)[2]) == (report.run_id, 1)
    assert server.stats().requests == 0 and engine.stats().requests == 2
    assert engine.accepted.total() == len(engine.accepted) == truth.valid


def retry(run: str) -> State[Any]:
    """Press Retry and run the flow run as a worker does."""

    async def press_and_run() -> State[Any]:
        async with get_client() as client:
            await client.set_flow_run_state(UUID(run), AwaitingRetry(), force=True)
            flow_run = await client.read_flow_run(UUID(run))
        again: State[Any] = await run_flow_async(
            sync_velocity, flow_run=flow_run, parameters=flow_run.parameters, return_type="state"
        )
        return again

    return asyncio.run(press_and_run())


def test_a_push_has_a_summary_and_exposes_no_token(
    prefect_server: PrefectServer, tmp_path: Path, sqlite_url: str
) -> None:
    with both(tmp_path, faults=REFUSING) as (_, _, request):
        report = sync(store=sqlite_url, **request)[1]
    artifacts = ask(prefect_server, "artifacts", report.flow_run_id)
    (summary,) = [each["data"] for each in artifacts if each["key"] == "acme--wh-01--push"]
    assert "8 of 10 chunks" in summary and "HTTP 401" in summary
    logs = ask(prefect_server, "logs", report.flow_run_id, lambda found: "HTTP 401" in str(found))
    runs = ask(prefect_server, "flow_runs", report.flow_run_id)
    assert ENGINE_TOKEN not in f"{artifacts}{logs}{runs}"


def test_a_saved_engine_can_be_named_as_push_target(tmp_path: Path, sqlite_url: str) -> None:
    with both(tmp_path) as (_, engine, request):
        words = ["--spec", request["push"], "--token-env", "SKU_VELOCITY_ENGINE_TOKEN"]
        assert main(["save-engine", "slots", *words]) == 0
        state, report = sync(store=sqlite_url, **request | {"push": "slots"})
    assert state.name == "Complete" and report.push.accepted == len(engine.accepted)

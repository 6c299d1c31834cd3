"""Warehouses are read by runs of some of them each; a retry resumes only those that failed."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from flows.command_line import main
from flows.runtime.ownership import HEARTBEAT_ENVIRONMENT, TAG
from flows.sync_warehouses import sync_warehouses
from simulator.faults import Fault
from sku_velocity.errors import ConfigurationError
from tests.support.acme import WHOLE, published, spec_file, wms
from tests.support.acme_flow import sync
from tests.support.operator import Operator

SYNC_WAREHOUSES = "/deployments/name/sku-velocity-sync-warehouses/sync-warehouses"
SPAN = {"start": "2026-03-01T00:00:00Z", "end": "2026-03-03T00:00:00Z"}
PACE = {"requests_per_second": 200, "shared_limit": "fan-out-pace"}
PARTS: dict[str, Any] = {
    "window": {"params": {"start": "start", "end": "end"}},
    "warehouses": {"path": "records", "field": "code"},
    "pace": PACE,
}
THREE = ("WH-01", "WH-02", "WH-03")


def children(operator: Operator, parent: str) -> dict[str, tuple[str, int]]:
    """Return warehouses and attempts of each run that a fan-out has started, by its id."""
    query = {"flow_runs": {"parent_flow_run_id": {"any_": [parent]}}}
    found = operator.post("/flow_runs/filter", query)
    return {each["id"]: (" ".join(each["parameters"]["warehouses"]), each["run_count"]) for each in found}


@pytest.mark.usefixtures("worker")
def test_a_retry_runs_only_what_failed(operator: Operator, tmp_path: Path, sqlite_url: str) -> None:
    failing = (Fault("401", 99, warehouse="WH-02", times=1),)
    with wms(tmp_path, warehouses=THREE, faults=failing) as (server, _):
        source = spec_file(server, tmp_path, **PARTS)
        request = {"source": source, "store": sqlite_url, "token_env": "WMS_TOKEN", "max_reject_ratio": 1}
        run = operator.start_run(
            operator.get(SYNC_WAREHOUSES)["id"],
            {**request, **SPAN, "window_minutes": 1440, "max_parallel": 3, "warehouses_per_run": 2},
        )
        first = operator.wait_for_end(run, attempt=1)
        begun = children(operator, run)
        assert (first["state_type"], first["state_name"]) == ("FAILED", "Incomplete")
        assert "5 of 6 windows published" in first["state"]["message"]
        assert "WH-02 2026-03-0" in first["state"]["message"] and "WH-01" not in first["state"]["message"]
        assert "HTTP 401" in first["state"]["message"]
        assert sorted(begun.values()) == [("WH-01 WH-02", 1)] * 2 + [("WH-03", 1)] * 2
        for child in begun:
            started = operator.get(f"/flow_runs/{child}")
            assert TAG in started["tags"] and started["job_variables"] == {"env": HEARTBEAT_ENVIRONMENT}
        server.reset_stats()
        operator.press_retry(run)
        second = operator.wait_for_end(run, attempt=2)
        assert (second["state_type"], second["state_name"]) == ("COMPLETED", "Complete")
        again = children(operator, run)
        assert again.keys() == begun.keys()
        assert [place for place in again.values() if place[1] > 1] == [("WH-01 WH-02", 2)]
        assert {page.warehouse for page in server.stats().pages} - {"/warehouses"} == {"WH-02"}
        truth = server.ground_truth(None, *map(datetime.fromisoformat, SPAN.values()))
    assert published(sqlite_url) == (truth.valid, truth.units, 6)
    of_key = {"artifacts": {"key": {"any_": ["acme--runs"]}}, "sort": "CREATED_DESC"}
    [table, *_] = operator.post("/artifacts/filter", of_key)
    assert all(each in table["data"] for each in begun) and table["data"].count('"complete"') == 6


@pytest.mark.usefixtures("worker", "token")
def test_windows_that_shrank_are_published_if_the_operator_accepts_that(
    tmp_path: Path, sqlite_url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with wms(tmp_path) as (server, _):
        source = spec_file(server, tmp_path, window=PARTS["window"])
        sync(source, sqlite_url, **WHOLE)
        server.play(replace(server.simulator.scenario, records=300))
        words = ["--source", source, "--store", sqlite_url, "--token-env", "WMS_TOKEN", "--accept-shrunk"]
        words += ["--warehouse", "WH-01", "--start", WHOLE["start"], "--end", WHOLE["end"]]
        assert main(["sync-warehouses", *words, "--max-parallel", "1"]) == 0
        truth = server.ground_truth("WH-01")
    assert published(sqlite_url) == (truth.valid, truth.units, 1)
    run, summary = capsys.readouterr().out.splitlines()[-2:]
    assert run.endswith(f"Complete: 1 of 1 windows published, {truth.valid} movements.")
    assert summary.startswith(f"1 of 1 windows published, {truth.valid} movements")


def result_of(source: str, store: str, **parameters: Any) -> Any:
    """Run the flow in this process. Return its result."""

    async def run() -> Any:
        request = {"source": source, "store": store, "token_env": "WMS_TOKEN"} | parameters
        state = await sync_warehouses(**request, return_state=True)
        return await state.aresult(raise_on_failure=False)

    return asyncio.run(run())


@pytest.mark.usefixtures("prefect_server", "token")
@pytest.mark.parametrize(
    ("parts", "parameters", "message"),
    [
        ({}, {"deployment": "of-none"}, "has no deployment sku-velocity-sync-group/of-none"),
        ({"pace": {}}, {}, "set pace.shared_limit"),
        ({"warehouses": None}, {}, "does not say how its warehouses are listed"),
    ],
)
def test_a_wrong_setting_ends_the_flow_before_any_run_is_started(
    operator: Operator, tmp_path: Path, sqlite_url: str, parts: Any, parameters: Any, message: str
) -> None:
    with wms(tmp_path, warehouses=THREE) as (server, _):
        source = spec_file(server, tmp_path, **PARTS | parts)
        error = result_of(source, sqlite_url, **SPAN, **parameters)
        assert isinstance(error, ConfigurationError) and message in str(error)
        assert {page.warehouse for page in server.stats().pages} <= {"/warehouses"}


@pytest.mark.usefixtures("prefect_server", "token", "operator")
def test_the_command_prints_what_is_wrong(
    tmp_path: Path, sqlite_url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with wms(tmp_path, warehouses=THREE) as (server, _):
        source = spec_file(server, tmp_path, **PARTS | {"pace": {}})
        words = ["--source", source, "--store", sqlite_url, "--token-env", "WMS_TOKEN", "--max-parallel", "2"]
        assert main(["sync-warehouses", *words, "--start", SPAN["start"], "--end", SPAN["end"]]) == 2
    assert "set pace.shared_limit" in capsys.readouterr().err

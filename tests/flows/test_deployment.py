"""A window in operation: deployed, run by a worker, partly failed, retried from the UI."""

from __future__ import annotations

from pathlib import Path

import pytest

from flows.runtime.ownership import TAG
from simulator.faults import Fault
from tests.support.acme import WHOLE, published, spec_file, wms
from tests.support.checkout import CHECKOUT
from tests.support.operator import SYNC_VELOCITY, Operator
from tests.support.waiting import until


def test_the_deployment_matches_prefect_yaml(operator: Operator) -> None:
    deployment = operator.get(SYNC_VELOCITY)
    assert [each["schedule"]["cron"] for each in deployment["schedules"]] == ["20 * * * *"]
    assert deployment["global_concurrency_limit"]["limit"] == 1
    assert deployment["work_pool_name"] == "sku-velocity"
    assert "description" in deployment["parameter_openapi_schema"]["properties"]["warehouse"]
    assert str(CHECKOUT) not in str(deployment)


def test_no_schedule_is_active_until_a_team_turns_it_on(operator: Operator) -> None:
    schedules = [each for found in operator.post("/deployments/filter", {}) for each in found["schedules"]]
    assert schedules and not any(each["active"] for each in schedules)


def test_a_schedule_that_is_turned_on_creates_runs(operator: Operator) -> None:
    deployment = operator.get("/deployments/name/sku-velocity-refresh/refresh-velocity")
    scheduled = {
        "deployments": {"id": {"any_": [deployment["id"]]}},
        "flow_runs": {"state": {"name": {"any_": ["Scheduled"]}}},
    }
    operator.set_schedules(deployment, active=True)
    try:
        runs = until(lambda: operator.post("/flow_runs/filter", scheduled))
    finally:
        operator.set_schedules(deployment, active=False)
    assert all(run["auto_scheduled"] for run in runs)
    assert {run["expected_start_time"][11:16] for run in runs} == {"02:40"}


@pytest.mark.usefixtures("worker")
def test_retry_in_the_ui_runs_only_the_failed_chunks(
    operator: Operator, tmp_path: Path, store_file: str
) -> None:
    deployment = operator.get(SYNC_VELOCITY)["id"]
    with wms(tmp_path, faults=(Fault("401", 299), Fault("401", 699))) as (server, _):
        path = spec_file(server, tmp_path)
        operator.run("flows", "save-source", "wms", "--spec", path, "--token-env", "WMS_TOKEN")
        run = operator.start_run(deployment, {**WHOLE, "warehouse": "WH-01", "task_retries": 0})
        first = operator.wait_for_end(run, attempt=1)
        assert (first["state_type"], first["state_name"]) == ("FAILED", "Incomplete")
        assert "2 of 10 chunks failed" in first["state"]["message"] and published(store_file)[0] == 0
        assert len(operator.ingest_runs(run, attempt=1, count=10)) == 10
        named = operator.get(f"/flow_runs/{run}")
        assert named["name"] == "WH-01 2026-03-01T00:00Z +7d"
        assert {TAG, "acme", "WH-01"} <= set(named["tags"])
        server.clear()
        server.reset_stats()
        operator.press_retry(run)
        second = operator.wait_for_end(run, attempt=2)
        stats, truth = server.stats(), server.ground_truth("WH-01")
    assert (second["state_type"], second["state_name"]) == ("COMPLETED", "Complete")
    names = {each["name"] for each in operator.ingest_runs(run, attempt=2, count=2)}
    assert names == {"ingest WH-01 300-399", "ingest WH-01 700-799"}
    # 999: the final check, from the last record on
    assert {page.offset for page in stats.pages if page.limit == 101} == {299, 699, 999}
    assert published(store_file) == (truth.valid, truth.units, 1)


def test_the_triggers_on_incomplete_windows_and_rejects_exist_and_are_disabled(operator: Operator) -> None:
    found = {each["name"]: each for each in operator.post("/automations/filter", {})}
    assert {name: each["enabled"] for name, each in found.items()} == {
        "resume an incomplete window": False,
        "replay the rejects of a window": False,
    }
    (action,) = found["resume an incomplete window"]["actions"]
    assert action["parameters"]["resume"] == "{{ event.payload.run_id }}"

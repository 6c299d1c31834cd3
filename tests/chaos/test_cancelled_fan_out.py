"""Cancelling a fan-out cancels its runs. Retry resumes them, or starts a new one for each deleted run."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest

from tests.chaos.fault_log import FaultLog
from tests.chaos.truth import seen_content, true_content
from tests.support.acme import spec_file, wms
from tests.support.operator import Operator
from tests.support.waiting import until

WAREHOUSES = ("WH-01", "WH-02")
WEEK = {"start": "2026-03-01T00:00:00Z", "end": "2026-03-08T00:00:00Z"}
PACE = {"requests_per_second": 50, "shared_limit": "cancelled-fan-out"}
SLOW = {**PACE, "requests_per_second": 4}  # slow enough to be cancelled midway: Prefect polls every 20 s
PARTS: dict[str, Any] = {
    "paging": {"page_size": 9},
    "window": {"params": {"start": "start", "end": "end"}},
    "warehouses": {"path": "records", "field": "code"},
}


def runs_of(operator: Operator, parent: str) -> dict[str, dict[str, Any]]:
    """Return the flow runs that a fan-out has started, by warehouse."""
    request = {"flow_runs": {"parent_flow_run_id": {"any_": [parent]}}}
    found = operator.post("/flow_runs/filter", request)
    return {" ".join(each["parameters"]["warehouses"]): each for each in found}


@pytest.mark.long
@pytest.mark.usefixtures("worker")
def test_its_runs_are_cancelled_too_and_retry_completes_even_a_deleted_one(
    operator: Operator, tmp_path: Path, sqlite_url: str, fault_log: FaultLog
) -> None:
    with wms(tmp_path, warehouses=WAREHOUSES, records=1500) as (server, _):
        source = spec_file(server, tmp_path, **PARTS, pace=SLOW)
        request = {"source": source, "store": sqlite_url, "token_env": "WMS_TOKEN", **WEEK}
        deployment = operator.get("/deployments/name/sku-velocity-sync-warehouses/sync-warehouses")["id"]
        parent = operator.start_run(deployment, request | {"max_parallel": 2})
        until(lambda: {page.warehouse for page in server.stats().pages} >= set(WAREHOUSES))
        operator.cancel(parent)
        assert operator.wait_for_end(parent, attempt=1)["state_type"] == "CANCELLED"
        begun = runs_of(operator, parent)
        for run in begun.values():
            end = operator.wait_for_end(run["id"], attempt=1)
            assert end["state_type"] == "CANCELLED", end["state"]
        assert begun.keys() == set(WAREHOUSES) and not seen_content(sqlite_url).total()
        spec_file(server, tmp_path, **PARTS, pace=PACE)
        operator.delete(f"/flow_runs/{begun['WH-02']['id']}")
        started = time.monotonic()
        operator.press_retry(parent)
        assert operator.wait_for_end(parent, attempt=2)["state_name"] == "Complete"
        seconds = time.monotonic() - started
        again = runs_of(operator, parent)
        assert again["WH-01"]["id"] == begun["WH-01"]["id"] and again["WH-01"]["run_count"] == 2
        assert again["WH-02"]["id"] != begun["WH-02"]["id"] and again["WH-02"]["run_count"] == 1
        for name in WAREHOUSES:
            fault = "a fan-out cancelled, one of its runs deleted, then Retry"
            fault_log.record(fault, true_content(server, name), seen_content(sqlite_url, name), seconds)

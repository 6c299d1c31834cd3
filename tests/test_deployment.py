"""The operated life of a window: deployed, run by a worker, failed in part, retried from the UI."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from simulator.faults import Fault
from tests.acme import TOKEN, WHOLE, published, spec_file, wms
from tests.prefect_fixtures import PrefectServer
from tests.waiting import until

CHECKOUT = Path(__file__).parents[1]


class Operator:
    """Somebody at a shell and at the Prefect UI."""

    def __init__(self, server: PrefectServer, store: str) -> None:
        self._environment = server.environment | {
            "WMS_TOKEN": TOKEN,
            "SKU_VELOCITY_STORE": store,
        }
        self.api = httpx.Client(base_url=server.api_url, timeout=60)

    def run(self, *words: str) -> str:
        command = [sys.executable, "-m", *words]
        done = subprocess.run(command, cwd=CHECKOUT, env=self._environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def start_worker(self, log: Path) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", "prefect", "worker", "start", "--pool", "sku-velocity"]
        with log.open("wb") as output:
            return subprocess.Popen(
                command,
                cwd=CHECKOUT,
                env=self._environment,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )

    def post(self, path: str, body: dict[str, Any]) -> Any:
        return self.api.post(path, json=body).raise_for_status().json()

    def get(self, path: str) -> Any:
        return self.api.get(path).raise_for_status().json()

    def start_run(self, deployment: str, parameters: dict[str, Any]) -> str:
        request = {"parameters": parameters, "state": {"type": "SCHEDULED"}}
        run: str = self.post(f"/deployments/{deployment}/create_flow_run", request)["id"]
        return run

    def press_retry(self, run: str) -> None:
        """The very call behind the UI's button."""
        state = {"type": "SCHEDULED", "name": "AwaitingRetry"}
        self.post(f"/flow_runs/{run}/set_state", {"state": state, "force": True})

    def wait_for_end(self, run: str, attempt: int) -> dict[str, Any]:
        def ended() -> dict[str, Any] | None:
            found: dict[str, Any] = self.get(f"/flow_runs/{run}")
            is_final = found["state_type"] in ("COMPLETED", "FAILED", "CRASHED", "CANCELLED")
            return found if is_final and found["run_count"] == attempt else None

        return until(ended)

    def ingest_runs(self, run: str, attempt: int, count: int) -> list[dict[str, Any]]:
        """The task runs that read chunks in one attempt of a flow run, once the server knows `count`."""

        def known() -> list[dict[str, Any]] | None:
            request = {"task_runs": {"name": {"like_": "ingest"}}, "flow_runs": {"id": {"any_": [run]}}}
            found = [each for each in self.post("/task_runs/filter", request)
                     if each["flow_run_run_count"] == attempt]  # fmt: skip
            return found if len(found) >= count else None

        return until(known)


@pytest.fixture(scope="module")
def store_file(tmp_path_factory: pytest.TempPathFactory) -> str:
    return f"sqlite:///{tmp_path_factory.mktemp('deployed')}/store.db"


@pytest.fixture(scope="module")
def operator(prefect_server: PrefectServer, store_file: str) -> Iterator[Operator]:
    """At work in a checkout where everything is deployed as the README says."""
    operator = Operator(prefect_server, store_file)
    operator.run("prefect", "block", "register", "-m", "blocks")
    operator.run("flows", "save-store", "velocity")
    operator.run("prefect", "work-pool", "create", "sku-velocity", "--type", "process")
    operator.run("prefect", "--no-prompt", "deploy", "--all")
    with operator.api:
        yield operator


@pytest.fixture
def worker(operator: Operator, tmp_path: Path) -> Iterator[None]:
    process = operator.start_worker(tmp_path / "worker.log")
    yield
    os.kill(process.pid, signal.SIGTERM)
    process.wait(timeout=60)


def test_what_is_deployed_is_what_prefect_yaml_says(operator: Operator) -> None:
    deployment = operator.get("/deployments/name/sync-velocity/sync-velocity")
    assert [each["schedule"]["cron"] for each in deployment["schedules"]] == ["20 * * * *"]
    assert deployment["global_concurrency_limit"]["limit"] == 1
    assert deployment["work_pool_name"] == "sku-velocity"
    assert "description" in deployment["parameter_openapi_schema"]["properties"]["warehouse"]
    assert str(CHECKOUT) not in str(deployment)


@pytest.mark.usefixtures("worker")
def test_the_ui_retry_runs_exactly_the_failed_chunks(
    operator: Operator, tmp_path: Path, store_file: str
) -> None:
    deployment = operator.get("/deployments/name/sync-velocity/sync-velocity")["id"]
    with wms(tmp_path, faults=(Fault("401", 299), Fault("401", 699))) as (server, _):
        path = spec_file(server, tmp_path)
        operator.run("flows", "save-source", "wms", "--spec", path, "--token-env", "WMS_TOKEN")
        run = operator.start_run(deployment, {**WHOLE, "warehouse": "WH-01", "chunk_retries": 0})
        first = operator.wait_for_end(run, attempt=1)
        assert (first["state_type"], first["state_name"]) == ("FAILED", "Incomplete")
        assert "2 of 10 chunks failed" in first["state"]["message"] and published(store_file)[0] == 0
        assert len(operator.ingest_runs(run, attempt=1, count=10)) == 10
        server.clear()
        server.reset_stats()
        operator.press_retry(run)
        second = operator.wait_for_end(run, attempt=2)
        stats, truth = server.stats(), server.ground_truth("WH-01")
    assert (second["state_type"], second["state_name"]) == ("COMPLETED", "Complete")
    names = {each["name"] for each in operator.ingest_runs(run, attempt=2, count=2)}
    assert names == {"ingest WH-01 300-399", "ingest WH-01 700-799"}
    assert {page.offset for page in stats.pages if page.limit == 101} == {299, 699}
    assert published(store_file) == (truth.valid, truth.units, 1)

"""A run that is cancelled in the UI, under a worker: it ends as Cancelled, and Retry resumes it."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from demo.prefect_client import prefect_client
from tests.chaos.fault_log import FaultLog
from tests.chaos.flow_process import FINAL, states_of_tasks
from tests.chaos.truth import landed_in, seen_content, true_content
from tests.chaos.windows import wait_until
from tests.support.acme import TOKEN, wms
from tests.support.checkout import CHECKOUT
from tests.support.operator import end_worker
from tests.support.prefect_server import PrefectServer
from tests.support.waiting import until

POOL = "cancelled"
GRACE = 25.0  # seconds


class Ui:
    """The API calls of the Prefect UI's buttons, on a deployment with its own work pool."""

    def __init__(self, server: PrefectServer) -> None:
        self._http = prefect_client(server.api_url)
        self.post("/work_pools/", {"name": POOL, "type": "process"})
        flow = self.post("/flows/", {"name": "sku-velocity-sync"})["id"]
        deployment = {
            "name": POOL,
            "flow_id": flow,
            "work_pool_name": POOL,
            "entrypoint": "flows/sync_velocity.py:sync_velocity",
            "pull_steps": [{"flows.runtime.checkout.enter_checkout": {}}],
        }
        self._deployment = self.post("/deployments/", deployment)["id"]

    def post(self, path: str, body: dict[str, Any]) -> Any:
        return self._http.post(path, json=body).raise_for_status().json()

    def start(self, parameters: dict[str, Any]) -> str:
        body = {"parameters": parameters, "state": {"type": "SCHEDULED"}}
        run: str = self.post(f"/deployments/{self._deployment}/create_flow_run", body)["id"]
        return run

    def cancel(self, run: str) -> None:
        self.post(f"/flow_runs/{run}/set_state", {"state": {"type": "CANCELLING"}})

    def retry(self, run: str) -> None:
        state = {"type": "SCHEDULED", "name": "AwaitingRetry"}
        self.post(f"/flow_runs/{run}/set_state", {"state": state, "force": True})

    def end_of(self, run: str, attempt: int) -> str:
        """Wait for an attempt's final state and return it."""

        def final() -> str | None:
            found = self._http.get(f"/flow_runs/{run}").raise_for_status().json()
            is_final = found["state_type"] in FINAL and found["run_count"] == attempt
            return str(found["state_type"]) if is_final else None

        return until(final)

    def close(self) -> None:
        self._http.close()


@pytest.fixture
def ui(prefect_server: PrefectServer) -> Iterator[Ui]:
    ui = Ui(prefect_server)
    yield ui
    ui.close()


@pytest.fixture
def worker(ui: Ui, prefect_server: PrefectServer, tmp_path: Path) -> Iterator[None]:
    command = [sys.executable, "-m", "prefect", "worker", "start", "--pool", POOL]
    environment = prefect_server.environment | {"WMS_TOKEN": TOKEN, "PREFECT_WORKER_QUERY_SECONDS": "1"}
    with (tmp_path / "worker.log").open("wb") as output:
        process = subprocess.Popen(
            command, cwd=CHECKOUT, env=environment, stdout=output, stderr=output, start_new_session=True
        )
    yield
    end_worker(process)


def engines_of(run: str) -> list[int]:
    """Return the processes that execute a flow run: those with its id in their environment."""
    found = []
    for directory in Path("/proc").glob("[0-9]*"):
        try:
            variables = (directory / "environ").read_bytes().split(b"\0")
        except OSError:  # ended meanwhile
            continue
        if any(run.encode() in each for each in variables if each.startswith(b"PREFECT__FLOW_RUN_ID=")):
            found.append(int(directory.name))
    return found


@pytest.mark.long
@pytest.mark.usefixtures("worker")
def test_a_cancelled_run_ends_soon_and_retry_resumes_it(
    ui: Ui, prefect_server: PrefectServer, tmp_path: Path, sqlite_url: str, fault_log: FaultLog
) -> None:
    with wms(tmp_path, records=3000, latency=0.3) as (server, source):
        request = {"source": source, "store": sqlite_url, "warehouse": "WH-01", "token_env": "WMS_TOKEN"}
        run = ui.start({**request, "task_retries": 0})
        wait_until(lambda: landed_in(sqlite_url) >= 3)
        assert engines_of(run)
        requested = time.monotonic()
        ui.cancel(run)
        wait_until(lambda: not engines_of(run))
        assert time.monotonic() - requested < GRACE
        assert ui.end_of(run, attempt=1) == "CANCELLED" and seen_content(sqlite_url).total() == 0
        assert states_of_tasks(prefect_server, run) <= {"COMPLETED", "CRASHED", "CANCELLED"}
        server.reset_stats()
        started = time.monotonic()
        ui.retry(run)
        assert ui.end_of(run, attempt=2) == "COMPLETED"
        assert 0 < server.stats().records < 3000
        truth, seconds = true_content(server), time.monotonic() - started
    fault_log.record("UI cancel, then Retry", truth, seen_content(sqlite_url), seconds)

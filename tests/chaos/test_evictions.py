"""`prefect flow-run execute`, as in a container: on SIGTERM, its run returns to the pool and is resumed."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from demo.prefect_client import prefect_client
from tests.chaos.fault_log import FaultLog
from tests.chaos.truth import landed_in, seen_content, true_content
from tests.chaos.windows import wait_until
from tests.support.acme import TOKEN, wms
from tests.support.checkout import CHECKOUT
from tests.support.deployments import DEPLOYMENTS
from tests.support.prefect_server import PrefectServer

ENVIRONMENT = DEPLOYMENTS[0]["work_pool"]["job_variables"]["env"]
GRACE = 30  # seconds until a supervisor kills


class Pool:
    """The API calls of a pool whose infrastructure runs `prefect flow-run execute`."""

    def __init__(self, server: PrefectServer) -> None:
        self._environment = server.environment | {"WMS_TOKEN": TOKEN} | ENVIRONMENT
        self._http = prefect_client(server.api_url)
        self.close = self._http.close
        self._post("/work_pools/", {"name": "evicted", "type": "process"})
        deployment = {
            "name": "evicted",
            "flow_id": self._post("/flows/", {"name": "sku-velocity-sync"})["id"],
            "work_pool_name": "evicted",
            "entrypoint": "flows/sync_velocity.py:sync_velocity",
            "pull_steps": [{"flows.runtime.checkout.enter_checkout": {}}],
        }
        self._deployment = self._post("/deployments/", deployment)["id"]

    def _post(self, path: str, body: dict[str, Any]) -> Any:
        return self._http.post(path, json=body).raise_for_status().json()

    def submit(self, parameters: dict[str, Any]) -> str:
        """Create a run, and set it to Pending as a worker does when it starts a container."""
        body = {"parameters": parameters, "state": {"type": "SCHEDULED"}}
        run: str = self._post(f"/deployments/{self._deployment}/create_flow_run", body)["id"]
        self.accept(run)
        return run

    def accept(self, run: str) -> None:
        self._post(f"/flow_runs/{run}/set_state", {"state": {"type": "PENDING"}})

    def state_of(self, run: str) -> tuple[str, str]:
        state = self._http.get(f"/flow_runs/{run}").raise_for_status().json()["state"]
        return state["type"], state["name"]

    @contextmanager
    def container(self, run: str) -> Iterator[subprocess.Popen[bytes]]:
        """A process that executes the run, and is killed at the end of the block."""
        command = [sys.executable, "-m", "prefect", "flow-run", "execute", run]
        with subprocess.Popen(
            command, cwd=CHECKOUT, env=self._environment, stderr=subprocess.DEVNULL
        ) as process:
            try:
                yield process
            finally:
                process.kill()


@pytest.fixture
def pool(prefect_server: PrefectServer) -> Iterator[Pool]:
    pool = Pool(prefect_server)
    yield pool
    pool.close()


@pytest.mark.long
def test_an_evicted_run_is_resumed_with_only_the_remaining_chunks(
    pool: Pool, tmp_path: Path, sqlite_url: str, fault_log: FaultLog
) -> None:
    with wms(tmp_path, records=3000, latency=0.3) as (server, source):
        request = {"source": source, "store": sqlite_url, "warehouse": "WH-01", "token_env": "WMS_TOKEN"}
        run = pool.submit({**request, "task_retries": 0})
        with pool.container(run) as first:
            wait_until(lambda: landed_in(sqlite_url) >= 3)
            first.send_signal(signal.SIGTERM)
            assert first.wait(GRACE) == 0
        assert pool.state_of(run) == ("SCHEDULED", "AwaitingRetry")
        landed = landed_in(sqlite_url)
        assert 3 <= landed < 30 and seen_content(sqlite_url).total() == 0
        server.reset_stats()
        started = time.monotonic()
        pool.accept(run)
        with pool.container(run) as second:
            assert second.wait(120) == 0
        assert pool.state_of(run) == ("COMPLETED", "Complete")
        seconds = time.monotonic() - started
        read = sum(page.count for page in server.stats().pages if page.limit == 101)
        assert 0 < read <= 30 - landed + 1  # the proof reads the last page once more
        truth = true_content(server)
    fault_log.record("SIGTERM to a container, then resumed", truth, seen_content(sqlite_url), seconds)

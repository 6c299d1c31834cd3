"""An operator of the deployments, and a worker: deployed once for all tests that need it."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from demo.prefect_client import prefect_client
from tests.support.acme import TOKEN
from tests.support.checkout import CHECKOUT
from tests.support.doc_commands import shown_commands
from tests.support.prefect_server import PrefectServer
from tests.support.waiting import TIMEOUT, until

# How docs/quickstart-prefect.md deploys without `init`. Not the source, which each test saves, and not the
# automation, which would end the runs of tests.
BY_HAND = [
    command.words
    for command in shown_commands()
    if command.page == "docs/quickstart-prefect.md"
    and not {"init", "save-source", "automation", "worker", "export"} & set(command.words)
]
SYNC_VELOCITY = "/deployments/name/sku-velocity-sync/sync-velocity"


class Operator:
    """A user at a shell and at the Prefect UI."""

    def __init__(self, server: PrefectServer, store: str) -> None:
        self._environment = server.environment | {
            "WMS_TOKEN": TOKEN,
            "SKU_VELOCITY_STORE": store,
            "PREFECT_WORKER_QUERY_SECONDS": "1",
        }
        self.api = prefect_client(server.api_url)

    def run(self, *words: str) -> str:
        command = [sys.executable, "-m", *words]
        done = subprocess.run(command, cwd=CHECKOUT, env=self._environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def start_worker(self, log: Path, *more: str, within: Sequence[str] = ()) -> subprocess.Popen[bytes]:
        """Start a worker with these options, prefixed by the command `within`, such as `ip netns exec`."""
        command = [
            *within,
            sys.executable,
            "-m",
            "prefect",
            "worker",
            "start",
            "--pool",
            "sku-velocity",
            *more,
        ]
        with log.open("ab") as output:
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

    def delete(self, path: str) -> None:
        self.api.delete(path).raise_for_status()

    def set_schedules(self, deployment: dict[str, Any], *, active: bool) -> None:
        """Turn the deployment's schedules on or off, as in the UI."""
        for schedule in deployment["schedules"]:
            path = f"/deployments/{deployment['id']}/schedules/{schedule['id']}"
            self.api.patch(path, json={"active": active}).raise_for_status()

    def start_run(self, deployment: str, parameters: dict[str, Any]) -> str:
        request = {"parameters": parameters, "state": {"type": "SCHEDULED"}}
        run: str = self.post(f"/deployments/{deployment}/create_flow_run", request)["id"]
        return run

    def press_retry(self, run: str) -> None:
        """Make the API call of the UI's button."""
        state = {"type": "SCHEDULED", "name": "AwaitingRetry"}
        self.post(f"/flow_runs/{run}/set_state", {"state": state, "force": True})

    def cancel(self, run: str) -> None:
        """Make the API call of the UI's button."""
        self.post(f"/flow_runs/{run}/set_state", {"state": {"type": "CANCELLING"}})

    def wait_for_end(self, run: str, attempt: int, timeout: float = TIMEOUT) -> dict[str, Any]:
        def ended() -> dict[str, Any] | None:
            found: dict[str, Any] = self.get(f"/flow_runs/{run}")
            is_final = found["state_type"] in ("COMPLETED", "FAILED", "CRASHED", "CANCELLED")
            return found if is_final and found["run_count"] == attempt else None

        return until(ended, timeout)

    def ingest_runs(self, run: str, attempt: int, count: int) -> list[dict[str, Any]]:
        """Return an attempt's task runs that read chunks, once the server has `count` of them."""

        def known() -> list[dict[str, Any]] | None:
            request = {"task_runs": {"name": {"like_": "ingest"}}, "flow_runs": {"id": {"any_": [run]}}}
            found = [each for each in self.post("/task_runs/filter", request)
                     if each["flow_run_run_count"] == attempt]  # fmt: skip
            return found if len(found) >= count else None

        return until(known)


def end_worker(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    process.wait(timeout=60)


@contextmanager
def deployed_operator(server: PrefectServer, store: str) -> Iterator[Operator]:
    """An operator in a checkout where everything is deployed as docs/quickstart-prefect.md says."""
    operator = Operator(server, store)
    with operator.api:
        for words in BY_HAND:
            operator.run(*(words[2:] if words[0] == "python" else words))
        yield operator


@contextmanager
def running_worker(operator: Operator, log: Path) -> Iterator[None]:
    """A worker that has polled for work: the UI shows its pool as ready."""
    process = operator.start_worker(log)
    until(lambda: operator.get("/work_pools/sku-velocity")["status"] == "READY")
    yield
    end_worker(process)
    assert "Finished in state" in log.read_text() and TOKEN not in log.read_text()

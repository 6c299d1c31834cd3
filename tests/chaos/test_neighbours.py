"""A shared Prefect server: the automation ends our dead runs, and no run of anyone else."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml

from demo.prefect_client import prefect_client
from tests.chaos.fault_log import FaultLog
from tests.chaos.flow_process import Shell, ending
from tests.chaos.truth import flow_runs_in, landed_in, seen_content, true_content
from tests.chaos.windows import wait_until
from tests.support.acme import spec_file, wms
from tests.support.checkout import CHECKOUT
from tests.support.prefect_server import PrefectServer
from tests.support.waiting import until

SHORT = 10  # seconds without a heartbeat, instead of 90
LONG = 45  # a healthy run sends one every 30 s
FOREIGN = """\
import sys, time
from prefect import flow
@flow(name="backfill")
def wait(): time.sleep(600)
wait()
"""


class Api:
    """A Prefect server's API, as the UI uses it."""

    def __init__(self, server: PrefectServer) -> None:
        self._http = prefect_client(server.api_url)
        self.close = self._http.close

    def post(self, path: str, body: dict[str, Any]) -> Any:
        return self._http.post(path, json=body).raise_for_status().json()

    def state_of(self, run: str) -> str:
        return str(self._http.get(f"/flow_runs/{run}").raise_for_status().json()["state_type"])

    def last_heartbeat_of(self, run: str) -> bool:
        resource = {"id": [f"prefect.flow-run.{run}"]}
        beats = {"event": {"name": ["prefect.flow-run.heartbeat"]}, "resource": resource}
        return bool(self.post("/events/filter", {"filter": beats})["events"])

    @contextmanager
    def automation(self, within: int) -> Iterator[None]:
        """Create our automation with another time limit, and delete it afterwards."""
        [content] = yaml.safe_load((CHECKOUT / "automations.yaml").read_text())["automations"]
        content["trigger"]["within"] = within
        created = self.post("/automations/", content)["id"]
        try:
            yield
        finally:
            self._http.delete(f"/automations/{created}").raise_for_status()


@contextmanager
def foreign_run(server: PrefectServer, api: Api) -> Iterator[str]:
    """A run of another team, with a flow of our former name; its heartbeats come every 180 s."""
    command = [sys.executable, "-c", FOREIGN]
    with subprocess.Popen(command, env=server.environment, stderr=subprocess.DEVNULL) as process:
        try:
            running = {"state": {"type": {"any_": ["RUNNING"]}}}
            foreign = {"flows": {"name": {"any_": ["backfill"]}}, "flow_runs": running}
            [run] = until(lambda: api.post("/flow_runs/filter", foreign))
            until(lambda: api.last_heartbeat_of(run["id"]))
            yield run["id"]
        finally:
            process.kill()


def test_a_dead_run_of_ours_becomes_crashed_and_a_foreign_one_without_heartbeats_stays(
    tmp_path: Path, sqlite_url: str, fault_log: FaultLog
) -> None:
    prefect_server = PrefectServer.at(
        tmp_path
    )  # its own: the events of other tests' runs would be waited for
    with ExitStack() as stack:
        stack.enter_context(prefect_server.running())
        # so slow that the run cannot end before it is killed
        server, source = stack.enter_context(wms(tmp_path, records=8000, latency=2))
        api = Api(prefect_server)
        stack.callback(api.close)
        stack.enter_context(api.automation(SHORT))
        foreign = stack.enter_context(foreign_run(prefect_server, api))
        shell = Shell(prefect_server, source, sqlite_url)
        process = stack.enter_context(shell.running())
        wait_until(lambda: landed_in(sqlite_url) >= 3)
        [run] = flow_runs_in(sqlite_url)
        until(lambda: api.last_heartbeat_of(run))
        assert process.poll() is None
        process.kill()
        killed = time.monotonic()
        until(lambda: api.state_of(run) == "CRASHED")
        seconds = time.monotonic() - killed
        assert api.state_of(foreign) == "RUNNING"
        assert ending(stack.enter_context(shell.running("--resume", run))).exit_code == 0
        truth = true_content(server)
    fault_log.record("kill -9, seen by its heartbeats", truth, seen_content(sqlite_url), seconds)


@pytest.mark.long
def test_a_healthy_run_of_ours_stays(prefect_server: PrefectServer, tmp_path: Path, sqlite_url: str) -> None:
    with closing(Api(prefect_server)) as api, api.automation(LONG), wms(tmp_path) as (server, _):
        source = spec_file(server, tmp_path, pace={"requests_per_second": 0.15})  # 13 requests in 85 s
        started = time.monotonic()
        ended = Shell(prefect_server, source, sqlite_url).run()
        assert ended.exit_code == 0 and time.monotonic() - started > LONG + 30
        assert api.state_of(ended.report["flow_run_id"]) == "COMPLETED"

"""A Prefect server that becomes unavailable during a run: the run survives it, or ends and can be resumed."""

from __future__ import annotations

import signal
import time
from contextlib import ExitStack
from pathlib import Path

import httpx
import pytest

from demo.prefect_client import prefect_client
from tests.chaos.fault_log import FaultLog
from tests.chaos.flow_process import Shell, ending, states_of_tasks
from tests.chaos.line import Line
from tests.chaos.truth import flow_runs_in, landed_in, runs_in, seen_content, true_content
from tests.chaos.windows import wait_until
from tests.support.acme import wms
from tests.support.prefect_server import PrefectServer

GRACE = 150.0  # seconds, on a busy machine; Prefect's own exit would take several per event


@pytest.mark.long
def test_a_run_survives_a_temporary_loss_of_connection(
    prefect_server: PrefectServer, tmp_path: Path, sqlite_url: str, fault_log: FaultLog
) -> None:
    line = Line(httpx.URL(prefect_server.api_url).port or 0)
    with (
        line.open(),
        wms(tmp_path, records=3000, latency=0.2) as (server, source),
        Shell(prefect_server, source, sqlite_url).running(PREFECT_API_URL=line.api_url) as process,
    ):
        wait_until(lambda: landed_in(sqlite_url) >= 3)
        line.cut()
        time.sleep(20)
        started = time.monotonic()
        line.restore()
        ended = ending(process)
        assert (ended.exit_code, ended.errors) == (0, "")
        truth, seconds = true_content(server), time.monotonic() - started
    fault_log.record("line to Prefect cut, survived", truth, seen_content(sqlite_url), seconds)
    [run] = flow_runs_in(sqlite_url)
    assert "RUNNING" not in states_of_tasks(prefect_server, run)


@pytest.mark.long
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_a_run_survives_a_server_restart(
    number: signal.Signals, tmp_path: Path, sqlite_url: str, fault_log: FaultLog, is_long: bool
) -> None:
    own = PrefectServer.at(tmp_path)
    with ExitStack() as processes, wms(tmp_path, records=3000, latency=0.2) as (server, source):
        process = processes.enter_context(own.running())
        flow = processes.enter_context(Shell(own, source, sqlite_url).running())
        wait_until(lambda: landed_in(sqlite_url) >= 3)
        process.send_signal(number)
        process.wait()
        time.sleep(20 if is_long else 1)
        started = time.monotonic()
        processes.enter_context(own.running())
        ended = ending(flow)
        seconds = time.monotonic() - started
        assert (ended.exit_code, ended.errors) == (0, "")
        [run] = flow_runs_in(sqlite_url)
        with prefect_client(own.api_url) as api:
            assert api.get(f"/flow_runs/{run}").json()["state"]["name"] == "Complete"
        assert "RUNNING" not in states_of_tasks(own, run)
        truth = true_content(server)
    fault = f"Prefect ended by {number.name} and restarted, survived"
    fault_log.record(fault, truth, seen_content(sqlite_url), seconds)


@pytest.mark.long
def test_a_run_ends_after_a_long_outage_of_the_server_and_can_be_resumed(
    prefect_server: PrefectServer, tmp_path: Path, sqlite_url: str, fault_log: FaultLog
) -> None:
    line = Line(httpx.URL(prefect_server.api_url).port or 0)
    no_retries = {"PREFECT_API_URL": line.api_url, "PREFECT_CLIENT_MAX_RETRIES": "0"}
    with wms(tmp_path, records=3000, latency=0.2) as (server, source):
        shell = Shell(prefect_server, source, sqlite_url)
        with line.open(), shell.running(**no_retries) as process:
            wait_until(lambda: landed_in(sqlite_url) >= 3)
            line.cut()
            cut = time.monotonic()
            ended = ending(process)
        assert ended.exit_code == 1 and ended.errors.startswith("error: the Prefect API at http://")
        assert "\n" not in ended.errors and time.monotonic() - cut < GRACE
        [run] = runs_in(sqlite_url)
        started = time.monotonic()
        assert shell.run("--resume", run).exit_code == 0
        truth, seconds = true_content(server), time.monotonic() - started
    fault_log.record("Prefect unavailable for good, then --resume", truth, seen_content(sqlite_url), seconds)

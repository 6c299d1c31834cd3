"""A run that is stopped ends soon, starts nothing new, leaves nothing Running, and can be resumed."""

from __future__ import annotations

import signal
import time
from pathlib import Path

import pytest

from tests.chaos.fault_log import FaultLog
from tests.chaos.flow_process import Shell, ending, states_of_tasks
from tests.chaos.truth import flow_runs_in, landed_in, runs_in, seen_content, true_content
from tests.chaos.windows import wait_until
from tests.support.acme import wms
from tests.support.prefect_server import PrefectServer

GRACE = 25.0  # seconds: less than the 30 that Kubernetes gives
IN_FLIGHT = 12
STOPS = [(signal.SIGTERM, 143), pytest.param(signal.SIGINT, 130, marks=pytest.mark.long)]


@pytest.fixture(params=["process", "prefect"])
def prefect(request: pytest.FixtureRequest) -> PrefectServer | None:
    """The Prefect server that a run uses, if it uses one."""
    return request.getfixturevalue("prefect_server") if request.param == "prefect" else None


@pytest.mark.parametrize(("number", "exit_code"), STOPS)
def test_a_signal_ends_a_run_with_one_line_and_the_next_run_resumes_it(
    number: signal.Signals,
    exit_code: int,
    prefect: PrefectServer | None,
    tmp_path: Path,
    sqlite_url: str,
    fault_log: FaultLog,
) -> None:
    with wms(tmp_path, records=3000, latency=0.2) as (server, source):
        shell = Shell(prefect, source, sqlite_url)
        with shell.running() as process:
            wait_until(lambda: landed_in(sqlite_url) >= 3)
            signalled, sent = time.monotonic(), server.stats().requests
            process.send_signal(number)
            ended = ending(process)
        assert time.monotonic() - signalled < GRACE
        assert server.stats().requests <= sent + IN_FLIGHT
        [run] = runs_in(sqlite_url)
        assert (ended.exit_code, seen_content(sqlite_url).total()) == (exit_code, 0)
        assert ended.errors == f"error: stopped by {number.name}: resume with --resume {run}"
        assert ended.report["error"] in ended.errors
        if prefect:
            assert states_of_tasks(prefect, *flow_runs_in(sqlite_url)) <= {"COMPLETED", "CRASHED"}
        server.reset_stats()
        started = time.monotonic()
        assert shell.run("--resume", run).exit_code == 0
        truth, seconds = true_content(server), time.monotonic() - started
        assert server.stats().records < 3000
    fault_log.record(f"{number.name}, then --resume", truth, seen_content(sqlite_url), seconds)

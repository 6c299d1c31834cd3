"""`sku-velocity sync` leaves nothing behind when it is stopped or killed, and the next run resumes it."""

from __future__ import annotations

import os
import random
import signal
import time
from pathlib import Path

import pytest

from tests.chaos.fault_log import FaultLog
from tests.chaos.flow_process import Shell, ending
from tests.chaos.truth import landed_in, runs_in, seen_content, true_content
from tests.chaos.windows import wait_until
from tests.support.acme import wms

GRACE = 10.0  # seconds
IN_FLIGHT = 12
MOMENTS = 5


def children_of(pid: int) -> list[str]:
    """Return the processes that a process has started and that still run (Linux: proc(5))."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            fields = (entry / "stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[1]) == pid:
            found.append(entry.name)
    return found


@pytest.mark.parametrize(("number", "exit_code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_signal_ends_the_command_with_one_line_and_the_next_run_resumes_it(
    number: signal.Signals, exit_code: int, tmp_path: Path, sqlite_url: str, fault_log: FaultLog
) -> None:
    with wms(tmp_path, records=3000, latency=0.2) as (server, source):
        shell = Shell(None, source, sqlite_url)
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
        server.reset_stats()
        started = time.monotonic()
        assert shell.run("--resume", run).exit_code == 0
        truth, seconds = true_content(server), time.monotonic() - started
        assert server.stats().records < 3000
    fault_log.record(f"{number.name} of the command, then --resume", truth, seen_content(sqlite_url), seconds)


def test_a_killed_command_leaves_no_process_and_can_be_resumed(
    tmp_path: Path, store_url: str, fault_log: FaultLog, is_long: bool
) -> None:
    chance = random.Random(7)
    for number in range(MOMENTS if is_long else 1):
        with wms(tmp_path, records=2000, seed=number, latency=0.1) as (server, source):
            shell, known = Shell(None, source, store_url), len(runs_in(store_url))
            requests, moment = chance.randint(5, 20), chance.uniform(0, 0.1)
            with shell.running() as process:
                wait_until(lambda: server.stats().requests >= requests)  # noqa: B023
                time.sleep(moment)
                assert children_of(process.pid) == []
                os.kill(process.pid, signal.SIGKILL)
            [run] = runs_in(store_url)[known:]
            started = time.monotonic()
            assert shell.run("--resume", run).exit_code == 0
            truth, seconds = true_content(server), time.monotonic() - started
        fault_log.record("kill -9 of the command, at any moment", truth, seen_content(store_url), seconds)

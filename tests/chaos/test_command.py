"""`sku-velocity sync` leaves nothing behind when it is killed, and the next run resumes it."""

from __future__ import annotations

import os
import random
import signal
import time
from pathlib import Path

from tests.chaos.fault_log import FaultLog
from tests.chaos.flow_process import Shell
from tests.chaos.truth import runs_in, seen_content, true_content
from tests.chaos.windows import wait_until
from tests.support.acme import wms

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

"""Killing the flow's own process: `--resume` with the stored run publishes the whole window."""

from __future__ import annotations

import random
import time
from pathlib import Path

import pytest

from tests.chaos.fault_log import FaultLog
from tests.chaos.flow_process import Shell
from tests.chaos.truth import landed_in, runs_in, seen_content, true_content
from tests.chaos.windows import wait_until
from tests.support.acme import wms
from tests.support.prefect_server import PrefectServer

RECORDS = 2000  # in 20 chunks
MOMENTS = 5


def test_a_flow_that_is_killed_before_its_report_has_published_once(
    prefect_server: PrefectServer, tmp_path: Path, sqlite_url: str, fault_log: FaultLog
) -> None:
    with wms(tmp_path, records=RECORDS) as (server, source):
        shell, truth = Shell(prefect_server, source, sqlite_url), true_content(server)
        with shell.running() as process:
            wait_until(lambda: landed_in(sqlite_url) and seen_content(sqlite_url) == truth)
            process.kill()
            assert process.communicate()[0] == ""  # it has reported nothing
        server.reset_stats()
        started = time.monotonic()
        [run] = runs_in(sqlite_url)
        assert shell.run("--resume", run).exit_code == 0
        seconds = time.monotonic() - started
        assert server.stats().records < 100  # a probe of the source, and no chunk
    fault_log.record("kill -9 of the flow, before its report", truth, seen_content(sqlite_url), seconds)


@pytest.mark.long
def test_a_flow_that_is_killed_at_any_moment_can_be_resumed(
    prefect_server: PrefectServer, tmp_path: Path, store_url: str, fault_log: FaultLog
) -> None:
    chance = random.Random(5)
    for number in range(MOMENTS):
        with wms(tmp_path, records=RECORDS, seed=number, latency=0.1) as (server, source):
            shell, known = Shell(prefect_server, source, store_url), len(runs_in(store_url))
            requests, moment = chance.randint(5, 20), chance.uniform(0, 0.1)
            with shell.running() as process:
                wait_until(lambda: server.stats().requests >= requests)  # noqa: B023
                time.sleep(moment)
                process.kill()
            [run] = runs_in(store_url)[known:]
            started = time.monotonic()
            assert shell.run("--resume", run).exit_code == 0
            truth, seconds = true_content(server), time.monotonic() - started
        fault_log.record("kill -9 of the flow, at any moment", truth, seen_content(store_url), seconds)

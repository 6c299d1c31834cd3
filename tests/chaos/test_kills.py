"""A process that is killed at any moment loses no rows, duplicates none, and publishes no partial window."""

from __future__ import annotations

import random
import time
from multiprocessing.context import ForkServerContext

from simulator.scenario import Scenario
from simulator.server import Server, serve
from tests.chaos.fault_log import FaultLog
from tests.chaos.truth import seen_content, true_content
from tests.chaos.windows import WindowRun, wait_until

LONG, SHORT = 50, 6
RECORDS = 1000
REQUESTS = 21  # per window of these records: a probe of the first page, then 20 pages
LONGEST_MOMENT = 0.03  # seconds: as long as it takes to land some pages


def kill(processes: ForkServerContext, server: Server, run: WindowRun, requests: int, moment: float) -> int:
    """Start a window, kill the process after this many requests and seconds, and return its requests."""
    server.reset_stats()
    process = processes.Process(target=run.resume_and_wait, daemon=True)
    process.start()
    wait_until(lambda: server.stats().requests >= requests or not process.is_alive())
    time.sleep(moment)
    process.kill()
    process.join()
    assert process.exitcode == -9, "the process ended before it was killed"
    return server.stats().requests


def test_a_window_killed_at_any_moment_is_whole_after_the_next_run(
    processes: ForkServerContext, store_url: str, fault_log: FaultLog, is_long: bool
) -> None:
    chance, reached, published = random.Random(50), set(), seen_content(store_url)
    with serve() as server:
        for seed in range(LONG if is_long else SHORT):
            server.play(Scenario(records=RECORDS, seed=seed, bad_ratio=0.02, latency=0.004))
            truth = true_content(server)
            run = WindowRun(server.url, store_url, f"run-{seed}")
            moment = chance.randint(1, REQUESTS), chance.uniform(0, LONGEST_MOMENT)
            reached.add(kill(processes, server, run, *moment))
            assert seen_content(store_url) in (published, truth)
            started = time.monotonic()
            run.resume()
            published = seen_content(store_url)
            fault_log.record("kill -9, at any moment", truth, published, time.monotonic() - started)
    assert len(reached) >= 3  # not all at the same moment


def test_a_process_killed_between_the_commit_and_the_report_has_published_once(
    processes: ForkServerContext, store_url: str, fault_log: FaultLog, is_long: bool
) -> None:
    with serve() as server:
        for seed in range(10 if is_long else 1):
            server.play(Scenario(records=RECORDS, seed=seed, bad_ratio=0.02))
            truth, run = true_content(server), WindowRun(server.url, store_url, f"run-{seed}")
            process = processes.Process(target=run.resume_and_wait, daemon=True)
            process.start()
            wait_until(lambda: seen_content(store_url) == truth)  # noqa: B023  # it is called only in this iteration
            process.kill()
            process.join()
            server.reset_stats()
            started = time.monotonic()
            run.resume()
            seconds = time.monotonic() - started
            fault_log.record("kill -9, after the commit", truth, seen_content(store_url), seconds)
            assert server.stats().records <= 2 * 51  # the proof's final check, and no chunk

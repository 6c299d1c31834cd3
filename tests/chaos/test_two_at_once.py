"""Two processes run one window at the same time: one wins, and no row of the other is published."""

from __future__ import annotations

import time
from multiprocessing.context import ForkServerContext

from simulator.scenario import Scenario
from simulator.server import serve
from tests.chaos.fault_log import FaultLog
from tests.chaos.truth import runs_in, seen_content, true_content
from tests.chaos.windows import WindowRun

LONG, SHORT = 10, 1


def at_once(processes: ForkServerContext, *runs: WindowRun) -> list[int | None]:
    """Run each window in its own process. Return the exit codes."""
    started = [processes.Process(target=run.resume) for run in runs]
    for process in started:
        process.start()
    for process in started:
        process.join()
    return [process.exitcode for process in started]


def test_of_two_runs_of_a_window_one_wins_whole(
    processes: ForkServerContext, store_url: str, fault_log: FaultLog, is_long: bool
) -> None:
    for number in range(LONG if is_long else SHORT):
        mine = Scenario(records=1000, seed=number, bad_ratio=0.02, latency=0.002)
        with serve(mine) as a, serve(Scenario(records=900, seed=-number - 1, bad_ratio=0.02)) as b:
            runs = [WindowRun(each.url, store_url, f"{each.url} {number}") for each in (a, b)]
            started = time.monotonic()
            # The run that was planned first is not needed any more if the other one is published before it.
            assert sorted(map(bool, at_once(processes, *runs))) in ([False, False], [False, True])
            seconds, seen = time.monotonic() - started, seen_content(store_url)
            won = a if seen == true_content(a) else b
            fault_log.record("two runs of a window at once", true_content(won), seen, seconds)


def test_a_run_that_two_processes_resume_at_once_is_published_once(
    processes: ForkServerContext, store_url: str, fault_log: FaultLog, is_long: bool
) -> None:
    with serve() as server:
        for number in range(LONG if is_long else SHORT):
            server.play(Scenario(records=1000, seed=number, bad_ratio=0.02, latency=0.002))
            run = WindowRun(server.url, store_url, f"run-{number}")
            started = time.monotonic()
            assert 0 in at_once(processes, run, run)
            seconds = time.monotonic() - started
            fault_log.record(
                "the same run twice at once", true_content(server), seen_content(store_url), seconds
            )
            assert runs_in(store_url)[-1] == run.id

"""The cost of a mapped task by way of mapping: `python -m benchmarks.mapping`, about 10 minutes."""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import httpx

from benchmarks.mapped import MAX_PARALLEL, WAYS, WORKERS
from benchmarks.processes import Service, prefect_server, quiet_environment, run
from benchmarks.report import Cell, Section, Table, publish, target
from benchmarks.server_cost import QUIET_LOOKS, Meter

SIZES = (100, 500)  # tasks
EVENTS = 3  # of a task run: Pending, Running, Completed
LEAST = 10.0  # target: ThreadPoolTaskRunner takes this many times our client CPU
OURS, PEER = "event-loop", "thread-pool"
NAMES = {
    "gather": "`asyncio.gather` under a semaphore, no `.map`",
    OURS: "`EventLoopTaskRunner`",
    PEER: "`ThreadPoolTaskRunner`",
    "thread-pool-16": f"`ThreadPoolTaskRunner(max_workers={WORKERS})`",
}
COLUMNS = (
    "way",
    "client CPU, ms per task",
    "times ours",
    "of each but the first",
    "times ours then",
    "server CPU, ms per task",
    "wall s",
    "tasks/s",
    "server behind, s",
    "client's peak MiB",
)


@dataclass(frozen=True)
class Cost:
    """The cost of `tasks`: CPU and wall seconds of the client, CPU and lag of the server."""

    tasks: int
    cpu: float
    server_cpu: float
    wall: float
    behind: float
    peak: float

    @property
    def cpu_per_task(self) -> float:
        """Return the client's CPU milliseconds per task."""
        return 1000 * self.cpu / self.tasks


def measure(way: str, tasks: int, server: Service, meter: Meter) -> Cost:
    """Map `tasks` tasks in one way, in a separate process. Raises RuntimeError if it fails."""
    with tempfile.TemporaryDirectory(prefix="mapping-", ignore_cleanup_errors=True) as directory:
        home = Path(directory)
        meter.start()
        command = [sys.executable, "-m", "benchmarks.mapped", way, str(tasks)]
        ran = run(command, home, quiet_environment(home, PREFECT_API_URL=server.url))
        if ran.exit_code:
            raise RuntimeError(f"{way}, {tasks} tasks: {(home / 'run.err').read_text()[-2000:]}")
        reported = json.loads((home / "run.out").read_text().splitlines()[-1])
    with httpx.Client(base_url=server.url, trust_env=False, timeout=60) as api:
        cost = meter.stop(lambda: knows_all(api, reported["flow_run_id"], tasks))
    cpu = ran.cpu - reported["cpu_before"]
    found = Cost(tasks, cpu, cost.cpu, reported["wall"], cost.behind, reported["peak"])
    print(way, found, file=sys.stderr)
    return found


def knows_all(api: httpx.Client, flow_run_id: str, tasks: int) -> bool:
    """Return True if every task run is completed in the server's database, with all of its events."""
    of_run = {"id": {"any_": [flow_run_id]}}
    completed = {"state": {"type": {"any_": ["COMPLETED"]}}}
    counted = api.post("/task_runs/count", json={"flow_runs": of_run, "task_runs": completed})
    if counted.raise_for_status().json() < tasks:
        return False
    events = {
        "event": {"prefix": ["prefect.task-run."]},
        "related": {"id": [f"prefect.flow-run.{flow_run_id}"]},
    }
    found = api.post("/events/filter", json={"filter": events, "limit": 1})
    return bool(found.raise_for_status().json()["total"] >= EVENTS * tasks)


def beyond_first(cost: Cost, first: Cost) -> float:
    """Return the client's CPU milliseconds per task after the first, without the fixed cost of a flow run."""
    return 1000 * (cost.cpu - first.cpu) / (cost.tasks - first.tasks)


def rows(costs: Mapping[str, Cost], firsts: Mapping[str, Cost]) -> list[list[Cell]]:
    further = {way: beyond_first(cost, firsts[way]) for way, cost in costs.items()}
    return [
        [
            NAMES[way],
            cost.cpu_per_task,
            cost.cpu_per_task / costs[OURS].cpu_per_task,
            further[way],
            further[way] / further[OURS],
            1000 * cost.server_cpu / cost.tasks,
            cost.wall,
            cost.tasks / cost.wall,
            cost.behind,
            cost.peak,
        ]
        for way, cost in costs.items()
    ]


def aim(costs: Mapping[str, Cost]) -> str:
    """Return whether the thread pool takes at least `LEAST` times our client CPU."""
    ratio = costs[PEER].cpu_per_task / costs[OURS].cpu_per_task
    return target(
        f"of {costs[OURS].tasks:,} tasks, `EventLoopTaskRunner` takes at most 1/{LEAST:.0f} of the client "
        "CPU of `ThreadPoolTaskRunner`",
        f"1/{ratio:.1f}",
        ratio >= LEAST,
    )


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.mapping", description=__doc__)
    parser.add_argument("--tasks", type=int, nargs="+", default=SIZES, help="Numbers of tasks to map.")
    sizes = tuple(parser.parse_args().tasks)
    with (
        tempfile.TemporaryDirectory(prefix="mapping-", ignore_cleanup_errors=True) as home,
        prefect_server(Path(home)) as server,
    ):
        meter = Meter.of(server)
        firsts, *found = [{way: measure(way, tasks, server, meter) for way in WAYS} for tasks in (1, *sizes)]
    publish(section(sizes, firsts, found, meter.idle))


def section(
    sizes: Sequence[int], firsts: Mapping[str, Cost], found: Sequence[Mapping[str, Cost]], idle: float
) -> Section:
    options = "" if sizes == SIZES else f" --tasks {' '.join(map(str, sizes))}"
    return Section(
        "mapping",
        "Mapping: what a task costs",
        f"python -m benchmarks.mapping{options}",
        [Table(f"{costs[OURS].tasks:,} tasks.", COLUMNS, rows(costs, firsts)) for costs in found],
        [*map(aim, found), *notes(idle)],
    )


def notes(idle: float) -> list[str]:
    return [
        "One flow run each, in a process of its own, under one Prefect server with the settings of the "
        "checkout's `prefect.toml`. The task is the same: async, it yields to its loop once and returns "
        "its number; every result was checked.",
        f"`EventLoopTaskRunner` admits {MAX_PARALLEL} tasks at once, as in the pipeline, and so does the "
        "semaphore; `ThreadPoolTaskRunner` by itself starts as many threads as there are tasks waiting.",
        "*Client CPU* is of the whole process from the call of the flow to its exit, with what a flow run "
        "costs once, and without Python's start and the imports. *Of each but the first*: less that of a "
        "flow run with a single task.",
        "*Server CPU* counts until the server has caught up: every task run is completed in its "
        f"database, there are {EVENTS} events for each, and for {QUIET_LOOKS} s it has used no "
        f"more than when idle, which is {idle:.1%} of a core and is taken off. *Behind* is how long that "
        "took after the client's end.",
        "Left out: tasks that do real work, of which the runner's share is smaller; sync tasks; Dask; Ray.",
    ]


if __name__ == "__main__":
    main()

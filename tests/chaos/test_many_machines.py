"""A fan-out over machines that die or lose their network: every row exactly once, at the shared pace."""

from __future__ import annotations

import gc
import os
import subprocess
import threading
import time
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from datetime import datetime
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from simulator.dialect import Question
from simulator.scenario import Scenario
from simulator.server import Server, serve
from simulator.stats import count_busiest_second
from tests.chaos.fault_log import FaultLog
from tests.chaos.machines import Machine, Network, kill_flow_run, network, postgresql_at
from tests.chaos.truth import seen_content, true_content
from tests.support.acme import TOKEN, spec_file, wms
from tests.support.operator import Operator
from tests.support.prefect_server import PrefectServer
from tests.support.waiting import until

RATE = 60  # requests/s, of all machines together
WAREHOUSES = tuple(f"WH-{number:02}" for number in range(1, 13))
RECORDS = 100_000  # of each
MAX_PARALLEL = 6
PER_RUN = 2  # warehouses
SLOTS = ("3", "2", "2")  # flow runs on each machine; the first has the fan-out itself too
WARM_UP = 30.0  # seconds from the start of the last process to the full pace
UNDISTURBED = 60.0  # seconds at the full pace, before the first fault
WAIT_FOR_A_CORE = 0.1  # seconds from sending a request to counting it while processes start: some arrive late
IDLE = 0.05  # share of the CPU; with less, requests wait on this machine for a core and arrive late
CUT_OFF = 30.0  # seconds
TIMEOUT = 1800.0  # seconds per attempt
WEEK = {"start": "2026-03-01T00:00:00Z", "end": "2026-03-08T00:00:00Z"}
PARTS: dict[str, Any] = {
    "paging": {"page_size": 51},  # ten pages a chunk: a task run costs more than a request
    "window": {"params": {"start": "start", "end": "end"}},
    "warehouses": {"path": "records", "field": "code"},
    "pace": {"requests_per_second": RATE, "shared_limit": "fleet"},
}


@contextmanager
def prefect_at(address: str, database: str, home: Path) -> Iterator[PrefectServer]:
    """A Prefect server on PostgreSQL that every machine can reach."""
    connection = {
        "PREFECT_SERVER_DATABASE_CONNECTION_URL": f"postgresql+asyncpg://{database}",
        "PREFECT_SERVER_DATABASE_SQLALCHEMY_POOL_SIZE": "20",
        "PREFECT_SERVER_DATABASE_SQLALCHEMY_MAX_OVERFLOW": "20",
    }
    server = PrefectServer.at(home, address, PREFECT_LOGGING_LEVEL="WARNING", **connection)
    with server.running():
        yield server


def deploy(operator: Operator, source: str) -> str:
    """Deploy a fleet as the README says. Return the id of the deployment of sync-warehouses."""
    operator.run("flows", "save-source", "wms", "--spec", source, "--token-env", "WMS_TOKEN")
    operator.run("prefect", "work-pool", "create", "sku-velocity", "--type", "process")
    operator.run("prefect", "--no-prompt", "deploy", "--all")
    operator.run("prefect", "automation", "create", "--from-file", "automations.yaml")
    return str(operator.get("/deployments/name/sku-velocity-sync-warehouses/sync-warehouses")["id"])


class Fleet:
    """A worker on each machine."""

    def __init__(self, operator: Operator, net: Network, home: Path) -> None:
        self._operator = operator
        self._home = home
        self._workers: list[subprocess.Popen[bytes]] = []
        self.machines = net.machines

    def start_worker(self, number: int) -> None:
        log, name = self._home / f"worker-{number}.log", f"machine-{number}-{time.monotonic_ns()}"
        within = self.machines[number].within
        options = ("--limit", SLOTS[number], "--name", name)
        self._workers.append(self._operator.start_worker(log, *options, within=within))

    def end(self) -> None:
        for machine in self.machines:
            machine.die()
        for worker in self._workers:
            worker.wait()

    def reading(self, parent: str) -> list[int]:
        """Return the number of warehouses that each machine is reading."""
        return [len(machine.flow_runs - {parent}) for machine in self.machines]


class Pace:
    """The requests as they arrived at the source, and whether this machine had CPU time for more."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._idle: dict[float, tuple[int, int]] = {}

    def mark(self) -> float:
        """Return the monotonic time, and record the CPU's idle time until now."""
        now = time.monotonic()
        ticks = [int(each) for each in Path("/proc/stat").read_text().splitlines()[0].split()[1:9]]
        self._idle[now] = ticks[3], sum(ticks)
        return now

    def idle(self, since: float, until: float) -> float:
        """Return the idle share of this machine's CPU between two marks."""
        (idle, total), (idle_then, total_then) = self._idle[until], self._idle[since]
        return (idle - idle_then) / max(1, total - total_then)

    def rate(self, since: float, until: float) -> float:
        """Return the requests/s between two instants of the monotonic clock."""
        arrivals = self._server.simulator.recorder.arrivals.copy()
        return (bisect_left(arrivals, until) - bisect_left(arrivals, since)) / (until - since)

    def busiest_second(self, since: float, until: float) -> int:
        """Return the most requests within one second between two instants."""
        arrivals = self._server.simulator.recorder.arrivals.copy()
        return count_busiest_second(arrivals[bisect_left(arrivals, since) : bisect_left(arrivals, until)])

    def describe(self, moments: Sequence[tuple[str, float]]) -> Iterator[str]:
        for (what, since), (_, end) in pairwise(moments):
            rate = self.rate(since, end)
            yield (
                f"{what}, for {end - since:.0f} s: {rate:.1f} requests/s, {rate / RATE:.3f} of the ceiling; "
                f"busiest second: {self.busiest_second(since, end)}; CPU idle: {self.idle(since, end):.0%}"
            )


@pytest.mark.long
@pytest.mark.usefixtures("worker")
def test_a_killed_fan_out_finds_its_runs_again_and_starts_none_twice(
    operator: Operator, tmp_path: Path, sqlite_url: str, fault_log: FaultLog
) -> None:
    pace = {"requests_per_second": 20, "shared_limit": "killed-fan-out"}  # slow enough to be killed midway
    with wms(tmp_path, warehouses=WAREHOUSES[:2]) as (server, _):
        source = spec_file(server, tmp_path, **{**PARTS, "paging": {"page_size": 9}, "pace": pace})
        request = {"source": source, "store": sqlite_url, "token_env": "WMS_TOKEN", **WEEK}
        deployment = operator.get("/deployments/name/sku-velocity-sync-warehouses/sync-warehouses")["id"]
        parent = operator.start_run(deployment, request)
        until(lambda: {page.warehouse for page in server.stats().pages} >= set(WAREHOUSES[:2]))
        kill_flow_run(parent)
        assert operator.wait_for_end(parent, attempt=1)["state_type"] == "CRASHED"
        time.sleep(20)  # a worker reports the crash again, which would end the new attempt
        begun, started = runs_of(operator, parent), time.monotonic()
        operator.press_retry(parent)
        ended = operator.wait_for_end(parent, attempt=2)
        if ended["state_type"] == "CRASHED":  # by that report, later than expected
            operator.press_retry(parent)
            ended = operator.wait_for_end(parent, attempt=3)
        assert ended["state_name"] == "Complete"
        seconds = time.monotonic() - started
        assert runs_of(operator, parent) == begun and len(begun) == 2
        again = [page for page in server.stats().read_again if page.warehouse != "/warehouses"]
        assert not [page for page in again if page.count > 2]
        for name in WAREHOUSES[:2]:
            fault = "a fan-out killed, then Retry"
            fault_log.record(fault, true_content(server, name), seen_content(sqlite_url, name), seconds)


@pytest.mark.long
@pytest.mark.usefixtures("worker")
def test_a_killed_group_is_resumed_by_retry_and_reads_only_what_is_left(
    operator: Operator, tmp_path: Path, sqlite_url: str, fault_log: FaultLog
) -> None:
    pace = {"requests_per_second": 20, "shared_limit": "killed-group"}  # slow enough to be killed midway
    names = WAREHOUSES[:6]  # more than are read at the same time
    with wms(tmp_path, warehouses=names, records=300) as (server, _):
        source = spec_file(server, tmp_path, **{**PARTS, "paging": {"page_size": 9}, "pace": pace})
        request = {"source": source, "store": sqlite_url, "token_env": "WMS_TOKEN", **WEEK}
        deployment = operator.get("/deployments/name/sku-velocity-sync-warehouses/sync-warehouses")["id"]
        parent = operator.start_run(deployment, request | {"max_parallel": 1, "warehouses_per_run": 6})
        until(lambda: len({page.warehouse for page in server.stats().pages} & {*names}) > 4)  # one is read
        [child] = runs_of(operator, parent)
        kill_flow_run(child)
        assert operator.wait_for_end(parent, attempt=1)["state_name"] == "Incomplete"
        whole = [name for name in names if seen_content(sqlite_url, name).total()]
        time.sleep(20)  # a worker reports the crash again, which would end the new attempt
        server.reset_stats()
        started = time.monotonic()
        operator.press_retry(parent)
        assert operator.wait_for_end(parent, attempt=2)["state_name"] == "Complete"
        seconds = time.monotonic() - started
        assert runs_of(operator, parent) == {child}
        assert whole and not {page.warehouse for page in server.stats().pages} & set(whole)
        for name in names:
            fault = "a group of warehouses killed, then Retry"
            fault_log.record(fault, true_content(server, name), seen_content(sqlite_url, name), seconds)


@pytest.mark.long
def test_every_row_is_published_once_if_one_machine_dies_and_one_is_cut_off(
    tmp_path: Path, fault_log: FaultLog
) -> None:
    scenario = Scenario(
        token=TOKEN, warehouses=WAREHOUSES, records=RECORDS, requests_per_second=RATE, latency=0.02
    )
    with ExitStack() as stack:
        net = stack.enter_context(network(len(SLOTS)))
        database = stack.enter_context(postgresql_at(net.address, ["prefect", "store"]))
        source = stack.enter_context(serve(scenario, host=net.address))
        prefer_simulator(source)
        stack.callback(gc.unfreeze)
        prefect = stack.enter_context(prefect_at(net.address, f"postgres@{database}/prefect", tmp_path))
        store = f"postgresql://postgres@{database}/store"
        operator = Operator(prefect, store)
        stack.enter_context(operator.api)
        deployment = deploy(operator, spec_file(source, tmp_path, **PARTS))
        fleet, pace = Fleet(operator, net, tmp_path), Pace(source)
        stack.callback(fleet.end)
        fleet.start_worker(0)
        request = {"source": "wms", "warehouses": [], "store": store, "max_parallel": MAX_PARALLEL, **WEEK}
        request["warehouses_per_run"] = PER_RUN
        parent = operator.start_run(deployment, request)
        until(lambda: parent in net.machines[0].flow_runs)  # the machine that the fan-out itself is on
        fleet.start_worker(1)
        fleet.start_worker(2)
        moments = list(disturb(fleet, pace, parent))
        first = operator.wait_for_end(parent, attempt=1, timeout=TIMEOUT)
        moments.append(("Retry, from a new machine's start on", pace.mark()))
        assert (first["state_type"], first["state_name"]) == ("FAILED", "Incomplete"), first["state"]
        before = runs_of(operator, parent)
        fleet.start_worker(1)
        operator.press_retry(parent)
        second = operator.wait_for_end(parent, attempt=2, timeout=TIMEOUT)
        moments.append(("", pace.mark()))
        seconds = moments[-1][1] - moments[-2][1]
        for line in pace.describe(moments):
            fault_log.note(line)
        throttled = source.stats().throttled
        fault_log.note(f"answered with 429: {throttled}")
        assert (second["state_type"], second["state_name"]) == ("COMPLETED", "Complete"), second["state"]
        assert runs_of(operator, parent) == before and len(before) == len(WAREHOUSES) / PER_RUN
        for name in WAREHOUSES:
            fault = "one machine dies, one is cut off for 30 s, then Retry"
            fault_log.record(fault, true_content(source, name), seen_content(store, name), seconds)
        undisturbed = moments[0][1], moments[1][1]
        if pace.idle(*undisturbed) < IDLE:
            fault_log.note("other processes kept this machine busy: the pace was not checked")
            return
        assert pace.busiest_second(0, moments[-1][1]) <= RATE * (1 + WAIT_FOR_A_CORE)
        assert throttled <= 0.002 * source.stats().requests
        assert pace.rate(*undisturbed) >= 0.95 * RATE


def prefer_simulator(server: Server) -> None:
    """Keep the simulator from waiting for anything: its clock counts and admits the requests.

    Fill its caches for each warehouse, exempt its millions of objects from garbage collection, and raise its
    threads' priority.
    """
    for name in WAREHOUSES:
        server.simulator.dataset.page(Question(0, 1, name, *map(datetime.fromisoformat, WEEK.values())))
    gc.collect()
    gc.freeze()
    for thread in threading.enumerate():
        if thread.name.startswith("simulator") and thread.native_id:
            os.setpriority(os.PRIO_PROCESS, thread.native_id, -10)


def disturb(fleet: Fleet, pace: Pace, parent: str) -> Iterator[tuple[str, float]]:
    """Let all machines read, then kill one and cut one off. Yield each phase and its start."""
    until(lambda: sum(fleet.reading(parent)) == MAX_PARALLEL, TIMEOUT)
    time.sleep(WARM_UP)
    yield "all three machines", pace.mark()
    time.sleep(UNDISTURBED)
    dying, isolated = fleet.machines[1], fleet.machines[2]
    assert all(fleet.reading(parent)), "each machine reads something"
    yield "one has died, by kill -9", pace.mark()
    dying.die()
    time.sleep(20)
    yield "another is cut off", pace.mark()
    cut_off(isolated)
    yield "it is reconnected, and the dead one's share is taken over after 20 s", pace.mark()
    time.sleep(40)
    yield "two machines, until all that can be read is read", pace.mark()


def cut_off(machine: Machine) -> None:
    machine.unplug()
    try:
        time.sleep(CUT_OFF)
    finally:
        machine.plug_in()


def runs_of(operator: Operator, parent: str) -> set[str]:
    """Return the ids of the flow runs that a fan-out has started."""
    request = {"flow_runs": {"parent_flow_run_id": {"any_": [parent]}}}
    return {each["id"] for each in operator.post("/flow_runs/filter", request)}

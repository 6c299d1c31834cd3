"""Where the time of one chunk of 1,000 records goes: `python -m benchmarks.chunk`, about 9 minutes."""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from statistics import median
from typing import Literal

from benchmarks import tools
from benchmarks.processes import (
    Service,
    family_cpu,
    postgresql,
    prefect_server,
    quiet_environment,
    run,
    simulator,
)
from benchmarks.report import Cell, Section, Table, publish
from benchmarks.rungs import WARM_UP
from benchmarks.server_cost import QUIET_LOOKS, Meter
from benchmarks.tools import Job

CHUNKS, REPEATS = 180, 3
PAGE = 999  # new records of a page of 1,000: one overlaps with the previous page
COLUMNS = ("step", "CPU ms", "of the chunk's", "wall ms", "server's CPU ms")
ONCE = ("process", "CPU ms", "equal to, chunks")


@dataclass(frozen=True)
class Rung:
    """The processing of a chunk up to some step, in a separate process."""

    name: str
    module: Literal["rungs", "task_rungs", "flows"] = "rungs"
    database: Literal["SQLite", "PostgreSQL"] = "SQLite"
    more: Literal["", "unmapped", "mapped"] = ""  # four more fields in each record

    @property
    def is_under_prefect(self) -> bool:
        return self.module != "rungs"

    def command(self, job: Job, chunks: int) -> list[str]:
        if self.module == "flows":
            return tools.flow().command(job)
        store = job.postgresql or f"sqlite:///{job.home}/velocity.db"
        spec = tools.spec(job, pages_per_chunk=1, **(MORE if self.more == "mapped" else {}))
        return [sys.executable, "-m", f"benchmarks.{self.module}", self.name, spec, store, str(chunks)]


MORE = {"movement_type": "type", "order_id": "order", "location_id": "bin", "unit_of_measure": "uom"}
FETCH, READ, WRITE = Rung("fetch"), Rung("read"), Rung("write")
WRITE_POSTGRESQL = Rung("write", database="PostgreSQL")
UNMAPPED, MAPPED = Rung("write", more="unmapped"), Rung("write", more="mapped")
TASK, ARTIFACT = Rung("task", "task_rungs"), Rung("artifact", "task_rungs")
FLOW = Rung("flow", "flows")
RUNGS = (FETCH, READ, WRITE, WRITE_POSTGRESQL, UNMAPPED, MAPPED, TASK, ARTIFACT, FLOW)


@dataclass(frozen=True)
class Cost:
    """Milliseconds: CPU and wall time of the client; CPU of the server, Prefect's or PostgreSQL's."""

    cpu: float
    wall: float
    server: float = 0.0

    def __sub__(self, other: Cost) -> Cost:
        return Cost(self.cpu - other.cpu, self.wall - other.wall, self.server - other.server)


@dataclass(frozen=True)
class Climb:
    """One process: its cost from the warm-up to its end, and its CPU ms until the imports were done."""

    cost: Cost
    imports: float
    cpu: float


@dataclass(frozen=True)
class Finding:
    """The cost of a chunk up to a rung, and the imports and other costs once per process, in CPU ms."""

    per_chunk: Cost
    imports: float
    once: float


def assess(without: Sequence[Climb], with_chunks: Sequence[Climb], chunks: int) -> Finding:
    """Compare the medians of runs that end after the warm-up with runs that read `chunks` more."""
    none, all_ = middle(without), middle(with_chunks)
    more = all_ - none
    per_chunk = Cost(more.cpu / chunks, more.wall / chunks, more.server / chunks)
    imports = median(climb.imports for climb in without)
    once = median(climb.cpu for climb in without) - imports - WARM_UP * per_chunk.cpu
    return Finding(per_chunk, imports, once)


def middle(climbs: Sequence[Climb]) -> Cost:
    """Return the median of each figure."""
    costs = [climb.cost for climb in climbs]
    return Cost(*(median(getattr(cost, name) for cost in costs) for name in ("cpu", "wall", "server")))


class Bench:
    """The servers shared by the processes, and a new home and database for each process."""

    def __init__(self, stack: ExitStack, chunks: int) -> None:
        self._chunks = chunks
        self._postgresql = stack.enter_context(postgresql())
        home = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="chunk-")))
        self._prefect = stack.enter_context(prefect_server(home))
        self._meter = Meter.of(self._prefect)
        more = [option for name in MORE.values() for option in ("--extra-field", name)]
        self._sources: Mapping[tuple[int, bool], Service] = {
            (number, has_more): stack.enter_context(
                simulator("--records", str((WARM_UP + number) * PAGE), *(more if has_more else ()))
            )
            for number in (0, chunks)
            for has_more in (False, True)
        }
        self._databases = (f"chunk_{number}" for number in count())
        self._climb(TASK, 0)  # a server's first flow run costs more

    def measure(self, rung: Rung, repeats: int) -> Finding:
        climbs: dict[int, list[Climb]] = {number: [] for number in (0, self._chunks)}
        for _ in range(repeats):
            for number, found in climbs.items():
                found.append(self._climb(rung, number))
                print(rung, number, found[-1], file=sys.stderr)
        return assess(climbs[0], climbs[self._chunks], self._chunks)

    def _climb(self, rung: Rung, chunks: int) -> Climb:
        database = next(self._databases) if rung.database == "PostgreSQL" else ""
        with tempfile.TemporaryDirectory(prefix="chunk-") as directory:
            if database:
                self._postgresql.psql(f"CREATE DATABASE {database};")
            url = self._postgresql.get_uri(database=database) if database else ""
            source = self._sources[chunks, bool(rung.more)]
            job = Job(source.url, Path(directory), postgresql=url)
            climb = self._run(rung, job, chunks)
            if database:
                self._postgresql.psql(f"DROP DATABASE {database} WITH (FORCE);")
            return climb

    def _run(self, rung: Rung, job: Job, chunks: int) -> Climb:
        environment = quiet_environment(job.home, PREFECT_API_URL=self._prefect.url)
        self._meter.start()
        server_before = self._database_cpu(rung)
        ran = run(rung.command(job, chunks), job.home, environment, job.name)
        server = self._database_cpu(rung) - server_before
        if rung.is_under_prefect:
            server = self._meter.stop().cpu
        if ran.exit_code:
            raise RuntimeError(f"{rung}: {job.errors.read_text()[-2000:]}")
        reported = {"imported": 0.0, "begun": 0.0, "wall": ran.wall}
        if rung is not FLOW:
            reported = json.loads(job.output.read_text().splitlines()[-1])
        cost = Cost(1000 * (ran.cpu - reported["begun"]), 1000 * reported["wall"], 1000 * server)
        return Climb(cost, 1000 * reported["imported"], 1000 * ran.cpu)

    def _database_cpu(self, rung: Rung) -> float:
        pid = self._postgresql.get_pid() if rung.database == "PostgreSQL" else None
        return family_cpu(pid) if pid else 0.0


def steps_of(found: Mapping[Rung, Finding]) -> list[list[Cell]]:
    """Return the table's rows: each step as the difference between two rungs, and their sum."""
    cost = {rung: finding.per_chunk for rung, finding in found.items()}
    chunk = cost[ARTIFACT]
    parts = {
        "fetch": cost[FETCH],
        "parse, validate": cost[READ] - cost[FETCH],
        "write, SQLite": cost[WRITE] - cost[READ],
        "orchestrate: the task run": cost[TASK] - cost[WRITE],
        "artifact": cost[ARTIFACT] - cost[TASK],
        "**the chunk, into SQLite**": chunk,
        "write, PostgreSQL, in place of SQLite": cost[WRITE_POSTGRESQL] - cost[READ],
        "four more fields, not mapped": cost[UNMAPPED] - cost[WRITE],
        "four more fields, mapped": cost[MAPPED] - cost[UNMAPPED],
        "the whole flow, 12 requests in flight": cost[FLOW],
    }
    return [
        [name, part.cpu, f"{part.cpu / chunk.cpu:.0%}", part.wall, part.server or None]
        for name, part in parts.items()
    ]


def once_of(found: Mapping[Rung, Finding]) -> list[list[Cell]]:
    """Return the table's rows: the cost once per process, and the number of chunks that cost as much."""
    rows: list[list[Cell]] = []
    for name, rung in {"without Prefect": WRITE, "under Prefect": ARTIFACT}.items():
        finding = found[rung]
        parts = {"Python's start and imports": finding.imports, "opening, planning, ending": finding.once}
        rows += [[f"{name}: {part}", cpu, cpu / finding.per_chunk.cpu] for part, cpu in parts.items()]
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.chunk", description=__doc__)
    parser.add_argument(
        "--repeats", type=int, default=REPEATS, help=f"runs of each kind. Default: {REPEATS}."
    )
    repeats = parser.parse_args().repeats
    with ExitStack() as stack:
        bench = Bench(stack, CHUNKS)
        found = {rung: bench.measure(rung, repeats) for rung in RUNGS}
    options = "" if repeats == REPEATS else f" --repeats {repeats}"
    tables = [
        Table("One chunk: a page of 1,000 records, 999 of them new.", COLUMNS, steps_of(found)),
        Table("Once per process, independent of what it reads.", ONCE, once_of(found)),
    ]
    publish(
        Section(
            "chunk",
            "Where a chunk's time goes",
            f"python -m benchmarks.chunk{options}",
            tables,
            notes(repeats),
        )
    )


def notes(repeats: int) -> list[str]:
    return [
        "Each step is the difference between two programs that run the pipeline's own code, each in a "
        "process of its own, the longer one a step further: fetch; also parse and validate; also write, "
        "with the ledger; the same in a task of a flow on `EventLoopTaskRunner`; the flow's own task, which "
        "publishes an artifact too. One chunk after the other, so that no two wait at once.",
        f"Of a process, the CPU after {WARM_UP} chunks is counted up to its exit, and that of one that ends "
        f"there is taken off; {CHUNKS} chunks, medians of {repeats} runs. A step much cheaper than the ones "
        "before it is the less exact.",
        "*Server's CPU* is PostgreSQL's when writing to it, otherwise that of the Prefect server "
        f"until it has been quiet for {QUIET_LOOKS} s, less what it takes when idle. *The whole flow* is "
        "`python -m flows sync`, a long window less a short one: also plan, proof, publication and bar, "
        "with chunks side by side.",
        "*Four more fields* are text in each record, up to the write into SQLite: what they cost if the spec "
        "does not map them, and what it costs besides to map and store them.",
        "The WMS is a process of its own on loopback without latency and TLS.",
    ]


if __name__ == "__main__":
    main()

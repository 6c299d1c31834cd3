"""From the source into a durable store: what each reader costs, in seconds of wall and of CPU."""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from statistics import median

from benchmarks import tools
from benchmarks.processes import Service, postgresql, prefect_server, quiet_environment, run, simulator
from benchmarks.report import Cell, Section, Table, publish
from benchmarks.tools import Job, Tool

ONE_PAGE = 1000
REPEATS = 3
BARE, DLT, SLOW, SCRIPT = "bare httpx", "dlt, replace", "dlt, default format", "httpx script"
COLUMNS = (
    "reader",
    "into",
    "wall s",
    "CPU s",
    "of it start",
    "records per CPU s",
    "of the bare reader's",
    "times dlt's",
    "speed, times the script's",
    "Prefect server CPU s",
    "WMS busy",
)


@dataclass(frozen=True)
class Plan:
    """How much is read, at which latencies in milliseconds, how often, and by which readers not."""

    name: str
    records: int
    latencies: tuple[int, ...]
    repeats: int
    without: tuple[str, ...] = ()

    @property
    def runs(self) -> str:
        return f"medians of {self.repeats} runs" if self.repeats > 1 else "one run each"


SHORT = Plan("end_to_end", 100_000, (0, 20, 80), REPEATS)
MILLION = Plan("end_to_end_million", 1_000_000, (0, 80), 1, without=(SLOW,))


@dataclass(frozen=True)
class Cost:
    """One reading of `records`, in seconds: wall and CPU of the reader, CPU of the two servers beside it."""

    records: int
    wall: float
    cpu: float
    source_cpu: float = 0.0
    prefect_cpu: float = 0.0

    @property
    def records_per_cpu_second(self) -> float:
        return self.records / self.cpu


def middle(costs: Sequence[Cost]) -> Cost:
    """The median of each figure over some readings of the same records."""
    figures = ("wall", "cpu", "source_cpu", "prefect_cpu")
    medians = {name: median(getattr(cost, name) for cost in costs) for name in figures}
    return Cost(costs[0].records, **medians)


def readers() -> list[Tool]:
    return [
        tools.bare(parse=False),
        tools.bare(parse=True),
        tools.steps("SQLite"),
        tools.steps("PostgreSQL"),
        tools.flow("SQLite"),
        tools.flow("PostgreSQL"),
        tools.dlt("DuckDB"),
        tools.dlt("PostgreSQL"),
        tools.dlt("DuckDB", tuned=False),
        tools.airbyte("short-page"),
        tools.singer(),
        tools.sequential(),
    ]


class Bench:
    """The servers that all readers share, and a new home and database for each reading."""

    def __init__(self, stack: ExitStack) -> None:
        self._work = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="end-to-end-")))
        self._postgresql = stack.enter_context(postgresql())
        self._prefect = stack.enter_context(prefect_server(self._home()))
        self._databases = (f"bench_{number}" for number in count())

    def measure(self, readers: Sequence[Tool], records: int, latency: int, repeats: int) -> dict[Tool, Cost]:
        """The median cost of each reader; they take turns, so that a noisy minute strikes them all."""
        costs: dict[Tool, list[Cost]] = {tool: [] for tool in readers}
        with simulator("--records", str(records), "--latency-ms", str(latency)) as source:
            for _ in range(repeats):
                for tool, found in costs.items():
                    found.append(self._read(tool, source, records))
                    print(records, latency, tool.name, tool.destination, found[-1], file=sys.stderr)
        return {tool: middle(found) for tool, found in costs.items()}

    def _read(self, tool: Tool, source: Service, records: int) -> Cost:
        job = Job(source.url, self._home(), postgresql=self._database())
        environment = quiet_environment(job.home, PREFECT_API_URL=self._prefect.url)
        source_before, prefect_before = source.cpu, self._prefect.cpu
        ran = run(tool.command(job), job.home, environment, job.name)
        source_cpu, prefect_cpu = source.cpu - source_before, self._prefect.cpu - prefect_before
        if ran.exit_code or (kept := tool.kept(job).total()) != records:
            found = f"exit code {ran.exit_code}" if ran.exit_code else f"{kept} of {records} records"
            raise RuntimeError(f"{tool.name}: {found}\n{(job.home / f'{job.name}.err').read_text()[-2000:]}")
        return Cost(records, ran.wall, ran.cpu, source_cpu, prefect_cpu if tool.uses_prefect else 0.0)

    def _home(self) -> Path:
        return Path(tempfile.mkdtemp(dir=self._work))

    def _database(self) -> str:
        name = next(self._databases)
        self._postgresql.psql(f"CREATE DATABASE {name};")
        return self._postgresql.get_uri(database=name)


def rows(costs: Mapping[Tool, Cost], starts: Mapping[Tool, Cost]) -> list[list[Cell]]:
    """The table's rows: each reader's figures, and their ratios to those of three others."""
    by_name = {(tool.name, tool.destination): cost for tool, cost in costs.items()}
    bare = by_name[BARE, "nothing"].records_per_cpu_second
    dlt, script = by_name[DLT, "DuckDB"].records_per_cpu_second, by_name[SCRIPT, "SQLite"].wall
    return [
        [
            tool.name,
            tool.destination,
            cost.wall,
            cost.cpu,
            min(starts[tool].cpu, cost.cpu),
            round(cost.records_per_cpu_second),
            cost.records_per_cpu_second / bare,
            cost.records_per_cpu_second / dlt,
            script / cost.wall,
            cost.prefect_cpu or None,
            f"{cost.source_cpu / cost.wall:.0%}",
        ]
        for tool, cost in costs.items()
    ]


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.end_to_end")
    parser.add_argument("--million", action="store_true", help="1,000,000 records, not 100,000; once")
    plan = MILLION if parser.parse_args().million else SHORT
    with ExitStack() as stack:
        bench = Bench(stack)
        compared = [tool for tool in readers() if tool.name not in plan.without]
        starts = bench.measure(compared, ONE_PAGE, 0, REPEATS)
        tables = []
        for latency in plan.latencies:
            costs = bench.measure(compared, plan.records, latency, plan.repeats)
            tables.append(table(plan, latency, costs, starts))
            publish(section(plan, tables))  # each as it comes: the next one may take an hour


def table(plan: Plan, latency: int, costs: Mapping[Tool, Cost], starts: Mapping[Tool, Cost]) -> Table:
    title = f"{plan.records:,} records in pages of 1,000, each answer {latency} ms later; {plan.runs}."
    return Table(title, COLUMNS, rows(costs, starts))


def section(plan: Plan, tables: Sequence[Table]) -> Section:
    return Section(
        plan.name,
        f"From the source into a durable store: {plan.records:,} records",
        "python -m benchmarks.end_to_end" + " --million" * (plan is MILLION),
        tables,
        NOTES,
        tools.peer_versions(),
    )


NOTES = (
    "Wall and CPU seconds are of the reader's whole process, Python's start and its imports included; "
    "*of it start* is the CPU of the same command for a single page of records. Every run was seen to "
    "leave all records in its destination.",
    "*Bare httpx* reads with 12 requests in flight and keeps nothing: the ceiling. *Its steps* are the "
    "pipeline without Prefect; *the flow* is `python -m flows sync` under a Prefect server, whose CPU "
    "stands apart. Ours reads with at most 12 requests in flight and no ceiling of requests/s, "
    "validates each record, keeps a ledger and proves the window whole; no other does any of these "
    "three.",
    "*dlt, replace* writes Parquet for DuckDB and CSV for PostgreSQL, the quickest of its formats for "
    "each; *times dlt's* is by its DuckDB row. *Default format* is what it does for DuckDB when told "
    "nothing, `insert_values`. Airbyte CDK and singer-sdk write JSON lines to a file and leave the "
    "loading to another process, which is not measured. The httpx script reads one page after the other"
    " and writes without any check.",
    "The WMS is a process of its own on the same machine: *busy* is its CPU by the reader's wall time. "
    "PostgreSQL's CPU is in no figure. Loopback has no latency but the one that is told, and no TLS.",
    "Left out: a ceiling of requests/s, under which all readers that reach it take the same time; "
    "memory; time slices read side by side, which Airbyte CDK can do where the API filters by time.",
)

if __name__ == "__main__":
    main()

"""The cost of each reader from the source into a durable store, in wall and CPU seconds.

`python -m benchmarks.end_to_end`, about 5 minutes; with `--million`, about 18 and 3 GB of disk space.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass

from benchmarks import tools
from benchmarks.reading import Bench, Cost
from benchmarks.report import Cell, Section, Table, publish, target
from benchmarks.tools import Tool

ONE_PAGE = 1000
REPEATS = 3
BARE, DLT, SLOW, SCRIPT = "bare httpx", "dlt, replace", "dlt, default format", "httpx script"
PARSED, AIRBYTE, SINGER = "bare httpx, JSON parsed", "Airbyte CDK, short page", "singer-sdk"
FLOW, STEPS, STORES = "sku-velocity, the flow", "sku-velocity, its steps", ("SQLite", "PostgreSQL")
# Our targets: times dlt's records per CPU second by reader and records, and times the script's speed.
TIMES_DLT = {(STEPS, 1_000_000): 3.0, (FLOW, 1_000_000): 2.2, (FLOW, 100_000): 1.2}
TIMES_SCRIPT = 8
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
    "PostgreSQL CPU s",
    "WMS busy",
)


@dataclass(frozen=True)
class Plan:
    """The number of records, latencies in milliseconds, repeats, and the readers to leave out."""

    name: str
    records: int
    latencies: tuple[int, ...]
    repeats: int
    without: tuple[str, ...] = ()

    @property
    def runs(self) -> str:
        return f"medians of {self.repeats} runs" if self.repeats > 1 else "one run each"


SHORT = Plan("end_to_end", 100_000, (0,), REPEATS, without=(SLOW,))
MILLION = Plan("end_to_end_million", 1_000_000, (0, 80), 1, without=(SLOW, PARSED, AIRBYTE, SINGER))


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


def rows(costs: Mapping[Tool, Cost], starts: Mapping[Tool, Cost]) -> list[list[Cell]]:
    """Return the table's rows: each reader's figures, and their ratios to those of three others."""
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
            cost.postgresql_cpu or None,
            f"{cost.source_cpu / cost.wall:.0%}",
        ]
        for tool, cost in costs.items()
    ]


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.end_to_end")
    parser.add_argument(
        "--million", action="store_true", help="Read 1,000,000 records once. Default: 100,000."
    )
    plan = MILLION if parser.parse_args().million else SHORT
    with ExitStack() as stack:
        bench = Bench(stack)
        compared = [tool for tool in readers() if tool.name not in plan.without]
        starts = bench.measure(compared, ONE_PAGE, 0, REPEATS)
        tables: list[Table] = []
        notes: list[str] = []
        for latency in plan.latencies:
            costs = bench.measure(compared, plan.records, latency, plan.repeats)
            tables.append(table(plan, latency, costs, starts))
            notes += aims(plan, latency, costs)
            publish(section(plan, tables, notes))  # at once: the next one takes long


def table(plan: Plan, latency: int, costs: Mapping[Tool, Cost], starts: Mapping[Tool, Cost]) -> Table:
    title = f"{plan.records:,} records in pages of 1,000, each answer after {latency} ms; {plan.runs}."
    return Table(title, COLUMNS, rows(costs, starts))


def aims(plan: Plan, latency: int, costs: Mapping[Tool, Cost]) -> list[str]:
    """Return our targets at this latency, for both databases, and whether they are met."""
    by_name = {(tool.name, tool.destination): cost for tool, cost in costs.items()}
    dlt = by_name[DLT, "DuckDB"].records_per_cpu_second
    notes = []
    for name in (FLOW, STEPS):
        ours = {into: by_name[name, into] for into in STORES}
        least = TIMES_DLT.get((name, plan.records))
        if latency == 0 and least:
            times = {into: cost.records_per_cpu_second / dlt for into, cost in ours.items()}
            notes.append(aim(f"{name}, {least:g} times dlt's records per CPU second", times, least))
        if latency == 80:
            faster = {into: by_name[SCRIPT, "SQLite"].wall / cost.wall for into, cost in ours.items()}
            notes.append(aim(f"{name}, {TIMES_SCRIPT} times the script's speed", faster, TIMES_SCRIPT))
    return notes


def aim(goal: str, found: Mapping[str, float], least: float) -> str:
    values = ", ".join(f"{value:.3g} ({into})" for into, value in found.items())
    return target(goal, values, min(found.values()) >= least)


def section(plan: Plan, tables: Sequence[Table], notes: Sequence[str]) -> Section:
    return Section(
        plan.name,
        f"From the source into a durable store: {plan.records:,} records",
        "python -m benchmarks.end_to_end" + " --million" * (plan is MILLION),
        tables,
        [*notes, *NOTES],
        tools.peer_versions(),
    )


NOTES = (
    "Wall and CPU seconds are of the reader's whole process, Python's start and its imports included; "
    "*of it start* is the CPU of the same command for a single page of records. Every run was checked to "
    "leave each record in its destination exactly once.",
    "*Bare httpx* reads with 12 requests in flight and keeps nothing: the ceiling. *Its steps* are the "
    "pipeline without Prefect; *the flow* is `python -m flows sync` under a Prefect server, whose CPU "
    "is listed separately. Ours reads with at most 12 requests in flight and no ceiling of requests/s, "
    "validates each record, keeps a ledger and proves the window whole; no other does any of these "
    "three.",
    "*dlt, replace* writes Parquet for DuckDB and CSV for PostgreSQL, the quickest of its formats for "
    "each; *times dlt's* is by its DuckDB row. *Default format* is what it uses for DuckDB by itself, "
    "`insert_values`. Airbyte CDK and singer-sdk write JSON lines to a file and leave the "
    "loading to another process, which is not measured. The httpx script reads one page after the other"
    " and writes without any check.",
    "The WMS is a process of its own on the same machine: *busy* is its CPU by the reader's wall time. "
    "PostgreSQL runs in its own process, too, and is listed separately; SQLite and DuckDB run in the "
    "reader's. The Prefect server's CPU counts until it has caught up. Loopback has no latency except the "
    "given one, and no TLS.",
    "With 100,000 records the start of the flow, most of it Prefect's imports, weighs most; *Where a chunk's "
    "time goes* has the cost of each step of a page.",
    "Left out: a ceiling of requests/s, under which all readers that reach it "
    "take the same time; memory; time slices read side by side, which Airbyte CDK can do if the API "
    "filters by time.",
)

if __name__ == "__main__":
    main()

"""Memory and cost per record as a window grows: `python -m benchmarks.memory`, about 10 minutes.

Needs 8 GB of memory, as the simulated WMS holds its records in memory, and 2 GB of temporary disk space.
"""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import time
from argparse import ArgumentParser
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from importlib.metadata import version
from itertools import pairwise
from pathlib import Path

from benchmarks import tools
from benchmarks.processes import ROOT, high_water, prefect_server, quiet_environment, simulator
from benchmarks.report import Cell, Section, Table, publish, target
from benchmarks.tools import Job

SIZES = (10_000, 100_000, 1_000_000, 10_000_000)  # records
LARGEST = 1_000_000  # unless --largest says otherwise: the largest takes 5 minutes
BASE = 100_000  # the window whose peak the others are compared with
MOST_MEMORY = 1.1  # times that peak
MOST_COST = 1.05  # times the CPU per record of the next smaller window
BAD_RATIO = 0.01
PATIENCE = 1800.0  # seconds for one run
INTERVAL = 0.1  # seconds between two samples
COLUMNS = (
    "records",
    "peak MiB",
    f"times that of {BASE:,}",
    "CPU s",
    "CPU µs per record",
    "wall s",
    "records/s",
    "chunks",
)


@dataclass(frozen=True)
class Cost:
    """The cost of a sync of `records`: MiB of peak resident memory, CPU and wall seconds, and chunks."""

    records: int
    peak: float
    cpu: float
    wall: float
    chunks: int

    @property
    def cpu_per_record(self) -> float:
        """Return CPU microseconds per record, Python's start included."""
        return 1e6 * self.cpu / self.records


def measure(records: int, api_url: str, home: Path) -> Cost:
    """Measure a sync of `records` into a new SQLite store, and delete it."""
    home.mkdir()
    with simulator("--records", str(records), "--bad-ratio", str(BAD_RATIO)) as wms:
        job = Job(wms.url, home)
        peak, cpu, wall = watch(tools.flow().command(job), job, api_url)
    stored, chunks = count_published(home), json.loads(job.output.read_text().splitlines()[-1])["chunks"]
    if stored != round(records * (1 - BAD_RATIO)):
        raise RuntimeError(f"{stored:,} movements are published of {records:,} records")
    shutil.rmtree(home)
    return Cost(records, peak, cpu, wall, chunks)


def watch(command: Sequence[str], job: Job, api_url: str) -> tuple[float, float, float]:
    """Run a command. Return MiB of peak resident memory, CPU seconds and wall seconds.

    Raises RuntimeError if it fails or times out.
    """
    started, peak = time.monotonic(), 0.0
    environment = quiet_environment(job.home, PREFECT_API_URL=api_url)
    with job.output.open("wb") as output, job.errors.open("wb") as errors:
        process = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=output, stderr=errors)
        try:
            while not (ended := os.wait4(process.pid, os.WNOHANG))[0]:
                if time.monotonic() - started > PATIENCE:
                    raise RuntimeError(f"{' '.join(command)} has not ended after {PATIENCE:.0f} s")
                peak = max(peak, high_water(process.pid))
                time.sleep(INTERVAL)
            process.returncode = os.waitstatus_to_exitcode(ended[1])
        finally:
            process.kill()
    if process.returncode:
        raise RuntimeError(f"{' '.join(command)} failed: {job.errors.read_text()[-2000:]}")
    return peak, ended[2].ru_utime + ended[2].ru_stime, time.monotonic() - started


def count_published(home: Path) -> int:
    with closing(sqlite3.connect(home / "velocity.db")) as connection:
        found: int = connection.execute("SELECT count(*) FROM published_movements").fetchone()[0]
    return found


def rows(costs: Sequence[Cost]) -> list[list[Cell]]:
    base = base_of(costs)
    return [
        [
            cost.records,
            cost.peak,
            cost.peak / base.peak,
            cost.cpu,
            cost.cpu_per_record,
            cost.wall,
            cost.records / cost.wall,
            cost.chunks,
        ]
        for cost in costs
    ]


def base_of(costs: Sequence[Cost]) -> Cost:
    return next((cost for cost in costs if cost.records == BASE), costs[0])


def targets(costs: Sequence[Cost]) -> list[str]:
    """Return whether memory stayed flat from the base on, and whether the cost per record did not grow."""
    base, largest = base_of(costs), costs[-1]
    grown = largest.peak / base.peak
    steepest = max(
        (after.cpu_per_record / before.cpu_per_record for before, after in pairwise(costs)), default=1
    )
    return [
        target(
            f"{largest.records:,} records need at most {MOST_MEMORY} times the memory of {base.records:,}",
            f"{grown:.2f} times",
            grown <= MOST_MEMORY,
        ),
        target(
            f"a record of a larger window costs at most {MOST_COST} times one of the next smaller, in CPU",
            f"{steepest:.2f} times, at most",
            steepest <= MOST_COST,
        ),
    ]


def main() -> None:
    parser = ArgumentParser(prog="python -m benchmarks.memory", description=__doc__)
    parser.add_argument("--largest", type=int, default=LARGEST, help="Leave out windows with more records.")
    largest = parser.parse_args().largest
    with tempfile.TemporaryDirectory(prefix="memory-", ignore_cleanup_errors=True) as directory:
        home, costs = Path(directory), []
        with prefect_server(home) as server:
            for records in (size for size in SIZES if size <= largest):
                costs.append(measure(records, server.url, home / str(records)))
                print(costs[-1], file=sys.stderr)
    options = "" if largest == LARGEST else f" --largest {largest}"
    publish(
        Section(
            "memory",
            f"Memory and cost per record: from {costs[0].records:,} to {costs[-1].records:,} records",
            f"python -m benchmarks.memory{options}",
            [Table("`python -m flows sync` of one window into SQLite.", COLUMNS, rows(costs))],
            [*targets(costs), *NOTES],
            {"aiosqlite": version("aiosqlite")},
        )
    )


NOTES = (
    f"{BAD_RATIO:.0%} of the records are bad and end as dead letters; all others were checked to be "
    "published. A window has at most 200 chunks: beyond 200,000 records, a chunk is of several pages.",
    "Memory and CPU are of the whole process: Python and its start, Prefect, and what the tasks of the run "
    "leave behind. The simulated WMS and the Prefect server run in their own processes. One run each.",
)

if __name__ == "__main__":
    main()

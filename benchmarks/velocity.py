"""The cost of a refresh of velocity on each database: `python -m benchmarks.velocity`, about 5 minutes."""

from __future__ import annotations

import asyncio
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from datetime import UTC, date, datetime, timedelta
from importlib.metadata import version
from pathlib import Path

from benchmarks.processes import PATIENCE, high_water, postgresql
from benchmarks.report import Cell, Section, Table, publish, target
from sku_velocity.model.chunk import Chunk, Page, PageResult
from sku_velocity.model.movement import MovementRow
from sku_velocity.model.run import SyncRun
from sku_velocity.model.window import Window
from sku_velocity.steps.refresh_velocity import RefreshRequest, refresh
from sku_velocity.store import Store

MOVEMENTS, SKUS, DAYS = 1_000_000, 50_000, 91
FIRST = datetime(2026, 1, 1, tzinfo=UTC)
AS_OF = date(2026, 4, 1)  # the last of 91 days, which include the start of summer time
MOST_SECONDS, MOST_MEGABYTES = 10.0, 1024
ROUNDS = 3
FIGURES = ("skus", "lines", "seconds", "cpu", "megabytes")
COLUMNS = ("store", "round", "SKUs", "movements", "wall s", "CPU s", "peak MiB")


def main() -> None:
    rows: list[list[Cell]] = []
    for name, url in stores():
        with tempfile.TemporaryDirectory(prefix="velocity-") as home:
            asyncio.run(fill(url))
            for number in range(1, ROUNDS + 1):
                cost = in_process(url, home)
                print(name, cost, file=sys.stderr)
                rows.append([name, number, *(cost[figure] for figure in FIGURES)])
    publish(
        Section(
            "velocity",
            "What a refresh of velocity costs",
            "python -m benchmarks.velocity",
            [Table(f"{MOVEMENTS:,} movements of {SKUS:,} SKUs in {DAYS} days.", COLUMNS, rows)],
            [*targets(rows), *NOTES],
            {"pandas": version("pandas")},
        )
    )


def targets(rows: Sequence[Sequence[Cell]]) -> list[str]:
    """Return whether the slowest and the largest refresh stayed within the limits."""
    seconds, megabytes = (
        max(float(row[COLUMNS.index(column)] or 0) for row in rows) for column in ("wall s", "peak MiB")
    )
    return [
        target(f"a refresh in at most {MOST_SECONDS:.0f} s", f"{seconds:.1f} s", seconds <= MOST_SECONDS),
        target(f"in at most {MOST_MEGABYTES} MiB", f"{megabytes:.0f} MiB", megabytes <= MOST_MEGABYTES),
    ]


def stores() -> Iterator[tuple[str, str]]:
    """Yield the name and URL of an empty store on each database."""
    with tempfile.TemporaryDirectory(prefix="velocity-") as home:
        yield "SQLite", f"sqlite:///{home}/store.db"
    with postgresql() as server:
        yield "PostgreSQL", server.get_uri()


async def fill(url: str) -> None:
    """Publish the movements in one window per day: half of them of few SKUs, half of any."""
    draw = random.Random(91)
    async with Store.open(url) as store:
        for day in range(DAYS):
            window = Window(FIRST + timedelta(days=day), FIRST + timedelta(days=day + 1))
            number = MOVEMENTS // DAYS + (day < MOVEMENTS % DAYS)
            rows = [random_row(draw, position, window) for position in range(number)]
            run = SyncRun(f"day-{day}", "benchmark", "WH-01", window, number)
            await store.runs.begin(run, [Chunk(0, 0, number, number)])
            await store.chunks.land_page(run.id, 0, PageResult(Page(0, number), number, rows, []))
            await store.publications.publish(run.id, "{}")


def random_row(draw: random.Random, position: int, window: Window) -> MovementRow:
    frequent = draw.random() < 0.5
    sku = min(int(draw.paretovariate(0.3)), SKUS) - 1 if frequent else draw.randrange(SKUS)
    at = window.start + timedelta(microseconds=draw.randrange(86_400_000_000))
    return MovementRow(position, None, f"SKU-{sku:05}", "WH-01", draw.randrange(1, 50), at)


def in_process(url: str, home: str) -> dict[str, float]:
    command = [sys.executable, "-m", "benchmarks.velocity", "--refresh", url, home]
    ran = subprocess.run(command, check=True, stdout=subprocess.PIPE, timeout=PATIENCE)
    cost: dict[str, float] = json.loads(ran.stdout)
    return cost


async def measure(url: str, home: str) -> dict[str, float]:
    """Refresh once. Return seconds, peak memory, and the counts of SKUs and lines."""
    async with Store.open(url) as store:
        started = time.monotonic(), time.process_time()
        request = RefreshRequest(
            "benchmark", "WH-01", AS_OF, "Europe/Berlin", directory=Path(home) / "reports"
        )
        report = (await refresh(store, request)).report
        seconds, cpu = time.monotonic() - started[0], time.process_time() - started[1]
    peak = high_water(os.getpid())
    return {"skus": report.skus, "lines": report.lines, "seconds": seconds, "cpu": cpu, "megabytes": peak}


NOTES = (
    "Each refresh runs in its own process, to measure its own peak memory; on PostgreSQL memory and "
    "CPU are the client's, without the server. Seconds are of the refresh, from an open store to its "
    "rows, its files and its report, without Python's start.",
    "Half of the movements are of few SKUs, half of any; one window per day, including the start of "
    "summer time; the day ends as in Berlin.",
)

if __name__ == "__main__":
    if sys.argv[1:2] == ["--refresh"]:
        print(json.dumps(asyncio.run(measure(*sys.argv[2:]))))
    else:
        main()

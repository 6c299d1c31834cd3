"""The cost of refreshes of velocity on each database: `python -m benchmarks.velocity`, about 25 minutes."""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import shlex
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from datetime import UTC, date, datetime, timedelta
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from sqlalchemy import select

from benchmarks.processes import PATIENCE, family_cpu, high_water, postgresql
from benchmarks.report import Cell, Section, Table, publish, target
from sku_velocity.model.run import SyncRun
from sku_velocity.model.window import Window
from sku_velocity.steps.refresh_velocity import RefreshRequest, refresh
from sku_velocity.store import Store
from sku_velocity.store.database import Database
from sku_velocity.store.tables import microseconds, movements, sync_runs

SIZES = (1_000_000, 2_000_000, 4_000_000)
SKUS, DAYS = 50_000, 91
FIRST = datetime(2026, 1, 1, tzinfo=UTC)
AS_OF = date(2026, 4, 1)  # the last of 91 days, which include the start of summer time
REVISED = 50  # the day whose window is published again, 40 days before the last
STEPS = ("first", "next day", "after a revision")
MOST_MEGABYTES, LEAST_SAVED, MOST_GROWTH, LINEAR = 500, 5.0, 2.0, 1.2
COLUMNS = ("store", "movements", "refresh", "lines", "CPU s", "of it PostgreSQL's", "wall s", "peak MiB")
INSERTED = ("run_key", "position", "sku_id", "warehouse_id", "units_moved", "order_id", "timestamp_utc")
LINES_OF_ORDER = 3

Costs = dict[tuple[str, int, str], dict[str, float]]


def main(arguments: Sequence[str]) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.velocity", description=__doc__)
    parser.add_argument("--sizes", type=int, nargs="+", default=SIZES, help="numbers of movements")
    sizes = parser.parse_args(arguments).sizes
    costs: Costs = {}
    for name, url, server in stores(sizes):
        size = sizes[len([key for key in costs if key[0] == name and key[2] == STEPS[0]])]
        with tempfile.TemporaryDirectory(prefix="velocity-") as home:
            asyncio.run(fill(url, range(DAYS), size // DAYS))
            for step in STEPS:
                if step == STEPS[1]:
                    asyncio.run(fill(url, [DAYS], size // DAYS))
                elif step == STEPS[2]:
                    asyncio.run(fill(url, [REVISED], size // DAYS))
                day = AS_OF if step == STEPS[0] else AS_OF + timedelta(days=1)
                costs[name, size, step] = in_process(url, home, day, server)
                print(name, size, step, costs[name, size, step], file=sys.stderr)
    rows: list[list[Cell]] = [
        [
            name,
            size,
            step,
            *(cost[figure] for figure in ("lines", "cpu", "server_cpu", "seconds", "megabytes")),
        ]
        for (name, size, step), cost in costs.items()
    ]
    publish(
        Section(
            "velocity",
            "What a refresh of velocity costs",
            shlex.join(["python", "-m", "benchmarks.velocity", *arguments]),
            [Table(f"{SKUS:,} SKUs in {DAYS} days.", COLUMNS, rows)],
            [*targets(costs, sizes), *NOTES],
            {"pandas": version("pandas"), "pyarrow": version("pyarrow")},
        )
    )


def targets(costs: Costs, sizes: Sequence[int]) -> list[str]:
    """Return whether the costs stayed within the limits, on each database."""
    found = []
    for name in dict.fromkeys(name for name, *_ in costs):

        def cpu(size: int, step: str, name: str = name) -> float:
            return costs[name, size, step]["cpu"]

        least, most = min(sizes), max(sizes)
        peak = max(cost["megabytes"] for (store, *_), cost in costs.items() if store == name)
        found.append(
            target(f"{name}: at most {MOST_MEGABYTES} MiB", f"{peak:.0f} MiB", peak <= MOST_MEGABYTES)
        )
        slope = (cpu(most, STEPS[0]) - cpu(least, STEPS[0])) / (most - least)
        middle = sorted(sizes)[len(sizes) // 2]
        expected = cpu(least, STEPS[0]) + slope * (middle - least)
        growth = cpu(middle, STEPS[0]) / expected
        found.append(
            target(
                f"{name}: a first refresh grows linearly: {middle:,} movements cost what lies between",
                f"{growth:.2f} times that",
                1 / LINEAR <= growth <= LINEAR,
            )
        )
        for step in STEPS[1:]:
            saved, growth = cpu(most, STEPS[0]) / cpu(most, step), cpu(most, step) / cpu(least, step)
            found.append(
                target(
                    f"{name}, {step}: at most a fifth of the first one's CPU",
                    f"1/{saved:.1f}",
                    saved >= LEAST_SAVED,
                )
            )
            found.append(
                target(
                    f"{name}, {step}: at most twice that with {least:,} movements",
                    f"{growth:.2f} times",
                    growth <= MOST_GROWTH,
                )
            )
    return found


def stores(sizes: Sequence[int]) -> Iterator[tuple[str, str, int | None]]:
    """Yield the name, the URL and the server's process of an empty store of each size on each database."""
    for _ in sizes:
        with tempfile.TemporaryDirectory(prefix="velocity-") as home:
            yield "SQLite", f"sqlite:///{home}/store.db", None
    with postgresql() as server:
        for size in sizes:
            server.psql(f"CREATE DATABASE velocity_{size};")
            yield "PostgreSQL", server.get_uri(database=f"velocity_{size}"), server.get_pid()
            server.psql(f"DROP DATABASE velocity_{size} WITH (FORCE);")


async def fill(url: str, days: Sequence[int], number: int) -> None:
    """Publish a window of a day for each, with this many movements: half of few SKUs, half of any."""
    async with Store.open(url) as store:
        database = Database(url)
        for day in days:
            start = FIRST + timedelta(days=day)
            window = Window(start, start + timedelta(days=1))
            run = SyncRun(f"day-{day}-{time.time_ns()}", "benchmark", "WH-01", window, number)
            await store.runs.begin(run, [])
            async with database.writing() as connection:
                key = (
                    await connection.execute(select(sync_runs.c.run_key).where(sync_runs.c.run_id == run.id))
                ).scalar_one()
                await insert(connection, random_rows(day, number, key, start))
            await store.publications.publish(run.id, "{}")
        await database.close()


def random_rows(day: int, number: int, key: int, start: datetime) -> Iterator[tuple[Any, ...]]:
    draw = np.random.default_rng(day)
    frequent = np.minimum(draw.pareto(0.3, number) + 1, SKUS).astype(np.int64) - 1
    skus = np.where(draw.random(number) < 0.5, frequent, draw.integers(0, SKUS, number)).tolist()
    units, after = draw.integers(1, 50, number).tolist(), draw.integers(0, 86_400_000_000, number).tolist()
    names = [f"SKU-{sku:05}" for sku in range(SKUS)]
    for position, (sku, moved, later) in enumerate(zip(skus, units, after, strict=True)):
        order = f"O-{day}-{position // LINES_OF_ORDER}"
        yield key, position, names[sku], "WH-01", moved, order, start + timedelta(microseconds=later)


async def insert(connection: Any, rows: Iterator[tuple[Any, ...]]) -> None:
    if connection.dialect.name == "postgresql":
        driver: Any = (await connection.get_raw_connection()).driver_connection
        await driver.copy_records_to_table(movements.name, records=rows, columns=INSERTED)
    else:
        marks = ", ".join("?" * len(INSERTED))
        statement = f"INSERT INTO movements ({', '.join(INSERTED)}) VALUES ({marks})"
        await connection.exec_driver_sql(statement, [(*row[:-1], microseconds(row[-1])) for row in rows])


def in_process(url: str, home: str, as_of: date, server: int | None) -> dict[str, float]:
    """Refresh in a process of its own; `cpu` is with what its server used, and `server_cpu` that alone."""
    command = [sys.executable, "-m", "benchmarks.velocity", "--refresh", url, home, as_of.isoformat()]
    before = family_cpu(server) if server else 0.0
    ran = subprocess.run(command, check=True, stdout=subprocess.PIPE, timeout=PATIENCE)
    time.sleep(1)  # until the server has ended the connection's process, and counts it
    used = family_cpu(server) - before if server else 0.0
    cost: dict[str, float] = json.loads(ran.stdout)
    return cost | {"cpu": cost["cpu"] + used, "server_cpu": used}


async def measure(url: str, home: str, as_of: str) -> dict[str, float]:
    """Refresh once. Return seconds, peak memory, and the counts of SKUs and lines."""
    async with Store.open(url) as store:
        started = time.monotonic(), time.process_time()
        request = RefreshRequest(
            "benchmark",
            "WH-01",
            date.fromisoformat(as_of),
            "Europe/Berlin",
            directory=Path(home) / "reports",
        )
        report = (await refresh(store, request)).report
        seconds, cpu = time.monotonic() - started[0], time.process_time() - started[1]
    peak = high_water(os.getpid())
    return {"skus": report.skus, "lines": report.lines, "seconds": seconds, "cpu": cpu, "megabytes": peak}


NOTES = (
    "Each refresh runs in its own process, to measure its own peak memory; on PostgreSQL memory is the "
    "client's, without the server, and CPU is of both, the server's background processes included. Seconds "
    "are of the refresh, from an open store to its rows, its files and its report, without Python's start.",
    "Half of the movements are of few SKUs, half of any, three to an order; one window per day, including "
    "the start of summer time; the day ends as in Berlin, so that a window belongs to two days. After the "
    "first refresh a day more is published and refreshed; then one of 40 days before is published again.",
)

if __name__ == "__main__":
    if sys.argv[1:2] == ["--refresh"]:
        print(json.dumps(asyncio.run(measure(*sys.argv[2:]))))
    else:
        main(sys.argv[1:])

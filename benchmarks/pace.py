"""The pace against what a source allows: used to the full, never gone beyond, found again, shared."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx

from benchmarks.processes import ROOT, prefect_server, quiet_environment, simulator
from benchmarks.report import Cell, Section, Table, publish

LATENCY = 80  # ms
SECONDS = 30
COLUMNS = ("achieved, requests/s", "achieved/allowed", "busiest second", "429")


def main() -> None:
    tables = [
        Table(
            f"A ceiling as described, for {SECONDS} s",
            ("allowed, requests/s", *COLUMNS),
            [steady(rate) for rate in (5, 20, 50, 200)],
        ),
        Table(
            "A ceiling that the server halves in the middle",
            (
                "allowed, then",
                "429 before the pace fits",
                "achieved afterwards",
                "achieved/allowed",
                "429 meanwhile",
            ),
            [halved(rate) for rate in (20, 50)],
        ),
        Table(
            "Processes that share one limit, started 5 s apart",
            ("allowed, requests/s", "processes", *COLUMNS),
            [shared(20, 2), shared(50, 3)],
        ),
    ]
    publish(
        Section(
            "pace",
            "Pace",
            "python -m benchmarks.pace",
            tables,
            [
                f"Each answer takes {LATENCY} ms; each page holds 100 records, which are read and judged.",
                "The source counts what comes in: `busiest second` is any second, wherever it begins.",
                "`allowed` is what the source's own ceiling lets through; it answers 429 beyond it.",
                "Requests leave at 98% of what is described, so that the network's jitter meets no ceiling.",
                "Shared: of all requests from the second process's start to the first one's end.",
            ],
        )
    )


def steady(rate: int) -> Sequence[Cell]:
    """One process at the pace that its spec describes."""
    with source(rate) as url:
        with asking(url, SECONDS, rate):
            pass
        return rate, *achieved(stats(url), rate)


def halved(rate: int) -> Sequence[Cell]:
    """One process, and a server that allows half as much from one moment to the next, and tells nobody."""
    with source(rate) as url, asking(url, 80, rate):
        time.sleep(15)
        httpx.post(f"{url}/_control/halve-ceiling").raise_for_status()
        httpx.post(f"{url}/_control/reset-stats").raise_for_status()
        time.sleep(5)
        refused = stats(url)["throttled"]
        httpx.post(f"{url}/_control/reset-stats").raise_for_status()
        time.sleep(55)
        after = stats(url)
        reached, share, _, meanwhile = achieved(after, rate // 2)
    return f"{rate}, {rate // 2}", refused, reached, share, meanwhile


def shared(rate: int, processes: int) -> Sequence[Cell]:
    """Processes that lease their shares of one limit from a Prefect server."""
    name = f"bench-{os.getpid()}-{rate}"
    with (
        tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as home,
        prefect_server(Path(home)) as server,
        source(rate) as url,
    ):
        environment = quiet_environment(Path(home), PREFECT_API_URL=server.url)
        create = ["gcl", "create", name, "--limit", str(rate), "--slot-decay-per-second", "0"]
        subprocess.run(
            [sys.executable, "-m", "prefect", *create], env=environment, check=True, capture_output=True
        )
        with asking(url, 60, rate, name, environment):
            others = []
            for _ in range(processes - 1):
                time.sleep(5)
                others.append(start(url, 30, rate, name, environment))
            httpx.post(f"{url}/_control/reset-stats").raise_for_status()
            for other in others:
                other.wait()
        return rate, processes, *achieved(stats(url), rate)


@contextmanager
def source(ceiling: int) -> Iterator[str]:
    options = ["--requests-per-second", str(ceiling), "--latency-ms", str(LATENCY), "--records", "1000"]
    with simulator(*options) as service:
        yield service.url


@contextmanager
def asking(
    url: str, seconds: float, rate: int, limit: str = "", environment: dict[str, str] | None = None
) -> Iterator[None]:
    """A process that asks meanwhile; waited for at the end."""
    process = start(url, seconds, rate, limit, environment)
    try:
        yield
        if process.wait():
            raise RuntimeError("a reader failed")
    finally:
        process.kill()
        process.wait()


def start(
    url: str, seconds: float, rate: int, limit: str = "", environment: dict[str, str] | None = None
) -> subprocess.Popen[bytes]:
    in_flight = str(max(12, rate * 12 // 100))
    command = [sys.executable, "-m", "benchmarks.asking", url, str(seconds), str(rate), in_flight]
    return subprocess.Popen(
        [*command, *([limit] if limit else [])], cwd=ROOT, env=environment, stdout=subprocess.DEVNULL
    )


def achieved(found: dict[str, Any], allowed: float) -> tuple[float, float, int, int]:
    """Requests/s that were let through, their share of the allowed, the busiest second, and refusals."""
    passed = found["requests"] - found["throttled"]
    rate = (passed - 1) / (found["last_request"] - found["first_request"])
    return rate, rate / allowed, found["max_per_second"], found["throttled"]


def stats(url: str) -> dict[str, Any]:
    told: dict[str, Any] = httpx.get(f"{url}/stats").raise_for_status().json()
    return told


if __name__ == "__main__":
    main()

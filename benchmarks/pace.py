"""The pace compared with what a source allows: fully used, never exceeded, found again, shared.

`python -m benchmarks.pace`, about 8 minutes.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from benchmarks.processes import ROOT, Service, quiet_environment, run, simulator
from benchmarks.report import Cell, Section, Table, publish, target

LATENCY = 80  # ms
SECONDS = 30
RATES = (5, 20, 50, 200)  # requests/s
LEAST = 0.97  # of what is allowed
COLUMNS = ("achieved, requests/s", "achieved/allowed", "busiest second", "429")


@dataclass(frozen=True)
class Pace:
    """The result under a ceiling: requests/s, the busiest second, refusals, and the load of both processes.

    `reader` and `source` are shares of a core; `lag` is the lag of the reader's event loop in milliseconds.
    """

    allowed: int
    achieved: float
    busiest: int
    refused: int
    reader: float
    source: float
    lag: float

    @property
    def share(self) -> float:
        return self.achieved / self.allowed

    @property
    def row(self) -> Sequence[Cell]:
        busy = (f"{self.reader:.0%}", f"{self.source:.0%}")
        return self.allowed, self.achieved, self.share, self.busiest, self.refused, *busy, self.lag


def main() -> None:
    paces = [steady(rate) for rate in RATES]
    tables = [
        Table(
            f"A ceiling as described, for {SECONDS} s",
            ("allowed, requests/s", *COLUMNS, "reader busy", "WMS busy", "loop late, ms (p99)"),
            [pace.row for pace in paces],
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
            "Processes that share one pace, started 5 s apart",
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
                *map(aim, paces),
                f"Each answer takes {LATENCY} ms; each page holds 100 records, which are read and validated.",
                "The source counts incoming requests: `busiest second` may begin at any time.",
                "`allowed` is the source's own ceiling; it answers 429 beyond it.",
                "Requests are sent at 98% of the described pace, so that jitter does not exceed the ceiling.",
                "*Busy* is CPU of one core. The loop is late if others use the core: a request that is "
                "due then is sent later, and the loss is not made up for.",
                "Shared: of all requests from the second process's start to the first one's end.",
            ],
        )
    )


def steady(rate: int) -> Pace:
    """Measure one process at the pace of its spec."""
    with (
        tempfile.TemporaryDirectory(prefix="pace-") as home,
        source(rate) as service,
    ):
        before = service.cpu
        ran = run(command_of(service.url, SECONDS, rate), Path(home), os.environ)
        if ran.exit_code:
            raise RuntimeError(f"a reader failed: {(Path(home) / 'run.err').read_text()[-2000:]}")
        reported = json.loads((Path(home) / "run.out").read_text())
        busy = (service.cpu - before) / SECONDS
        reached, _, busiest, refused = achieved(stats(service.url), rate)
    return Pace(rate, reached, busiest, refused, reported["cores"], busy, reported["lag_ms"])


def aim(pace: Pace) -> str:
    """Return whether a ceiling was used enough and never exceeded; if not, what was busy."""
    goal = f"at {pace.allowed} requests/s allowed, at least {LEAST} of it is used, and none is refused"
    found = f"{pace.share:.3f}, {pace.refused} refused"
    held = pace.share >= LEAST and not pace.refused
    if pace.share < LEAST:
        found += (
            f" (the reader used {pace.reader:.0%} of a core, the WMS {pace.source:.0%}, and the reader's "
            f"loop woke up to {pace.lag:.0f} ms late)"
        )
    return target(goal, found, held)


def halved(rate: int) -> Sequence[Cell]:
    """Measure one process against a server that halves its ceiling without notice."""
    with source(rate) as service, asking(service.url, 80, rate):
        url = service.url
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
    """Measure processes that share one pace through a store in SQLite."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as home, source(rate) as service:
        url, store = service.url, f"sqlite:///{home}/store.db"
        environment = quiet_environment(Path(home))
        with asking(url, 60, rate, store, environment):
            others = []
            for _ in range(processes - 1):
                time.sleep(5)
                others.append(start(url, 30, rate, store, environment))
            httpx.post(f"{url}/_control/reset-stats").raise_for_status()
            if any([other.wait() for other in others]):
                raise RuntimeError("a reader failed")
        return rate, processes, *achieved(stats(url), rate)


@contextmanager
def source(ceiling: int) -> Iterator[Service]:
    options = ["--requests-per-second", str(ceiling), "--latency-ms", str(LATENCY), "--records", "1000"]
    with simulator(*options) as service:
        yield service


@contextmanager
def asking(
    url: str, seconds: float, rate: int, store: str = "", environment: dict[str, str] | None = None
) -> Iterator[None]:
    """Run a process that sends requests during the block, and wait for it."""
    process = start(url, seconds, rate, store, environment)
    try:
        yield
        if process.wait():
            raise RuntimeError("a reader failed")
    finally:
        process.kill()
        process.wait()


def start(
    url: str, seconds: float, rate: int, store: str = "", environment: dict[str, str] | None = None
) -> subprocess.Popen[bytes]:
    command = [*command_of(url, seconds, rate), *([store] if store else [])]
    return subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.DEVNULL)


def command_of(url: str, seconds: float, rate: int) -> list[str]:
    in_flight = str(max(12, rate * 12 // 100))
    return [sys.executable, "-m", "benchmarks.asking", url, str(seconds), str(rate), in_flight]


def achieved(found: dict[str, Any], allowed: float) -> tuple[float, float, int, int]:
    """Return the admitted requests/s, their share of the allowed, the busiest second, and refusals."""
    passed = found["requests"] - found["throttled"]
    rate = (passed - 1) / (found["last_request"] - found["first_request"])
    return rate, rate / allowed, found["max_per_second"], found["throttled"]


def stats(url: str) -> dict[str, Any]:
    found: dict[str, Any] = httpx.get(f"{url}/stats").raise_for_status().json()
    return found


if __name__ == "__main__":
    main()

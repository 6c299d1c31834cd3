"""A pace that processes share: never exceeded, fully used, and what a process that is cut off costs.

`python -m benchmarks.shared_pace`, about 4 minutes. Every time is that of a request at its sender.
"""

from __future__ import annotations

import asyncio
import json
import subprocess
import tempfile
import time
from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from contextlib import AsyncExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO
from urllib.parse import parse_qs, urlsplit

from benchmarks.link import Link
from benchmarks.pace import LATENCY, command_of, stats
from benchmarks.processes import ROOT, postgresql, quiet_environment, simulator
from benchmarks.report import Section, Table, publish, target
from sku_velocity.store import Store

RATE = 20  # requests/s
PROCESSES = 3
LIVE = 60  # seconds in which all processes send
CUT_OFF = 30  # seconds of each cut
BETWEEN = 12  # seconds from a process's return to the next cut
START = 20  # seconds, at most, until all processes have a share
LEAST = 0.95  # of the ceiling
ABOVE = 0.001  # of the requests, at most
STOPPED = 10.0  # seconds from the cut
TAKEN_OVER = 20.0


@dataclass(frozen=True)
class Cut:
    """A cut of one process's link to the store, in seconds on the monotonic clock."""

    process: int
    start: float
    end: float

    def stopped(self, sent: Sequence[Sequence[float]]) -> float:
        """Return the seconds until the process sent its last request before its return."""
        own = sent[self.process]
        return own[bisect_left(own, self.end) - 1] - self.start

    def taken_over(self, sent: Sequence[Sequence[float]]) -> float | None:
        """Return the seconds until its peers send `LEAST` of the ceiling within a second, if they do."""
        peers = merged([own for process, own in enumerate(sent) if process != self.process])
        for first in peers[bisect_left(peers, self.start) : bisect_left(peers, self.end - 1)]:
            if rate(peers, first, first + 1) >= LEAST * RATE:
                return first - self.start
        return None

    def returned(self, sent: Sequence[Sequence[float]]) -> float:
        """Return the seconds from the link's return to the process's next request."""
        own = sent[self.process]
        return own[bisect_left(own, self.end)] - self.end


def main() -> None:
    sent, live, cuts, arrived = asyncio.run(measure())
    whole = merged(sent)
    publish(
        Section(
            "shared_pace",
            "A shared pace",
            "python -m benchmarks.shared_pace",
            [
                Table(
                    f"{PROCESSES} processes, {RATE} requests/s together",
                    (
                        *("requests", "above the ceiling", "busiest second", "busiest second at the WMS"),
                        "sent/allowed, all live",
                    ),
                    [(len(whole), above(whole), busiest(whole), arrived, rate(whole, *live) / RATE)],
                ),
                Table(
                    "A process loses the store",
                    ("it stops after, s", "its share is taken over after, s", "once back, it sends after, s"),
                    [(cut.stopped(sent), cut.taken_over(sent), cut.returned(sent)) for cut in cuts],
                ),
            ],
            [
                *aims(sent, live, cuts),
                "Each process reads pages of 100 records from a simulated WMS, and has its own link to the "
                "store on PostgreSQL; each link is cut once. No Prefect: shares are kept in the store.",
                "*Above the ceiling*: requests with as many as the ceiling in the second before them, from "
                "the first process's start to the last one's end.",
                "The WMS has no ceiling of its own here, so that a busy machine, where requests arrive late "
                "and bunched, does not lower the rate by refusals; `pace` has one.",
                "*Taken over* once the peers send 0.95 of the ceiling in a second. A share expires 17 s "
                "after its last renewal, which is up to a second before the cut; the peers look once a "
                "second.",
                "One machine and one monotonic clock.",
            ],
        )
    )


def aims(sent: Sequence[Sequence[float]], live: tuple[float, float], cuts: Sequence[Cut]) -> list[str]:
    """Return a note on each target."""
    whole = merged(sent)
    reached, excess = rate(whole, *live) / RATE, above(whole) / len(whole)
    stopped = max(cut.stopped(sent) for cut in cuts)
    taken = [cut.taken_over(sent) or CUT_OFF for cut in cuts]
    return [
        target(
            "of the requests, at most 1 in 1,000 is above the ceiling in any second",
            f"{1000 * excess:.2f} in 1,000",
            excess <= ABOVE,
        ),
        target(
            f"at least {LEAST} of the ceiling while all processes live",
            f"{reached:.3f}",
            reached >= LEAST,
        ),
        target(
            f"a process that is cut off stops within {STOPPED:.0f} s", f"{stopped:.1f} s", stopped <= STOPPED
        ),
        target(
            f"its peers have taken its share over within {TAKEN_OVER:.0f} s",
            f"{min(taken):.1f} to {max(taken):.1f} s",
            max(taken) <= TAKEN_OVER,
        ),
    ]


def merged(sent: Sequence[Sequence[float]]) -> list[float]:
    return sorted(moment for own in sent for moment in own)


def rate(times: Sequence[float], start: float, end: float) -> float:
    """Return the requests/s from `start` to `end`."""
    return (bisect_left(times, end) - bisect_left(times, start)) / (end - start)


def above(times: Sequence[float]) -> int:
    """Return how many requests had as many as the ceiling allows in the second before them."""
    return sum(number - bisect_right(times, time - 1) >= RATE for number, time in enumerate(times))


def busiest(times: Sequence[float]) -> int:
    return max(number + 1 - bisect_right(times, time - 1) for number, time in enumerate(times))


async def measure() -> tuple[list[list[float]], tuple[float, float], list[Cut], int]:
    """Return what each process sent, when all were live, the cuts, and the WMS's busiest second."""
    seconds = START + LIVE + PROCESSES * (CUT_OFF + BETWEEN)
    async with AsyncExitStack() as stack:
        home = Path(stack.enter_context(tempfile.TemporaryDirectory(ignore_cleanup_errors=True)))
        wms = stack.enter_context(simulator("--latency-ms", str(LATENCY), "--records", "1000"))
        database = stack.enter_context(postgresql())
        store = await stack.enter_async_context(Store.open(database.get_uri()))
        directory = parse_qs(urlsplit(database.get_uri()).query)["host"][0]
        links = [
            await stack.enter_async_context(Link.to(f"{directory}/.s.PGSQL.5432")) for _ in range(PROCESSES)
        ]
        processes = []
        for number, link in enumerate(links):
            url = f"postgresql://postgres@127.0.0.1:{link.port}/postgres"
            command = [*command_of(wms.url, seconds, RATE), url]
            output = stack.enter_context((home / f"{number}.out").open("wb"))
            processes.append(stack.enter_context(started(command, home, output)))
        await until_all_share(store)
        live = time.monotonic(), time.monotonic() + LIVE
        await asyncio.sleep(LIVE)
        cuts = []
        for number, link in enumerate(links):
            start = time.monotonic()
            link.cut()
            await asyncio.sleep(CUT_OFF)
            link.restore()
            cuts.append(Cut(number, start, time.monotonic()))
            await until_all_share(store)
            await asyncio.sleep(BETWEEN / 2)
        codes = [await asyncio.to_thread(process.wait, 2 * seconds) for process in processes]
        if any(codes):
            raise RuntimeError(f"a reader failed: exit codes {codes}")
        sent = [json.loads((home / f"{number}.out").read_text())["sent"] for number in range(PROCESSES)]
        return sent, live, cuts, stats(wms.url)["max_per_second"]


@contextmanager
def started(command: Sequence[str], home: Path, output: BinaryIO) -> Iterator[subprocess.Popen[bytes]]:
    """Run a process during the block."""
    process = subprocess.Popen(command, cwd=ROOT, env=quiet_environment(home), stdout=output)
    try:
        yield process
    finally:
        process.kill()
        process.wait()


async def until_all_share(store: Store) -> None:
    """Wait until every process has an equal share, and has used it for a moment."""
    equal = [RATE // PROCESSES + (n >= PROCESSES - RATE % PROCESSES) for n in range(PROCESSES)]
    async with asyncio.timeout(10 * START):
        while sorted((await store.paces.of("pace")).values()) != equal:  # noqa: ASYNC110  # no notification
            await asyncio.sleep(0.1)
    await asyncio.sleep(BETWEEN / 4)


if __name__ == "__main__":
    main()

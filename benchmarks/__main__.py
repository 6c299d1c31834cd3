"""Run all benchmarks one after the other, or those named: `python -m benchmarks [NAME ...]`.

All of them take about an hour. A failure does not stop the others; each replaces its own section
of RESULTS.md when it is done, so the rest can be run later by name.
"""

from __future__ import annotations

import argparse
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from types import FrameType
from typing import NoReturn

from benchmarks.processes import ROOT

# What each runs, and about how many minutes it takes on two idle cores.
BENCHMARKS = {
    "start": (["benchmarks.start"], 1),
    "traps": (["benchmarks.traps"], 7),
    "chunk": (["benchmarks.chunk", "--repeats", "2"], 4),
    "mapping": (["benchmarks.mapping"], 3),
    "pace": (["benchmarks.pace"], 7),
    "shared_pace": (["benchmarks.shared_pace"], 4),
    "stability": (["benchmarks.stability"], 1),
    "velocity": (["benchmarks.velocity"], 8),
    "memory": (["benchmarks.memory", "--largest", "10000000"], 5),
    "end_to_end": (["benchmarks.end_to_end"], 4),
    "fleet": (["benchmarks.fleet"], 2),
    "million": (["benchmarks.end_to_end", "--million"], 10),
}
PATIENCE = 3 * 3600.0  # seconds for one benchmark
CLEANING_UP = 60.0  # seconds for it to end its processes


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument(
        "names", nargs="*", metavar="NAME", help=f"one of {', '.join(BENCHMARKS)}. Omit for all."
    )
    names = parser.parse_args().names or list(BENCHMARKS)
    if unknown := set(names) - set(BENCHMARKS):
        parser.error(
            f"unknown benchmark {', '.join(sorted(unknown))}: expected one of {', '.join(BENCHMARKS)}"
        )
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _stop)
    started, failed = time.monotonic(), []
    for name in names:
        command, minutes = BENCHMARKS[name]
        log(f"{name}: about {minutes} minutes")
        began = time.monotonic()
        code = run(command)
        log(f"{name}: {'done' if code == 0 else f'FAILED, exit code {code}'} {took(began)}")
        failed += [name] * bool(code)
    log(f"{len(names) - len(failed)} of {len(names)} benchmarks done {took(started)}")
    if failed:
        log(f"to retry: python -m benchmarks {' '.join(failed)}")
    return int(bool(failed))


def run(command: Sequence[str]) -> int:
    """Run one benchmark and return its exit code. When interrupted, give it time to end its processes."""
    # In its own session: otherwise Ctrl-C would interrupt it, and its processes, twice.
    process = subprocess.Popen([sys.executable, "-m", *command], cwd=ROOT, start_new_session=True)
    try:
        return process.wait(PATIENCE)
    except BaseException as error:
        process.send_signal(signal.SIGINT)
        try:
            code = process.wait(CLEANING_UP)
        finally:
            process.kill()
        if isinstance(error, subprocess.TimeoutExpired):
            return code
        raise


def _stop(number: int, frame: FrameType | None) -> NoReturn:
    for stopping in (signal.SIGINT, signal.SIGTERM):
        signal.signal(stopping, signal.SIG_IGN)  # already stopping
    sys.exit(128 + number)


def log(text: str) -> None:
    print(f"== {text}", file=sys.stderr, flush=True)


def took(since: float) -> str:
    return f"in {(time.monotonic() - since) / 60:.1f} minutes"


if __name__ == "__main__":
    sys.exit(main())

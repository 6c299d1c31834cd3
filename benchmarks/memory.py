"""Peak memory of the flow at a small window and at a large one: `python -m benchmarks.memory`."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from argparse import ArgumentParser
from importlib.metadata import version
from pathlib import Path

from benchmarks import tools
from benchmarks.processes import ROOT, prefect_server, quiet_environment, simulator
from benchmarks.report import Section, Table, publish
from benchmarks.tools import Job

SMALL, LARGE = 100_000, 2_000_000  # records
MOST = 1.25  # times the peak of the small window that the large one may need
COLUMNS = ("window", "records", "peak MiB", "times the small one's", "wall s", "chunks")
LOOKS = 0.2  # seconds between two


def peak_of(command: list[str], home: Path, environment: dict[str, str]) -> tuple[float, float]:
    """Run a command to its end; MiB of its peak resident memory, and wall seconds. Linux: proc(5), VmHWM.

    Raises RuntimeError where it fails.
    """
    started, peak = time.monotonic(), 0
    with (home / "run-1.out").open("wb") as output, (home / "run-1.err").open("wb") as errors:
        process = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=output, stderr=errors)
        while process.poll() is None:
            peak = max(peak, _high_water(process.pid))
            time.sleep(LOOKS)
    if process.returncode:
        raise RuntimeError(f"{' '.join(command)} failed: {(home / 'run-1.err').read_text()[-2000:]}")
    return peak / 1024, time.monotonic() - started


def _high_water(pid: int) -> int:
    """The most kB that a process has had in memory so far; 0 where it has just gone."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) for line in lines if line.startswith("VmHWM:")), 0)


def measure(records: int, api_url: str, home: Path) -> tuple[float, float, int]:
    """Peak MiB, wall seconds and chunks of a sync of so many records into a new SQLite store."""
    home.mkdir()
    with simulator("--records", str(records), "--bad-ratio", "0.01") as wms:
        job, flow = Job(wms.url, home), tools.flow()
        peak, wall = peak_of(flow.command(job), home, quiet_environment(home, PREFECT_API_URL=api_url))
        assert flow.kept(job).total() == round(records * 0.99), "not all records are in the store"
    return peak, wall, json.loads(job.output.read_text().splitlines()[-1])["chunks"]


def main() -> int:
    parser = ArgumentParser(description=__doc__)
    parser.add_argument("--records", type=int, default=LARGE, help=f"of the large window (default {LARGE})")
    large = parser.parse_args().records
    with tempfile.TemporaryDirectory(prefix="memory-") as directory:
        home = Path(directory)
        with prefect_server(home) as server:
            small_peak, *small_rest = measure(SMALL, server.url, home / "small")
            large_peak, *large_rest = measure(large, server.url, home / "large")
    times = large_peak / small_peak
    rows = [
        ("small", SMALL, small_peak, 1.0, *small_rest),
        ("large", large, large_peak, times, *large_rest),
    ]
    publish(
        Section(
            name="memory",
            title=f"Memory: a window {large // SMALL} times as large",
            command="python -m benchmarks.memory" + (f" --records {large}" if large != LARGE else ""),
            tables=[Table("Peak resident memory of `python -m flows sync` into SQLite.", COLUMNS, rows)],
            notes=[
                f"The larger window may need at most {MOST} times the memory of the smaller one: "
                f"{'held' if times <= MOST else 'NOT HELD'}.",
                "All of the process: Python, Prefect and what the tasks of the run leave behind. "
                "The simulated WMS and the Prefect server are processes of their own.",
            ],
            versions={"aiosqlite": version("aiosqlite")},
        )
    )
    return 0 if times <= MOST else 1


if __name__ == "__main__":
    sys.exit(main())

"""What a short run costs: one page, as CPU of the whole process, next to dlt; and the cost of `--help`."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from statistics import median

from benchmarks.processes import prefect_server, quiet_environment, run, simulator
from benchmarks.report import Section, Table, publish, target
from benchmarks.tools import Job, command, dlt, flow, peer_versions

RECORDS = 1000
ROUNDS = 7
GOALS = {"command": 0.5, "flow": 1.2, "help": 0.25}


def measure(url: str, api: str) -> dict[str, list[float]]:
    """Return the CPU seconds of each way to run, all of them once per round."""
    ways: Mapping[str, tuple[Callable[[Job], list[str]], bool]] = {
        "dlt": (dlt().command, False),
        "command": (command().command, False),
        "flow": (flow().command, True),
        "help": (lambda job: [sys.executable, "-m", "sku_velocity", "--help"], False),
    }
    spent: dict[str, list[float]] = {name: [] for name in ways}
    for number in range(ROUNDS + 1):
        for name, (line, uses_prefect) in ways.items():
            with tempfile.TemporaryDirectory() as directory:
                home = Path(directory)
                environment = quiet_environment(home, **({"PREFECT_API_URL": api} if uses_prefect else {}))
                ended = run(line(Job(url, home)), home, environment)
                assert ended.exit_code == 0, (home / "run.err").read_text()
            if number:  # the first round fills the disk's cache
                spent[name].append(ended.cpu)
    return spent


def main() -> None:
    with (
        tempfile.TemporaryDirectory() as directory,
        simulator("--records", str(RECORDS)) as wms,
        prefect_server(Path(directory)) as server,
    ):
        spent = measure(wms.url, server.url)
    peer = median(spent["dlt"])
    titles = {
        "dlt": "dlt, one page into DuckDB",
        "command": "`sku-velocity sync`, one page into SQLite",
        "flow": "`python -m flows sync`, the same under a running Prefect server",
        "help": "`sku-velocity --help`",
    }
    rows = [[titles[name], median(cpu), median(cpu) / peer] for name, cpu in spent.items()]
    notes = [
        f"One page of {RECORDS} records into an empty store, the median of {ROUNDS} rounds. CPU is user and "
        "system time of the whole process, imports included; the Prefect server's is not counted.",
        *(
            target(
                f"{titles[name]}: at most {goal} of dlt",
                f"{median(spent[name]) / peer:.2f}",
                median(spent[name]) <= goal * peer,
            )
            for name, goal in GOALS.items()
        ),
    ]
    publish(
        Section(
            "start",
            "A short run",
            "python -m benchmarks start",
            [Table("CPU of the whole process.", ("", "CPU seconds", "times dlt"), rows)],
            notes,
            peer_versions(),
        )
    )


if __name__ == "__main__":
    main()

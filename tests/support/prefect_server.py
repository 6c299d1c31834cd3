"""One real Prefect server for all tests that need one, started with the project's settings."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
from prefect.settings import (
    PREFECT_API_URL,
    PREFECT_HOME,
    PREFECT_LOCAL_STORAGE_PATH,
    temporary_settings,
)

from flows.runtime.prefect_internals import SyncClientContext, flush
from tests.support.checkout import CHECKOUT
from tests.support.ports import free_port

START_TIMEOUT = 120.0  # seconds; 14 to 28 on two shared cores


@dataclass(frozen=True)
class PrefectServer:
    """A server's address, and the environment that connects a worker or `prefect deploy` to it."""

    port: int
    home: Path
    environment: dict[str, str]
    host: str = "127.0.0.1"

    @classmethod
    def at(cls, home: Path, host: str = "127.0.0.1", **more: str) -> PrefectServer:
        """Return a server on a free port, with its database in this directory."""
        port = free_port()
        url = f"http://{host}:{port}/api"
        environment = {name: value for name, value in os.environ.items() if not name.startswith("PREFECT_")}
        environment |= {"PREFECT_HOME": str(home), "PREFECT_SERVER_ANALYTICS_ENABLED": "false"}
        # The UI would otherwise look for the API on port 4200.
        environment |= {"PREFECT_UI_API_URL": url, "PREFECT_SERVER_UI_SHOW_PROMOTIONAL_CONTENT": "false"}
        return cls(port, home, environment | {"PREFECT_API_URL": url} | more, host)

    @property
    def api_url(self) -> str:
        return self.environment["PREFECT_API_URL"]

    @contextmanager
    def running(self) -> Iterator[subprocess.Popen[bytes]]:
        """Run the server in the checkout, whose prefect.toml it reads."""
        command = [sys.executable, "-m", "prefect", "server", "start"]
        command += ["--host", self.host, "--port", str(self.port), "--ui"]
        environment = {name: value for name, value in self.environment.items() if name != "PREFECT_API_URL"}
        log = self.home / "server.log"
        with log.open("ab") as output:
            server = subprocess.Popen(command, cwd=CHECKOUT, env=environment, stdout=output, stderr=output)
        try:
            wait_until_healthy(server, f"{self.api_url}/health", log)
            yield server
        finally:
            server.terminate()
            try:
                server.wait(timeout=20)
            except subprocess.TimeoutExpired:
                server.kill()
                server.wait()


@contextmanager
def session_server() -> Iterator[PrefectServer]:
    """A running server. After its start, flows in this process run against it too."""
    with tempfile.TemporaryDirectory(prefix="prefect-", ignore_cleanup_errors=True) as directory:
        server = PrefectServer.at(Path(directory))
        with (
            server.running(),
            temporary_settings(client_settings(server.api_url, server.home)),
            SyncClientContext(),  # or Prefect makes a client for each async flow and never closes it
        ):
            yield server
            flush(START_TIMEOUT)  # unsent logs and events would raise at exit, when the server is gone


def client_settings(url: str, home: Path) -> dict[object, object]:
    return {PREFECT_API_URL: url, PREFECT_HOME: home, PREFECT_LOCAL_STORAGE_PATH: home / "storage"}


def wait_until_healthy(server: subprocess.Popen[bytes], health: str, log: Path) -> None:
    deadline = time.monotonic() + START_TIMEOUT
    with httpx.Client(trust_env=False) as client:
        while server.poll() is None and time.monotonic() < deadline:
            try:
                if client.get(health).is_success:
                    return
            except httpx.TransportError:
                time.sleep(0.1)
    raise RuntimeError(f"The Prefect server did not start:\n{log.read_text()[-4000:]}")

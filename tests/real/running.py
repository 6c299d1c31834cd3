"""Runs the programs of the real systems, and ends those that this process started."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import httpx

from tests.support.checkout import CHECKOUT

INSTALLED = CHECKOUT / ".real"
REAL = CHECKOUT / "tests" / "real"
PATIENCE = 60  # seconds that a server takes at most to answer


def python(environment: str) -> str:
    """Return the interpreter of an environment that `make real` installed."""
    return str(INSTALLED / environment / "bin" / "python")


def run(*command: str, env: Mapping[str, str] | None = None) -> str:
    """Run a program to its end and return its output. Raises RuntimeError with its errors if it fails."""
    done = subprocess.run(command, env=_environment(env), cwd=CHECKOUT, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"{command[0]} ended with {done.returncode}: {done.stderr[-2000:]}")
    return done.stdout.strip()


@contextmanager
def server(command: Sequence[str], url: str, log: Path, cwd: Path = CHECKOUT) -> Iterator[None]:
    """Run a server while the block lasts, once it answers any HTTP request to `url`."""
    with log.open("w") as output:
        process = subprocess.Popen(
            command, env=_environment(), cwd=cwd, stdout=output, stderr=subprocess.STDOUT
        )
        try:
            _wait_for(process, url, log)
            yield
        finally:
            process.terminate()
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _wait_for(process: subprocess.Popen[bytes], url: str, log: Path) -> None:
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise RuntimeError(f"the server ended with {process.returncode}: {log.read_text()[-2000:]}")
        try:
            httpx.get(url)
        except httpx.TransportError:
            time.sleep(0.1)
        else:
            return
    raise TimeoutError(f"no response from {url} after {PATIENCE} s: {log.read_text()[-2000:]}")


def _environment(env: Mapping[str, str] | None = None) -> dict[str, str]:
    return os.environ | {"PYTHONPATH": str(CHECKOUT)} | dict(env or {})

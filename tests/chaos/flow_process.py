"""`sync` as a separate process, as cron and users start it: with Prefect, or without."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from tests.support.acme import TOKEN
from tests.support.checkout import CHECKOUT
from tests.support.prefect_api import ask
from tests.support.prefect_server import PrefectServer
from tests.support.waiting import until

FINAL = {"COMPLETED", "FAILED", "CRASHED", "CANCELLED"}


@dataclass(frozen=True)
class Ended:
    """How a process ended: its exit code, its report if it printed one, and its standard error."""

    exit_code: int
    report: dict[str, Any]
    errors: str


@dataclass(frozen=True)
class Shell:
    """A user's shell in the checkout, with a source's spec and a store. Without a server: no Prefect."""

    server: PrefectServer | None
    source: str
    store: str

    @contextmanager
    def running(
        self, *more: str, task_retries: int = 0, **environment: str
    ) -> Iterator[subprocess.Popen[str]]:
        """Start the process, and kill it at the end of the block."""
        words = ["sync", "--source", self.source, "--store", self.store, "--json"]
        words += ["--warehouse", "WH-01", "--token-env", "WMS_TOKEN"]
        words += ["--task-retries", str(task_retries), *more]
        with subprocess.Popen(
            [sys.executable, "-m", "flows" if self.server else "sku_velocity", *words],
            cwd=CHECKOUT,
            env=(self.server.environment if self.server else dict(os.environ))
            | {"WMS_TOKEN": TOKEN}
            | environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        ) as process:
            try:
                yield process
            finally:
                process.kill()

    def run(self, *more: str) -> Ended:
        with self.running(*more) as process:
            return ending(process)


def ending(process: subprocess.Popen[str]) -> Ended:
    """Wait until a process ends."""
    output, errors = process.communicate(timeout=180)
    report = json.loads(output.splitlines()[-1]) if output.strip() else {}
    return Ended(process.returncode, report, errors.strip())


def states_of_tasks(server: PrefectServer, run: str) -> set[str]:
    """Return the final states of a flow run's task runs; some are reported a few seconds late."""
    states = {each["state_type"] for each in ask(server, "task_runs", run)}
    if not states <= FINAL:
        until(lambda: {each["state_type"] for each in ask(server, "task_runs", run)} <= FINAL)
    return {each["state_type"] for each in ask(server, "task_runs", run)}

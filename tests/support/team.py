"""A team that deploys with `init`: a directory without the checkout, a WMS with recent records, a server."""

from __future__ import annotations

import os
import pty
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from demo.prefect_client import prefect_client
from simulator.scenario import Scenario
from simulator.server import Server, serve
from tests.support.acme import TOKEN, spec_file
from tests.support.days import WINDOWED
from tests.support.doc_commands import shown_commands
from tests.support.prefect_server import PrefectServer

# The options of `init` in docs/quickstart-prefect.md: of the first source, and of one beside it.
ACME, GLOBEX = [
    command.words[4:]
    for command in shown_commands()
    if command.page == "docs/quickstart-prefect.md" and command.words[3:4] == ("init",)
]


@contextmanager
def recent_wms(directory: Path, **scenario: Any) -> Iterator[Server]:
    """A WMS with about 1,000 records in each hour that a run may read now, and its spec in acme.yaml."""
    hour = datetime.now(UTC).replace(minute=0, second=0, microsecond=0)
    given = {"start": hour - timedelta(hours=2), "period": timedelta(hours=4), "records": 4000} | scenario
    with serve(Scenario(token=TOKEN, **given)) as server:
        spec_file(server, directory, **WINDOWED)
        yield server


class Team:
    """A user at a shell in a directory of its own."""

    def __init__(self, server: PrefectServer, python: Path, directory: Path) -> None:
        self.directory = directory
        self.python = python
        self.store = f"sqlite:///{directory}/velocity.db"
        tokens = dict.fromkeys(("WMS_TOKEN", "ACME_TOKEN", "GLOBEX_TOKEN"), TOKEN)
        self.environment = server.environment | tokens | {"PREFECT_WORKER_QUERY_SECONDS": "1"}
        self.api = prefect_client(server.api_url)

    def init(self, *words: str) -> subprocess.CompletedProcess[str]:
        """Run init without a terminal."""
        return self._run(*words, stdin=subprocess.DEVNULL)

    def init_acme(self, *words: str) -> subprocess.CompletedProcess[str]:
        """Run init for the warehouse WH-01 of acme as the page says, with more options."""
        return self.init(*ACME, "--store", self.store, *words)

    def init_globex(self, *words: str) -> subprocess.CompletedProcess[str]:
        """Run init for a second source as the page says, with more options."""
        return self.init(*GLOBEX, "--store", self.store, *words)

    def init_on_a_terminal(self, *answers: str) -> str:
        """Run init on a terminal, give these answers, and return what the terminal shows."""
        ours, theirs = pty.openpty()
        try:
            os.write(ours, "".join(f"{answer}\n" for answer in answers).encode())
            with subprocess.Popen(
                self._command(),
                cwd=self.directory,
                env=self.environment | {"COLUMNS": "200", "TERM": "dumb"},
                stdin=theirs,
                stdout=theirs,
                stderr=theirs,
                start_new_session=True,
            ):
                os.close(theirs)
                return _read_all(ours)
        finally:
            os.close(ours)

    def get(self, path: str) -> Any:
        return self.api.get(path).raise_for_status().json()

    def post(self, path: str, body: dict[str, Any]) -> Any:
        return self.api.post(path, json=body).raise_for_status().json()

    def patch(self, path: str, body: dict[str, Any]) -> None:
        self.api.patch(path, json=body).raise_for_status()

    def _run(self, *words: str, stdin: int) -> subprocess.CompletedProcess[str]:
        command = self._command(*words)
        return subprocess.run(
            command, cwd=self.directory, env=self.environment, stdin=stdin, capture_output=True, text=True
        )

    def _command(self, *words: str) -> list[str]:
        return [str(self.python), "-m", "flows", "init", *words]


def _read_all(terminal: int) -> str:
    """Return what is written to a terminal until its last user closes it, which Linux reports as an error."""
    parts = []
    try:
        while part := os.read(terminal, 4096):
            parts.append(part)
    except OSError:
        pass
    return b"".join(parts).decode()

"""docs/quickstart.md for a team without Prefect: its cron lines publish each hour, the failed ones too."""

from __future__ import annotations

import json
import re
import shlex
import sqlite3
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from simulator.faults import Fault
from simulator.records import GroundTruth
from simulator.scenario import Scenario
from simulator.server import Server, serve
from sku_velocity.model.settle_lag import SETTLE_LAG
from sku_velocity.model.window import iso
from tests.support.acme import TOKEN
from tests.support.checkout import CHECKOUT
from tests.support.doc_commands import ACME, yaml_of
from tests.support.no_prefect import IMPORTS, forbid_prefect
from tests.support.waiting import until

PAGE = (CHECKOUT / "docs" / "quickstart.md").read_text()
[ENVIRONMENT] = re.findall(r"```sh\n(.*?)```", PAGE, flags=re.DOTALL)
[CRONTAB] = re.findall(r"```text\n((?:[\d*]+ .*\n)+)```", PAGE)
BACKFILL, RECHECK, REFRESH = [line.split(None, 5)[5] for line in CRONTAB.splitlines()]
ENVIRONMENT_FILE, START = "/etc/sku-velocity.env", "2026-03-01T00:00:00Z"
BIN, STORE = "/home/velocity/.local/bin", "/home/velocity/sku-velocity.db"
HOUR = timedelta(hours=1)
STATUS = f". {ENVIRONMENT_FILE}; sku-velocity status"


@dataclass(frozen=True)
class Crontab:
    """A user's home, in which Prefect cannot be imported, and the WMS that its spec describes."""

    home: Path
    server: Server
    first: datetime

    def run(self, command: str) -> subprocess.CompletedProcess[str]:
        """Run a command as cron does: by sh, in the home directory, with no other variables than these."""
        command = command.replace(ENVIRONMENT_FILE, f"{self.home}/velocity.env")
        command = command.replace(START, iso(self.first))
        environment = {"HOME": str(self.home), "PATH": "/usr/bin:/bin", "SHELL": "/bin/sh"}
        return subprocess.run(
            ["/bin/sh", "-c", command], cwd=self.home, env=environment, capture_output=True, text=True
        )

    def status(self) -> dict[str, Any]:
        """Return what `status --json` says of the warehouse."""
        done = self.run(f"{STATUS} --json")
        assert done.returncode == 0, done.stderr
        [warehouse] = json.loads(done.stdout)["warehouses"]
        return dict(warehouse)

    def rows(self) -> Counter[tuple[object, ...]]:
        """Return what a reader of the store sees."""
        columns = "movement_id, sku_id, warehouse_id, units_moved, timestamp_utc"
        with closing(sqlite3.connect(self.home / "sku-velocity.db")) as connection:
            return Counter(connection.execute(f"SELECT {columns} FROM published_movements"))

    def served(self, first: int, last: int) -> Counter[tuple[object, ...]]:
        """Return what a reader must see of these hours."""
        movements = self._truth(first, last).movements
        return Counter((*row, at.isoformat(timespec="microseconds")) for *row, at in movements)

    def rejected(self, first: int, last: int) -> int:
        return self._truth(first, last).bad

    def _truth(self, first: int, last: int) -> GroundTruth:
        return self.server.ground_truth("WH-01", self.first + first * HOUR, self.first + last * HOUR)


def replaced(text: str, names: Mapping[str, object]) -> str:
    """Return a text of the page with the names in it replaced by those of here."""
    for shown, here in names.items():
        assert shown in text
        text = text.replace(shown, str(here))
    return text


def last_settled_hour() -> datetime:
    """Return the end of the last hour that has settled. Wait if the next one is about to settle."""
    now = until(lambda: settled if (settled := datetime.now(UTC) - SETTLE_LAG).minute < 59 else None)
    return now.replace(minute=0, second=0, microsecond=0)


@pytest.fixture
def crontab(tmp_path: Path) -> Iterator[Crontab]:
    first = last_settled_hour() - 2 * HOUR
    failing = Fault("401", 1997, times=1)  # the last chunk of the first hour, once
    rows: dict[str, Any] = {"start": first, "period": 4 * HOUR, "records": 10_000, "bad_ratio": 0.02}
    with serve(Scenario(dialect=ACME, token=TOKEN, faults=(failing,), **rows)) as server:
        spec = replaced(yaml_of("docs/quickstart.md", "acme"), {"https://wms.example.com": server.url})
        (tmp_path / "acme.yaml").write_text(f"{spec}order: {{stable: true}}\n")  # rejects without an id
        forbid_prefect(tmp_path)
        program = tmp_path / "bin" / "sku-velocity"
        program.parent.mkdir()
        words = shlex.join([sys.executable, "-m", "sku_velocity"])
        program.write_text(f'#!/bin/sh\nPYTHONPATH={tmp_path} exec {words} "$@"\n')
        program.chmod(0o755)
        names = {BIN: program.parent, STORE: tmp_path / "sku-velocity.db", "…": TOKEN}
        (tmp_path / "velocity.env").write_text(replaced(ENVIRONMENT, names))
        yield Crontab(tmp_path, server, first)


def test_an_hour_that_failed_is_resumed_by_the_next_cron_run(crontab: Crontab) -> None:
    done = crontab.run(BACKFILL)
    assert done.returncode == 1 and "1 of 2 windows published" in done.stdout
    assert "--resume reads only those" in done.stdout and "Retry" not in done.stdout
    assert crontab.rows() == crontab.served(1, 2)
    shown = crontab.run(STATUS)
    assert shown.returncode == 0 and "incomplete, 2 of 3 chunks landed" in shown.stdout
    assert "HTTP 401; check the token" in shown.stdout
    next_step = "sku-velocity sync --source acme.yaml --token-env ACME_TOKEN --warehouse WH-01 --resume "
    assert next_step in shown.stdout

    crontab.server.reset_stats()
    done = crontab.run(BACKFILL)
    assert done.returncode == 0 and "1 of 1 windows published" in done.stdout, done.stderr
    assert crontab.server.stats().records < 1000  # not the two chunks that had landed
    assert crontab.rows() == crontab.served(0, 2)
    status = crontab.status()
    assert (status["rows"], status["rejects"]) == (crontab.rows().total(), crontab.rejected(0, 2))
    assert status["complete_until"] == iso(crontab.first + 2 * HOUR) and not status["late"]
    assert [status[name] for name in ("gaps", "unproven", "open_runs", "next_steps")] == [[], [], [], []]

    done = crontab.run(RECHECK)
    assert done.returncode == 0 and "2 windows compared, 0 revised" in done.stdout, done.stderr
    done = crontab.run(REFRESH)
    assert done.returncode == 0 and (crontab.home / "reports").is_dir(), done.stderr
    assert crontab.rows() == crontab.served(0, 2)
    assert not (crontab.home / IMPORTS).exists()

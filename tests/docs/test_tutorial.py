"""docs/tutorial.md is correct: its spec and commands, run as they are, read a realistic WMS whole."""

from __future__ import annotations

import re
import shlex
import sqlite3
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from simulator.depot import CORRECTED, DELETED, LATE, Depot, Move
from simulator.server import serve_depot
from tests.support.checkout import CHECKOUT

PAGE = (CHECKOUT / "docs" / "tutorial.md").read_text()
COMMANDS = [line.removeprefix("$ ") for line in re.findall(r"^\$ .*$", PAGE, flags=re.MULTILINE)]
[SPEC] = re.findall(r"```yaml\n(.*?)```", PAGE, flags=re.DOTALL)
[BY_TYPE, PUBLICATIONS] = re.findall(r"```sql\n(.*?)```", PAGE, flags=re.DOTALL)
[ANSWER] = re.findall(r"```json\n(.*?)```", PAGE, flags=re.DOTALL)
ADDRESS = "http://127.0.0.1:8077"
WORDS = {"PICK": "pick", "RCV": "receipt", "ADJ": "adjustment"}


@dataclass
class Desk:
    """A directory with the spec, and the WMS that it describes."""

    directory: Path
    depot: Depot
    url: str

    def run(self, command: str) -> str:
        """Run one of the page's commands, and return what it printed."""
        program, *options = shlex.split(command.replace(ADDRESS, self.url))
        if program == "curl":
            method = "POST" if "POST" in options else "GET"
            return httpx.request(method, options[-1]).raise_for_status().text
        assert program == "sku-velocity"
        line = [sys.executable, "-m", "sku_velocity", *options]
        environment = {"PYTHONPATH": str(CHECKOUT), "COLUMNS": "200"}
        done = subprocess.run(line, cwd=self.directory, env=environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def query(self, sql: str) -> list[tuple[object, ...]]:
        with closing(sqlite3.connect(self.directory / "depot.db")) as connection:
            return connection.execute(sql).fetchall()

    def rows(self) -> Counter[tuple[object, ...]]:
        columns = "movement_id, sku_id, units_moved, movement_type, order_id, location_id, unit_of_measure"
        return Counter(
            self.query(f"SELECT {columns}, direction, json_extract(extra, '$.lot') FROM published_movements")
        )


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    with serve_depot() as server:
        (tmp_path / "depot.yaml").write_text(SPEC.replace(ADDRESS, server.url))
        yield Desk(tmp_path, server.simulator, server.url)


def row_of(move: Move) -> tuple[object, ...]:
    """Return what a move must be stored as."""
    direction = "out" if move.quantity < 0 else "in"
    sku, kind = move.sku.strip().upper(), WORDS[move.type]
    return (
        str(move.id), sku, move.units, kind, move.order, move.bin, move.package, direction, move.lot
    )  # fmt: skip


def test_its_commands_read_the_day_and_what_came_later(desk: Desk) -> None:
    start, look, check, sync, post_late, recheck, refresh = COMMANDS
    assert start.endswith("simulator depot --port 8077")
    assert httpx.Response(200, text=ANSWER).json() == httpx.Response(200, text=desk.run(look)).json()
    assert "item.code" in desk.run(check)

    desk.run(sync)
    assert desk.rows() == Counter(map(row_of, desk.depot.moves))
    by_type = Counter((WORDS[m.type], "out" if m.quantity < 0 else "in", m.package) for m in desk.depot.moves)
    assert {tuple(row[:3]): row[3] for row in desk.query(BY_TYPE)} == by_type

    desk.run(post_late)
    assert desk.rows() != Counter(map(row_of, desk.depot.moves))
    desk.run(recheck)
    assert desk.rows() == Counter(map(row_of, desk.depot.moves))
    assert [row[4:] for row in desk.query(PUBLICATIONS)] == [
        ("first", None, None, None),
        ("revision", LATE, CORRECTED, DELETED),
    ]

    desk.run(refresh)
    picks = sum(move.units for move in desk.depot.moves if move.type == "PICK")
    assert desk.query("SELECT sum(units_7) FROM current_velocity") == [(picks,)]


def test_its_spec_is_short() -> None:
    assert len(SPEC.splitlines()) <= 28

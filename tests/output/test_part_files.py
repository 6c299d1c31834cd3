"""Files that appear whole: what an interrupted or killed process leaves, and who deletes it."""

from __future__ import annotations

import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest

from sku_velocity.output.part_files import is_outdated, part_file

HOLD = """
import sys
from pathlib import Path
from sku_velocity.output.part_files import part_file
with part_file(Path(sys.argv[1])) as part:
    part.write_text("half")
    print(part, flush=True)
    sys.stdin.read()
"""


def start_writer(directory: Path) -> tuple[subprocess.Popen[str], Path]:
    """Start a process that is in the middle of writing a file. Return it and its hidden file."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(directory)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout
    return process, Path(process.stdout.readline().strip())


def end(process: subprocess.Popen[str]) -> None:
    process.kill()
    process.communicate()


def test_the_next_writer_deletes_what_a_killed_one_left_and_nothing_else(tmp_path: Path) -> None:
    killed, abandoned = start_writer(tmp_path)
    alive, growing = start_writer(tmp_path)
    (tmp_path / ".other.tmp").touch()
    end(killed)
    with part_file(tmp_path) as part:
        assert set(tmp_path.iterdir()) == {growing, part, tmp_path / ".other.tmp"}
    assert abandoned != growing
    end(alive)


def test_an_interrupted_write_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError), part_file(tmp_path) as part:
        part.write_text("half")
        raise RuntimeError("interrupted")
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_moved_into_place_stays(tmp_path: Path) -> None:
    with part_file(tmp_path) as part:
        part.write_text("whole")
        part.replace(tmp_path / "report")
    assert [path.name for path in tmp_path.iterdir()] == ["report"]


def test_where_no_lock_can_be_seen_a_hidden_file_is_outdated_after_two_days(tmp_path: Path) -> None:
    with part_file(tmp_path) as part:
        today = datetime.now(UTC)
        assert not is_outdated(part.name, today)
    old = f".sku-velocity-20260301-{'0' * 32}.tmp"
    at = datetime(2026, 3, 2, 23, tzinfo=UTC)
    assert not is_outdated(old, at) and is_outdated(old, at.replace(day=3))
    assert not is_outdated(".old.tmp", today)

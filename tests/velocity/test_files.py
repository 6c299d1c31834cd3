"""The files of velocity: written whole, readable by others."""

from __future__ import annotations

from pathlib import Path

import pytest

from sku_velocity.velocity.files import write_whole


def test_an_interrupted_write_keeps_the_old_file_and_leaves_no_part(tmp_path: Path) -> None:
    def break_off(part: Path) -> None:
        part.write_text("half")
        raise RuntimeError("broken off")

    path = tmp_path / "velocity.csv"
    write_whole(path, lambda part: part.write_text("whole"))
    with pytest.raises(RuntimeError):
        write_whole(path, break_off)
    assert path.read_text() == "whole" and list(tmp_path.iterdir()) == [path]


def test_a_file_is_readable_by_others(tmp_path: Path) -> None:
    path = tmp_path / "velocity.csv"
    write_whole(path, lambda part: part.write_text("whole"))
    assert path.stat().st_mode & 0o777 == 0o644

"""Names of files and artifacts made of foreign text, and files that are there whole or not at all."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sku_velocity.velocity.files import slug, write_whole

ALLOWED = "A-Za-z0-9_.-"


@given(st.text(min_size=1))
def test_a_name_holds_allowed_characters_alone_and_hides_no_file(text: str) -> None:
    assert re.fullmatch(f"[{ALLOWED}]+", slug(text, ALLOWED)) and not slug(text, ALLOWED).startswith(".")


def test_a_name_that_is_one_stays_and_others_stay_apart() -> None:
    names = [slug(text, ALLOWED) for text in ("WH-01", "WH/01", "WH 01", "WH-01/", "..", ".", "倉庫")]
    assert names[0] == "WH-01" and len(set(names)) == len(names)


def test_a_file_that_breaks_off_leaves_the_one_before_and_no_part(tmp_path: Path) -> None:
    def break_off(part: Path) -> None:
        part.write_text("half")
        raise RuntimeError("broken off")

    path = tmp_path / "velocity.csv"
    write_whole(path, lambda part: part.write_text("whole"))
    with pytest.raises(RuntimeError):
        write_whole(path, break_off)
    assert path.read_text() == "whole" and list(tmp_path.iterdir()) == [path]


def test_others_may_read_it(tmp_path: Path) -> None:
    path = tmp_path / "velocity.csv"
    write_whole(path, lambda part: part.write_text("whole"))
    assert path.stat().st_mode & 0o777 == 0o644

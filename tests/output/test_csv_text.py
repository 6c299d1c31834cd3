"""CSV for spreadsheets: no cell of text is a formula, and nothing is lost by escaping."""

from __future__ import annotations

import csv
import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sku_velocity.output.csv_text import DANGEROUS, csv_line


def cells(line: str) -> list[str]:
    [row] = csv.reader(io.StringIO(line, newline=""))
    return row


@pytest.mark.parametrize("text", ["=HYPERLINK(1)", "-1-1", "+1", "@SUM(1)", "\t=1", "\n=1", "\uff1d1", "'=1"])
def test_text_that_would_be_a_formula_is_escaped(text: str) -> None:
    assert cells(csv_line([text])) == [f"'{text}"]


def test_numbers_and_empty_cells_are_not_text() -> None:
    assert csv_line([-1, -0.5, None, True, "A-1"]) == "-1,-0.5,,true,A-1\r\n"


@given(st.lists(st.text(st.characters(exclude_categories=["Cs"])), min_size=2))
def test_escaping_is_reversible_and_leaves_no_formula(texts: list[str]) -> None:
    read = cells(csv_line(texts))
    assert [cell.removeprefix("'") for cell in read] == texts
    assert not any(cell.startswith(DANGEROUS[:-1]) for cell in read)

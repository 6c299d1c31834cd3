"""Dead letters at a terminal: no text of theirs is taken for markup, or steers it."""

from __future__ import annotations

from itertools import groupby

from rich.console import Console
from rich.table import Table
from rich.text import Text

from sku_velocity.model.dead_letter import KeptLetter
from sku_velocity.steps.dead_letter_export import as_record
from sku_velocity.text import one_line, shorten

SHOWN_CHARACTERS = 120  # of a cell


def print_list(title: str, total: int, letters: list[KeptLetter]) -> None:
    """A table of letters for each run, and how many are left out of `total`."""
    console = Console()
    console.print(title, style="bold", markup=False, highlight=False)
    for run, of_run in groupby(letters, lambda kept: kept.run):
        some = list(of_run)
        place = f"{_cell(some[0].warehouse)} from {_cell(some[0].source)}, {some[0].window}, run {run}"
        console.print(Text(f"{place}, {some[0].run_state}"), soft_wrap=True)
        console.print(_table(some))
    if total > len(letters):
        console.print(f"and {total - len(letters)} more: see --limit, or `dead-letters export`")


def _table(letters: list[KeptLetter]) -> Table:
    table = Table()
    for name in ("position", "stage", "state", "reasons"):
        table.add_column(name, no_wrap=name != "reasons", justify="right" if name == "position" else "left")
    for kept in letters:
        cells = (str(kept.letter.position), kept.stage, kept.state, _cell(kept.reasons))
        table.add_row(*map(Text, cells))
    return table


def print_letter(kept: KeptLetter) -> None:
    """All that is known of a letter, a line for each field."""
    told = as_record(kept) | {"reasons": kept.reasons}
    console = Console()
    for name, value in told.items():
        if value is not None:
            line = f"{name:12}  {one_line(str(value))}"
            console.print(line, markup=False, highlight=False, emoji=False, soft_wrap=True)


def _cell(text: str, characters: int = SHOWN_CHARACTERS) -> str:
    return shorten(one_line(text), characters)

"""`python -m flows dead-letters list|show|export|discard`."""

from __future__ import annotations

import asyncio
import getpass
import json
import sys
from collections.abc import Awaitable, Callable
from contextlib import aclosing
from dataclasses import dataclass, replace
from datetime import datetime
from itertools import groupby
from pathlib import Path
from typing import Annotated, Any, TextIO, TypeVar

from cyclopts import App, Parameter
from rich.console import Console
from rich.table import Table
from rich.text import Text

from blocks.store import find_store
from flows.cli.terminal import move_password_to_environment, silence_prefect
from flows.replay_dead_letters import window_of
from sku_velocity.errors import ConfigurationError
from sku_velocity.model.dead_letter import VALIDATION, DeadLetterFilter, DeadLetterState, StoredDeadLetter
from sku_velocity.steps.dead_letter_export import Format, as_record, lines
from sku_velocity.store import Store
from sku_velocity.text import one_line, shorten

R = TypeVar("R")

DONE = 0
SHOWN = 50  # letters of a list, unless told otherwise
BATCH = 1000  # letters in memory at a time
FLAG = Parameter(negative="")

app = App(name="dead-letters", help="List, show, export and discard the records that may not pass.")


@Parameter(name="*")
@dataclass(frozen=True)
class FilterOptions:
    """Which letters are meant: those that fit all that is given."""

    source: str | None = None
    """The source's name, as its spec says it."""
    warehouse: str | None = None
    """The warehouse."""
    run: str | None = None
    """The id of the sync run."""
    reason: str | None = None
    """A text within the reasons, such as units_moved, in any case."""
    stage: str | None = None
    """validation (a record that may not pass) or push (a row that a slotting engine refused)."""
    start: datetime | None = None
    """Only of windows that end after this, in ISO 8601 with its zone."""
    end: datetime | None = None
    """Only of windows that start before this."""

    def selection(self, **more: Any) -> DeadLetterFilter:
        return DeadLetterFilter(
            source=self.source,
            warehouse=self.warehouse,
            run=self.run,
            reason=self.reason,
            stage=self.stage,
            window=window_of(self.start, self.end),
            **more,
        )


ALL = FilterOptions()


@app.command(name="list")
def list_letters(
    *,
    which: FilterOptions = ALL,
    state: DeadLetterState | None = DeadLetterState.OPEN,
    every_state: Annotated[bool, FLAG] = False,
    limit: Annotated[int, Parameter(help="How many of each kind are listed at most.")] = SHOWN,
    store: str | None = None,
    as_json: Annotated[bool, Parameter(name="--json", negative="")] = False,
) -> int:
    """List dead letters: first those of what shows, which are work to do, then those of other runs.

    Of other runs are those of windows that were superseded, whose records were read again, and those
    of windows that are not published.

    Parameters
    ----------
    state
        Where they stand: open, replayed or discarded.
    every_state
        List them wherever they stand.
    store
        A velocity-store block's name, or a URL. Default: $SKU_VELOCITY_STORE, or sqlite:///sku-velocity.db.
    as_json
        Print them as JSON.
    """
    wanted = which.selection(state=None if every_state else state)
    kinds = {True: "of windows that show", False: "of runs that do not show"}

    async def read(opened: Store) -> dict[bool, tuple[int, list[StoredDeadLetter]]]:
        found = {}
        for is_published in kinds:
            these = replace(wanted, is_published=is_published)
            found[is_published] = await opened.letters.count(these), await opened.letters.read(these, limit)
        return found

    found = _on_store(store, read)
    if as_json:
        told = {
            "published" if is_published else "unpublished": _as_json(*found[is_published])
            for is_published in kinds
        }
        print(json.dumps(told))
        return DONE
    for is_published, kind in kinds.items():
        print_list(
            f"{found[is_published][0]} {'' if every_state else f'{state} '}{kind}", *found[is_published]
        )
    return DONE


@app.command
def show(
    run: str,
    position: int,
    *,
    stage: str = VALIDATION,
    store: str | None = None,
    as_json: Annotated[bool, Parameter(name="--json", negative="")] = False,
) -> int:
    """Show one dead letter: its place, every reason, its record, and what became of it.

    Parameters
    ----------
    run
        The id of its sync run.
    position
        Its position in the window.
    stage
        validation or push.
    store
        A velocity-store block's name, or a URL. Default: $SKU_VELOCITY_STORE, or sqlite:///sku-velocity.db.
    as_json
        Print it as JSON, its record to the letter.
    """
    wanted = DeadLetterFilter(run=run, position=position, stage=stage)
    found = _on_store(store, lambda opened: opened.letters.read(wanted))
    if not found:
        raise ConfigurationError(f"run {run} has no dead letter of stage {stage} at position {position}")
    if as_json:
        print(json.dumps(as_record(found[0])))
    else:
        print_letter(found[0])
    return DONE


@app.command
def export(
    *,
    which: FilterOptions = ALL,
    state: DeadLetterState | None = None,
    form: Annotated[Format, Parameter(name="--format")] = Format.CSV,
    to: Path | None = None,
    store: str | None = None,
) -> int:
    """Write dead letters out, one by one: as CSV for a spreadsheet, or as JSON lines with the exact record.

    In CSV, a cell that a spreadsheet would take for a formula (it begins with = + - @, a tab or a carriage
    return), or that begins with ', gets a ' in front.

    Parameters
    ----------
    state
        Where they stand: open, replayed or discarded. Default: all.
    form
        csv or jsonl.
    to
        The file to write. Default: standard output.
    store
        A velocity-store block's name, or a URL. Default: $SKU_VELOCITY_STORE, or sqlite:///sku-velocity.db.
    """
    wanted = which.selection(state=state)

    async def write(opened: Store, file: TextIO) -> None:
        async with aclosing(opened.letters.stream(wanted, BATCH)) as letters:
            async for line in lines(letters, form):
                file.write(line)

    if to is None:
        _on_store(store, lambda opened: write(opened, sys.stdout))
        return DONE
    try:
        with to.open("w", encoding="utf-8", newline="") as file:
            _on_store(store, lambda opened: write(opened, file))
    except OSError as error:
        raise ConfigurationError(f"--to {to} cannot be written: {error}") from error
    return DONE


@app.command
def discard(
    *,
    which: FilterOptions = ALL,
    note: str,
    position: int | None = None,
    by: str | None = None,
    store: str | None = None,
) -> int:
    """Give up open dead letters: they stay, with who did it, when and why, and count as rejected.

    Parameters
    ----------
    note
        Why, for those who will ask.
    position
        Only the letter at this position.
    by
        Who gives them up. Default: the login name.
    store
        A velocity-store block's name, or a URL. Default: $SKU_VELOCITY_STORE, or sqlite:///sku-velocity.db.
    """
    if not note.strip():
        raise ConfigurationError("--note is empty: say why they are given up")
    if which == ALL:
        raise ConfigurationError("say which: give --run, --source, --warehouse, --reason, --start or --end")
    wanted, by = which.selection(position=position), by or getpass.getuser()
    count = _on_store(store, lambda opened: opened.letters.discard(wanted, by, note))
    print(f"{count} discarded")
    return DONE


def _on_store(name: str | None, ask: Callable[[Store], Awaitable[R]]) -> R:
    async def run() -> R:
        block = await find_store(move_password_to_environment(name))
        async with block.get_store() as opened:
            return await ask(opened)

    silence_prefect()
    return asyncio.run(run())


def _as_json(total: int, letters: list[StoredDeadLetter]) -> dict[str, Any]:
    return {"total": total, "letters": [as_record(each) for each in letters]}


SHOWN_CHARACTERS = 120  # of a cell


def print_list(title: str, total: int, letters: list[StoredDeadLetter]) -> None:
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


def _table(letters: list[StoredDeadLetter]) -> Table:
    table = Table()
    for name in ("position", "stage", "state", "reasons"):
        table.add_column(name, no_wrap=name != "reasons", justify="right" if name == "position" else "left")
    for kept in letters:
        cells = (str(kept.letter.position), kept.stage, kept.state, _cell(kept.reasons))
        table.add_row(*map(Text, cells))
    return table


def print_letter(kept: StoredDeadLetter) -> None:
    """All that is known of a letter, a line for each field."""
    told = as_record(kept) | {"reasons": kept.reasons}
    console = Console()
    for name, value in told.items():
        if value is not None:
            line = f"{name:12}  {one_line(str(value))}"
            console.print(line, markup=False, highlight=False, emoji=False, soft_wrap=True)


def _cell(text: str, characters: int = SHOWN_CHARACTERS) -> str:
    return shorten(one_line(text), characters)

"""The commands `dead-letters list|show|export|discard|redact`."""

from __future__ import annotations

import getpass
import json
import re
import sys
from collections.abc import Sequence
from contextlib import aclosing
from dataclasses import dataclass, replace
from datetime import datetime
from itertools import groupby
from pathlib import Path
from typing import Annotated, Any, NamedTuple, TextIO

from cyclopts import App, Parameter
from rich.console import Console
from rich.table import Table
from rich.text import Text

from sku_velocity.cli.executor import on_store
from sku_velocity.errors import ConfigurationError
from sku_velocity.model.dead_letter import (
    VALIDATION,
    DeadLetterFilter,
    DeadLetterState,
    RejectGroup,
    StoredDeadLetter,
)
from sku_velocity.steps.dead_letter_export import Format, as_record, lines
from sku_velocity.steps.replay import window_of
from sku_velocity.store import Store
from sku_velocity.text import one_line, shorten

DONE = 0
SHOWN = 50  # dead letters of a list, by default
BATCH = 1000  # dead letters in memory at a time

app = App(name="dead-letters")


@Parameter(name="*")
@dataclass(frozen=True)
class FilterOptions:
    """The filter options. All given criteria must match."""

    source: str | None = None
    """Only this source, by the name in its spec. Omit for all."""
    warehouse: str | None = None
    """Only this warehouse. Omit for all."""
    run: str | None = None
    """Only the sync run with this id. Omit for all."""
    reason: str | None = None
    """Only reasons with this text, such as units_moved, in any case. Omit for all."""
    stage: str | None = None
    """validation (a rejected record) or push (a row that a slotting engine refused). Omit for both."""
    start: datetime | None = None
    """Only windows that end after this, in ISO 8601 with a time zone. Omit for no limit."""
    end: datetime | None = None
    """Only windows that start before this. Omit for no limit."""

    def to_filter(self, **more: Any) -> DeadLetterFilter:
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


class Found(NamedTuple):
    """Dead letters of one kind: their number, and each of them or their groups by reason."""

    total: int
    letters: list[StoredDeadLetter]
    groups: list[RejectGroup]


@app.command(name="list")
def list_letters(
    *,
    which: FilterOptions = ALL,
    state: DeadLetterState | None = DeadLetterState.OPEN,
    every_state: bool = False,
    each: bool = False,
    limit: Annotated[int, Parameter(help="Reasons, or dead letters, to list of each kind, at most.")] = SHOWN,
    store: str | None = None,
    as_json: Annotated[bool, Parameter(name="--json")] = False,
) -> int:
    """List dead letters by their reasons: first those of published windows, which need work, then the others.

    Other runs are superseded runs, whose records were read again, and runs that are not published.

    Parameters
    ----------
    state
        Only this state: open, replayed or discarded.
    every_state
        List dead letters in every state.
    each
        List each dead letter by its position, not their reasons with a count and a sample.
    store
        A URL or, with Prefect, a velocity-store block's name. Omit for $SKU_VELOCITY_STORE.
    as_json
        Print each dead letter as JSON.
    """
    criteria = which.to_filter(state=None if every_state else state)
    kinds = {True: "in published windows", False: "in superseded or unpublished runs"}

    async def read(opened: Store) -> dict[bool, Found]:
        found = {}
        for is_published in kinds:
            chosen = replace(criteria, is_published=is_published)
            found[is_published] = Found(
                await opened.dead_letters.count(chosen),
                await opened.dead_letters.read(chosen, limit) if each or as_json else [],
                [] if each or as_json else await opened.dead_letters.by_reason(chosen, limit),
            )
        return found

    found = on_store(store, read)
    if as_json:
        report = {
            "published" if is_published else "unpublished": _as_json(*found[is_published][:2])
            for is_published in kinds
        }
        print(json.dumps(report))
        return DONE
    for is_published, kind in kinds.items():
        total, letters, groups = found[is_published]
        title = f"{total} {'' if every_state else f'{state} '}dead letters {kind}"
        if each:
            print_list(title, total, letters)
        else:
            Console().print(title, style="bold", markup=False, highlight=False)
            print_groups(groups, total)
    return DONE


@app.command
def show(
    run: str,
    position: int,
    *,
    stage: str = VALIDATION,
    store: str | None = None,
    as_json: Annotated[bool, Parameter(name="--json")] = False,
) -> int:
    """Show one dead letter: its place, all reasons, its record, and its state.

    Parameters
    ----------
    run
        The id of its sync run.
    position
        Its position in the window.
    stage
        validation or push.
    store
        A URL or, with Prefect, a velocity-store block's name. Omit for $SKU_VELOCITY_STORE.
    as_json
        Print the dead letter as JSON, with its exact record.
    """
    criteria = DeadLetterFilter(run=run, position=position, stage=stage)
    found = on_store(store, lambda opened: opened.dead_letters.read(criteria))
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
    """Export dead letters, as CSV for a spreadsheet or as JSON lines with the exact record.

    In CSV, a ' is put in front of each cell that a spreadsheet would take for a formula (it begins with
    = + - @, a tab or a carriage return) or that begins with '.

    Parameters
    ----------
    state
        Only this state: open, replayed or discarded. Omit for all.
    form
        csv or jsonl.
    to
        The file to write. Default: standard output.
    store
        A URL or, with Prefect, a velocity-store block's name. Omit for $SKU_VELOCITY_STORE.
    """
    criteria = which.to_filter(state=state)

    async def write(opened: Store, file: TextIO) -> None:
        async with aclosing(opened.dead_letters.stream(criteria, BATCH)) as letters:
            async for line in lines(letters, form):
                file.write(line)

    if to is None:
        on_store(store, lambda opened: write(opened, sys.stdout))
        return DONE
    try:
        with to.open("w", encoding="utf-8", newline="") as file:
            on_store(store, lambda opened: write(opened, file))
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
    """Discard open dead letters. They stay stored, with who did it, when and why, and count as rejected.

    Parameters
    ----------
    note
        The reason, stored with the dead letters.
    position
        Only the dead letter at this position. Omit for all.
    by
        The user who discards them. Default: the login name.
    store
        A URL or, with Prefect, a velocity-store block's name. Omit for $SKU_VELOCITY_STORE.
    """
    if not note.strip():
        raise ConfigurationError("--note is empty: state why the dead letters are discarded")
    _check_filter(which)
    criteria, by = which.to_filter(position=position), by or getpass.getuser()
    count = on_store(store, lambda opened: opened.dead_letters.discard(criteria, by, note))
    print(f"{count} discarded")
    return DONE


@app.command
def redact(*, path: list[str], which: FilterOptions = ALL, store: str | None = None) -> int:
    """Replace values in the stored records, such as personal data, by "(redacted)". This cannot be undone.

    Parameters
    ----------
    path
        The dotted path of a value in the record; repeat it for several. It goes through lists.
    store
        A URL or, with Prefect, a velocity-store block's name. Omit for $SKU_VELOCITY_STORE.
    """
    _check_filter(which)
    count = on_store(store, lambda opened: opened.dead_letters.redact(which.to_filter(), path))
    print(f"{count} redacted")
    return DONE


def _check_filter(which: FilterOptions) -> None:
    if which == ALL:
        raise ConfigurationError(
            "no filter is given: pass --run, --source, --warehouse, --reason, --stage, --start or --end"
        )


def _as_json(total: int, letters: list[StoredDeadLetter]) -> dict[str, Any]:
    return {"total": total, "letters": [as_record(each) for each in letters]}


SHOWN_CHARACTERS = 120  # of a cell
SAMPLE_CHARACTERS = 40


def print_list(title: str, total: int, letters: list[StoredDeadLetter]) -> None:
    """Print a table of dead letters per run, and how many of `total` are left out."""
    console = Console()
    console.print(title, style="bold", markup=False, highlight=False)
    for run, of_run in groupby(letters, lambda stored: stored.run):
        group = list(of_run)
        place = f"{_cell(group[0].warehouse)} from {_cell(group[0].source)}, {group[0].window}, run {run}"
        console.print(Text(f"{place}, {group[0].run_state}"), soft_wrap=True)
        console.print(_table(group))
    if total > len(letters):
        console.print(f"and {total - len(letters)} more: see --limit, or `dead-letters export`")


def print_groups(groups: Sequence[RejectGroup], total: int) -> None:
    """Print a table of reasons, each with its number of dead letters and one of them as a sample."""
    table = Table()
    for name in ("number", "reasons", "sample value", "run", "position"):
        table.add_column(name, justify="right" if name in ("number", "position") else "left", overflow="fold")
    for group in groups:
        stored = group.sample
        value, position = _cell(sample_value(stored), SAMPLE_CHARACTERS), str(stored.letter.position)
        cells = (str(group.count), _cell(stored.reasons), value, _cell(stored.run), position)
        table.add_row(*map(Text, cells))
    if groups:
        Console().print(table)
    if (others := total - sum(group.count for group in groups)) > 0:
        Console().print(f"and {others} more for other reasons: see --limit")


def sample_value(stored: StoredDeadLetter) -> str:
    """Return the value that the first reason is about, as JSON, or else the record."""
    record = stored.letter.record_json
    field = stored.letter.reasons[0].field if stored.letter.reasons else ""
    label = re.fullmatch(r"\S+ \((.+)\)", field)  # with the path, if it differs from the field's name
    try:
        return json.dumps(_value_at(json.loads(record), label[1] if label else field), ensure_ascii=False)
    except (ValueError, LookupError, TypeError):
        return record


def _value_at(record: Any, path: str) -> Any:
    for key in re.split(r"(?<!\\)\.", path):
        record = record[int(key) if isinstance(record, list) else key.replace("\\.", ".")]
    return record


def _table(letters: list[StoredDeadLetter]) -> Table:
    table = Table()
    for name in ("position", "stage", "state", "reasons"):
        table.add_column(name, no_wrap=name != "reasons", justify="right" if name == "position" else "left")
    for stored in letters:
        cells = (str(stored.letter.position), stored.stage, stored.state, _cell(stored.reasons))
        table.add_row(*map(Text, cells))
    return table


def print_letter(stored: StoredDeadLetter) -> None:
    """Print everything known about a dead letter, one line per field."""
    fields = as_record(stored) | {"reasons": stored.reasons}
    console = Console()
    for name, value in fields.items():
        if value is not None:
            line = f"{name:12}  {one_line(str(value))}"
            console.print(line, markup=False, highlight=False, emoji=False, soft_wrap=True)


def _cell(text: str, characters: int = SHOWN_CHARACTERS) -> str:
    return shorten(one_line(text), characters)

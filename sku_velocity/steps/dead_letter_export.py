"""Dead letters as lines of JSON and of CSV, for the people who reconcile them."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import AsyncIterator, Iterable
from enum import StrEnum
from typing import Any

from sku_velocity.model.dead_letter import StoredDeadLetter
from sku_velocity.model.window import iso

# What a spreadsheet takes for the beginning of a formula, and the quote itself, so that it can be undone.
DANGEROUS = ("=", "+", "-", "@", "\t", "\r", "'")
COLUMNS = (
    *("state", "source", "warehouse", "window_start", "window_end", "run", "run_state", "is_published"),
    *("stage", "position", "reasons", "record_json", "created_at", "changed_by", "changed_at", "note"),
)


class Format(StrEnum):
    """How letters are written out."""

    CSV = "csv"
    JSONL = "jsonl"


def as_record(kept: StoredDeadLetter) -> dict[str, Any]:
    """A letter as JSON knows it, by `COLUMNS`; `record_json` is the record's JSON text, to the letter.

    The bounds of a window of everything are null.
    """
    window, change = kept.window, kept.change
    bounds = (None, None) if window.is_everything else (iso(window.start), iso(window.end))
    return {
        "state": kept.state.value,
        "source": kept.source,
        "warehouse": kept.warehouse,
        "window_start": bounds[0],
        "window_end": bounds[1],
        "run": kept.run,
        "run_state": kept.run_state.value,
        "is_published": kept.is_published,
        "stage": kept.stage,
        "position": kept.letter.position,
        "reasons": [{"field": each.field, "message": each.message} for each in kept.letter.reasons],
        "record_json": kept.letter.record_json,
        "created_at": iso(kept.created_at),
        "changed_by": change.by if change else None,
        "changed_at": iso(change.at) if change else None,
        "note": change.note if change else None,
    }


async def lines(letters: AsyncIterator[StoredDeadLetter], form: Format) -> AsyncIterator[str]:
    """The letters as lines of text, each with its end, one at a time; before those of CSV, the header."""
    if form is Format.CSV:
        yield _csv_line(COLUMNS)
    async for kept in letters:
        yield _csv_line(_cells(kept)) if form is Format.CSV else json.dumps(as_record(kept)) + "\n"


def defused(cell: str) -> str:
    """A cell that no spreadsheet takes for a formula: one that begins like it gets a `'` in front.

    So does one that begins with `'`: to undo it, take one `'` from the front of each cell that has any.
    https://owasp.org/www-community/attacks/CSV_Injection
    """
    return f"'{cell}" if cell.startswith(DANGEROUS) else cell


def _cells(kept: StoredDeadLetter) -> list[str]:
    record = as_record(kept) | {"reasons": kept.reasons}
    return ["" if record[name] is None else defused(_text(record[name])) for name in COLUMNS]


def _text(value: Any) -> str:
    told = str(value).lower() if isinstance(value, bool) else str(value)
    return told.encode("utf-8", "backslashreplace").decode()  # a reason may hold half a character


def _csv_line(cells: Iterable[str]) -> str:
    line = io.StringIO()
    csv.writer(line).writerow(cells)
    return line.getvalue()

"""Dead letters as JSON lines or CSV, for the people who reconcile them."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from enum import StrEnum
from typing import Any

from sku_velocity.model.dead_letter import StoredDeadLetter
from sku_velocity.model.window import iso
from sku_velocity.output.csv_text import csv_line

COLUMNS = (
    *("state", "source", "warehouse", "window_start", "window_end", "run", "run_state", "is_published"),
    *("stage", "position", "reasons", "record_json", "created_at", "changed_by", "changed_at", "note"),
)


class Format(StrEnum):
    """The format of exported letters."""

    CSV = "csv"
    JSONL = "jsonl"


def as_record(stored: StoredDeadLetter) -> dict[str, Any]:
    """Return a letter as JSON values by `COLUMNS`; `record_json` is the record's JSON text, unchanged.

    The bounds of an unbounded window are null.
    """
    change = stored.change
    start, end = stored.window.bounds
    return {
        "state": stored.state.value,
        "source": stored.source,
        "warehouse": stored.warehouse,
        "window_start": start and iso(start),
        "window_end": end and iso(end),
        "run": stored.run,
        "run_state": stored.run_state.value,
        "is_published": stored.is_published,
        "stage": stored.stage,
        "position": stored.letter.position,
        "reasons": [{"field": each.field, "message": each.message} for each in stored.letter.reasons],
        "record_json": stored.letter.record_json,
        "created_at": iso(stored.created_at),
        "changed_by": change.by if change else None,
        "changed_at": iso(change.at) if change else None,
        "note": change.note if change else None,
    }


async def lines(letters: AsyncIterator[StoredDeadLetter], form: Format) -> AsyncIterator[str]:
    """Yield the letters as lines of text with line ends; CSV starts with a header."""
    if form is Format.CSV:
        yield csv_line(COLUMNS)
    async for stored in letters:
        yield csv_line(_cells(stored)) if form is Format.CSV else json.dumps(as_record(stored)) + "\n"


def _cells(stored: StoredDeadLetter) -> list[object]:
    record = as_record(stored) | {"reasons": stored.reasons}
    return [record[name] for name in COLUMNS]

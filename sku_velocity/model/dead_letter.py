"""Dead letters as stored: their state, who closed them, and a filter for them."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

from sku_velocity.model.movement import DeadLetter, MovementRow, Reason
from sku_velocity.model.run import RunState
from sku_velocity.model.window import Window

VALIDATION, PUSH = "validation", "push"  # stages: an invalid record, a row that an engine rejected


class DeadLetterState(StrEnum):
    """The state of a dead letter.

    A replayed one was accepted by a later spec: its movement is in the window, or it is trimmed or filtered,
    as its note says. A discarded one was given up by a user.
    """

    OPEN = "open"
    REPLAYED = "replayed"
    DISCARDED = "discarded"


@dataclass(frozen=True)
class Change:
    """The last change of a dead letter's state: by whom, when, and why."""

    by: str
    at: datetime
    note: str


@dataclass(frozen=True)
class StoredDeadLetter:
    """A dead letter in the store, with its source, warehouse, window, run and position.

    `is_published` is whether any part of its run is published: only then does an open letter need work.
    Otherwise a later run has read its record again, or its window is not published yet.
    """

    run: str
    source: str
    warehouse: str
    window: Window
    run_state: RunState
    is_published: bool
    stage: str
    letter: DeadLetter
    created_at: datetime
    state: DeadLetterState
    change: Change | None

    @property
    def reasons(self) -> str:
        """All reasons on one line, for display."""
        return "; ".join(map(str, self.letter.reasons))


@dataclass(frozen=True)
class DeadLetterFilter:
    """Filter for dead letters. All given criteria must match.

    `reason` is a part of the displayed reasons, ignoring case; `window` overlaps the run's window;
    `is_published` is whether any part of the run is published.
    """

    source: str | None = None
    warehouse: str | None = None
    run: str | None = None
    reason: str | None = None
    state: DeadLetterState | None = None
    stage: str | None = None
    position: int | None = None
    window: Window | None = None
    is_published: bool | None = None


@dataclass(frozen=True)
class RejectGroup:
    """The dead letters with the same reasons: their count and a sample."""

    count: int
    sample: StoredDeadLetter


REDACTION = "(redacted)"


def redacted(record_json: str, paths: Sequence[str]) -> str:
    """Return a record without the values at dotted paths, as it is if it has none.

    A path goes through each record of a list. A record that cannot be read as JSON is redacted as a whole.
    """
    try:
        record = json.loads(record_json)
    except (ValueError, RecursionError):
        return json.dumps(REDACTION)
    has_changed = [_redact(record, re.split(r"(?<!\\)\.", path)) for path in paths]
    return json.dumps(record) if any(has_changed) else record_json


def _redact(value: Any, keys: Sequence[str]) -> bool:
    if isinstance(value, list) and not (keys[0].isdecimal() and int(keys[0]) < len(value)):
        return any([_redact(each, keys) for each in value])
    name: Any = int(keys[0]) if isinstance(value, list) else keys[0].replace("\\.", ".")
    if not isinstance(value, list) and not (isinstance(value, dict) and name in value):
        return False
    if len(keys) > 1:
        return _redact(value[name], keys[1:])
    is_open = value[name] not in (None, REDACTION)
    value[name] = REDACTION if is_open else value[name]
    return is_open


class ReplayOutcome(StrEnum):
    """The outcome of a record's replay; the values are the names of the ledger's counts."""

    LOADED = "loaded"
    TRIMMED = "trimmed"
    FILTERED = "filtered"
    REJECTED = "rejected"


@dataclass(frozen=True)
class RevalidatedRecord:
    """A dead letter's position and outcome: with its row if loaded, its reasons if rejected."""

    position: int
    outcome: ReplayOutcome
    row: MovementRow | None = None
    reasons: tuple[Reason, ...] = ()

"""The SQL of dead letters that several repositories share: their rows, and the filter for them."""

from __future__ import annotations

import json
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import ColumnElement, Row, and_, exists, or_

from sku_velocity.model.dead_letter import VALIDATION, DeadLetterFilter
from sku_velocity.model.movement import DeadLetter, Reason
from sku_velocity.store.tables import dead_letters, published_ranges, sync_runs

letters, runs = dead_letters.c, sync_runs.c

is_published = exists().where(published_ranges.c.run_key == runs.run_key).correlate(sync_runs)


def letter_values(key: int, letters: Iterable[DeadLetter], stage: str = VALIDATION) -> list[dict[str, Any]]:
    """Convert dead letters of a run to rows."""
    now = datetime.now(UTC)
    return [
        {
            "run_key": key,
            "stage": stage,
            "position": letter.position,
            "record_json": letter.record_json,
            "reasons": json.dumps([[reason.field, reason.message] for reason in letter.reasons]),
            "created_at": now,
        }
        for letter in letters
    ]


def to_letter(row: Row[Any]) -> DeadLetter:
    """Convert a row to a dead letter."""
    reasons = tuple(Reason(field, message) for field, message in json.loads(row.reasons))
    return DeadLetter(row.position, row.record_json, reasons)


def matches(criteria: DeadLetterFilter) -> ColumnElement[bool]:
    """Return the condition for a dead letter, joined with its run, to match all criteria."""
    pairs: list[tuple[Any, ColumnElement[bool]]] = [
        (criteria.source, runs.source == criteria.source),
        (criteria.warehouse, runs.warehouse_id == criteria.warehouse),
        (criteria.run, or_(runs.run_id == criteria.run, runs.flow_run_id == criteria.run)),
        (criteria.state, letters.state == criteria.state),
        (criteria.stage, letters.stage == criteria.stage),
        (criteria.position, letters.position == criteria.position),
        (criteria.is_published, is_published if criteria.is_published else ~is_published),
    ]
    conditions = [condition for value, condition in pairs if value is not None]
    if criteria.window:
        overlaps = and_(runs.window_start < criteria.window.end, runs.window_end > criteria.window.start)
        conditions.append(overlaps)
    if criteria.reason:
        conditions.append(_contains_reason(criteria.reason))
    return and_(letters.run_key == runs.run_key, *conditions)


def _contains_reason(text: str) -> ColumnElement[bool]:
    """Return the condition for the reasons to contain a text, as in their JSON or as shown: `field: rule`."""
    quoted = json.dumps(text)[1:-1]
    forms = dict.fromkeys((quoted, quoted.replace(": ", '", "', 1)))
    return or_(*(letters.reasons.icontains(form, autoescape=True) for form in forms))

"""The outcome of a rejected record by the current spec."""

from __future__ import annotations

import json

import pytest

from sku_velocity.model.dead_letter import ReplayOutcome
from sku_velocity.model.movement import DeadLetter
from sku_velocity.model.run import SyncRun
from sku_velocity.steps.revalidation import revalidate
from tests.support.dead_letters import fixed_spec, record
from tests.support.engine import seconds

RUN = SyncRun("run", "acme", "WH-01", seconds(0, 20), 20)
GOOD = json.dumps(record(3))


def outcome(raw: str) -> ReplayOutcome:
    (validated,) = revalidate(
        fixed_spec(filter=[{"path": "kind", "in": ["move", None]}]), RUN, None, [_letter(raw)]
    )
    assert bool(validated.row) is (validated.outcome is ReplayOutcome.LOADED)
    assert bool(validated.reasons) is (validated.outcome is ReplayOutcome.REJECTED)
    return validated.outcome


def _letter(raw: str) -> DeadLetter:
    return DeadLetter(3, raw, ())


def test_a_record_gets_its_outcome() -> None:
    assert outcome(GOOD) is ReplayOutcome.LOADED
    assert outcome(json.dumps(record(30))) is ReplayOutcome.TRIMMED
    assert outcome(json.dumps(record(3, kind="note"))) is ReplayOutcome.FILTERED
    assert outcome(json.dumps(record(3, sku_id="no sku!"))) is ReplayOutcome.REJECTED
    assert outcome(json.dumps(record(3, warehouse_id="WH-02"))) is ReplayOutcome.REJECTED


@pytest.mark.parametrize(
    "raw",
    [
        *("null", "[]", "1", "", "not JSON", "1, 2", f"{GOOD}, {GOOD}", f"{GOOD}] [", "[" * 5000),
        GOOD[:-1] + ', "x": ' + "[" * 5000 + "]" * 5000 + "}",
        GOOD[:-1] + ', "x": ' + "9" * 5000 + "}",
    ],
)
def test_what_is_not_a_record_stays_rejected(raw: str) -> None:
    assert outcome(raw) is ReplayOutcome.REJECTED

"""The fault log itself: it detects lost, duplicated and foreign rows."""

from __future__ import annotations

from collections import Counter

import pytest

from tests.chaos.fault_log import FaultLog

TRUTH = Counter([("a",), ("b",), ("b",)])


@pytest.mark.parametrize("seen", [TRUTH - Counter([("b",)]), TRUTH + Counter([("a",)]), Counter([("c",)])])
def test_a_lost_duplicated_or_foreign_row_is_detected(seen: Counter[tuple[str]]) -> None:
    with pytest.raises(AssertionError, match="lost"):
        FaultLog().record("kill", TRUTH, seen, 1.0)


def test_the_table_adds_up_the_trials_of_a_fault() -> None:
    log = FaultLog()
    log.record("kill", TRUTH, TRUTH, 1.0)
    log.record("kill", TRUTH, TRUTH, 2.0)
    assert log.table()[1].split() == ["kill", "2", "0", "0", "2.0"]

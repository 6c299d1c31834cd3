"""Gaps and windows together make up the span, for any windows."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from sku_velocity.model.coverage import gaps
from sku_velocity.model.window import Window

MIDNIGHT = datetime(2026, 3, 1, tzinfo=UTC)
SPAN = 60  # minutes


def minutes(start: int, end: int) -> Window:
    return Window(MIDNIGHT + timedelta(minutes=start), MIDNIGHT + timedelta(minutes=end))


windows = st.builds(lambda a, length: minutes(a, a + length), st.integers(-20, 80), st.integers(1, 30))


def minutes_in(windows: list[Window]) -> set[int]:
    """Return the minutes of the span that these windows contain."""
    return {n for n in range(SPAN) if any(MIDNIGHT + timedelta(minutes=n) in each for each in windows)}


@given(st.lists(windows, max_size=8))
def test_gaps_and_windows_make_up_the_span_without_overlap(covered: list[Window]) -> None:
    found = gaps(minutes(0, SPAN), covered)
    assert minutes_in(found) | minutes_in(covered) == set(range(SPAN))
    assert minutes_in(found).isdisjoint(minutes_in(covered))


@given(st.lists(windows, max_size=8))
def test_gaps_are_in_order_within_the_span_and_not_adjacent(covered: list[Window]) -> None:
    found = gaps(minutes(0, SPAN), covered)
    assert all(left.end < right.start for left, right in pairwise(found))
    assert all(each.start >= MIDNIGHT and each.end <= MIDNIGHT + timedelta(minutes=SPAN) for each in found)


@given(st.lists(windows, max_size=8))
def test_filling_the_gaps_leaves_none(covered: list[Window]) -> None:
    assert gaps(minutes(0, SPAN), [*covered, *gaps(minutes(0, SPAN), covered)]) == []


def test_no_coverage_is_one_gap_and_full_coverage_is_none() -> None:
    assert gaps(minutes(0, 60), []) == [minutes(0, 60)]
    assert gaps(minutes(0, 60), [Window.everything()]) == []

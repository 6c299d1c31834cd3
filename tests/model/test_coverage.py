"""Gaps and what covers them make up the span, whatever the windows are."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from sku_velocity.model.coverage import cut, gaps
from sku_velocity.model.window import Window

MIDNIGHT = datetime(2026, 3, 1, tzinfo=UTC)
SPAN = 60  # minutes


def minutes(start: int, end: int) -> Window:
    return Window(MIDNIGHT + timedelta(minutes=start), MIDNIGHT + timedelta(minutes=end))


windows = st.builds(lambda a, length: minutes(a, a + length), st.integers(-20, 80), st.integers(1, 30))


def held(windows: list[Window]) -> set[int]:
    """The minutes of the span that these windows hold."""
    return {n for n in range(SPAN) if any(MIDNIGHT + timedelta(minutes=n) in each for each in windows)}


@given(st.lists(windows, max_size=8))
def test_gaps_and_what_covers_them_are_the_span_and_share_no_instant(covered: list[Window]) -> None:
    found = gaps(minutes(0, SPAN), covered)
    assert held(found) | held(covered) == set(range(SPAN))
    assert held(found).isdisjoint(held(covered))


@given(st.lists(windows, max_size=8))
def test_gaps_are_in_order_within_the_span_and_never_touch(covered: list[Window]) -> None:
    found = gaps(minutes(0, SPAN), covered)
    assert all(left.end < right.start for left, right in pairwise(found))
    assert all(each.start >= MIDNIGHT and each.end <= MIDNIGHT + timedelta(minutes=SPAN) for each in found)


@given(st.lists(windows, max_size=8))
def test_what_fills_the_gaps_leaves_none(covered: list[Window]) -> None:
    assert gaps(minutes(0, SPAN), [*covered, *gaps(minutes(0, SPAN), covered)]) == []


@given(windows, st.integers(1, 45))
def test_pieces_join_to_the_stretch_and_none_is_longer_than_asked(stretch: Window, size: int) -> None:
    pieces = cut(stretch, timedelta(minutes=size))
    assert (pieces[0].start, pieces[-1].end) == (stretch.start, stretch.end)
    assert all(left.end == right.start for left, right in pairwise(pieces))
    assert all(each.end - each.start <= timedelta(minutes=size) for each in pieces)


def test_pieces_of_an_hour_are_whole_hours_but_for_the_ends() -> None:
    assert cut(minutes(20, 150), timedelta(hours=1)) == [minutes(20, 60), minutes(60, 120), minutes(120, 150)]


def test_a_stretch_shorter_than_a_window_is_read_as_it_is() -> None:
    assert cut(minutes(5, 17), timedelta(hours=24)) == [minutes(5, 17)]


def test_nothing_covered_is_one_gap_and_everything_covered_is_none() -> None:
    assert gaps(minutes(0, 60), []) == [minutes(0, 60)]
    assert gaps(minutes(0, 60), [Window.everything()]) == []

"""How late rows came, between two looks at the source, and which windows are compared first."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from sku_velocity.model.publication import Cause
from sku_velocity.model.recheck import Lag, PublishedWindow, RecheckedWindow, lateness_of, sort_windows
from sku_velocity.model.window import Window
from tests.support.store_rows import a_run, hour, hours


def revised(added: int, known: float, seen: float, **parts: Any) -> RecheckedWindow:
    """Return a window whose added rows came between two numbers of minutes after its end."""
    end = hour(1)
    fixed: dict[str, Any] = {
        "warehouse": "WH-01",
        "start": hour(0),
        "end": end,
        "why": "11 records, 10 before",
    }
    fixed |= {"known_at": end + timedelta(minutes=known), "seen_at": end + timedelta(minutes=seen)}
    fixed |= {"published": True, "cause": Cause.REVISION, "added": added}
    return RecheckedWindow(**fixed | parts)


def test_each_figure_is_a_range_between_two_looks_weighted_by_rows() -> None:
    lateness = lateness_of([revised(98, 10, 60), revised(1, 60, 120), revised(1, 600, 1440.5)])
    assert lateness is not None and lateness.rows == 100
    assert lateness.p50 == lateness.p95 == Lag(at_least=10, at_most=60)
    assert lateness.p99 == Lag(at_least=60, at_most=120) and lateness.settle_minutes == 120
    assert lateness.max == Lag(at_least=600, at_most=1440.5)


def test_a_window_read_before_its_end_has_no_negative_lag() -> None:
    lateness = lateness_of([revised(1, -30, 5)])
    assert lateness is not None and lateness.max == Lag(at_least=0, at_most=5)


def test_only_rows_added_because_the_source_changed_count() -> None:
    everything = Window.everything()
    assert lateness_of([]) is None
    for other in (
        revised(0, 1, 2, removed=3),
        revised(3, 1, 2, cause=Cause.SPEC),
        revised(3, 1, 2, published=False, cause=None),
        revised(3, 1, 2, start=everything.start, end=everything.end),
    ):
        assert lateness_of([other]) is None


def published(start: int, looked_at: datetime | None = None, **parts: Any) -> PublishedWindow:
    window = hours(start, start + 1)
    return PublishedWindow(a_run(window), (window,), hour(start + 1), looked_at, **parts)


def test_reported_windows_come_first_then_those_that_were_not_looked_at_for_longest() -> None:
    oldest_look, never, newest_never = published(5, hour(30)), published(1), published(2)
    latest_look, reported = published(6, hour(31)), published(0, hour(32), changed_at=hour(31))
    windows = [latest_look, oldest_look, never, reported, newest_never]
    assert sort_windows(windows) == [reported, newest_never, never, oldest_look, latest_look]


def test_windows_of_the_same_time_are_in_another_order_at_another_time() -> None:
    names = [f"WH-{number:02}" for number in range(9)]

    def order(start: int) -> list[str]:
        windows = [published(start) for _ in names]
        named = [
            replace(each, run=replace(each.run, warehouse=name))
            for each, name in zip(windows, names, strict=True)
        ]
        return [each.run.warehouse for each in sort_windows(named)]

    orders = {tuple(order(start)) for start in range(5)}
    assert len(orders) == 5 and all(sorted(each) == names for each in orders)

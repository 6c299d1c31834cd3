"""A window and its bounds: none stand for everything."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from sku_velocity.model.window import Window, short_label

HOUR = Window(datetime(2026, 3, 1, tzinfo=UTC), datetime(2026, 3, 1, 1, tzinfo=UTC))


@pytest.mark.parametrize("window", [HOUR, Window.everything()], ids=str)
def test_a_window_follows_from_its_bounds(window: Window) -> None:
    assert Window.between(*window.bounds) == window


def test_everything_has_no_bounds_and_one_bound_leaves_the_other_side_open() -> None:
    assert Window.everything().bounds == (None, None) and HOUR.bounds == (HOUR.start, HOUR.end)
    assert Window.between(HOUR.start, None) == Window(HOUR.start, Window.everything().end)


@pytest.mark.parametrize(
    ("start", "length", "label"),
    [
        ("2026-11-23T02:00:00Z", timedelta(hours=1), "2026-11-23T02:00Z +1h"),
        ("2026-11-23T02:00:00Z", timedelta(days=7), "2026-11-23T02:00Z +7d"),
        ("2026-11-23T02:30:00Z", timedelta(days=1, minutes=90), "2026-11-23T02:30Z +1d1h30m"),
        ("2026-11-23T02:00:01Z", timedelta(seconds=59), "2026-11-23T02:00:01Z +59s"),
    ],
)
def test_a_short_label_is_the_start_and_the_length(start: str, length: timedelta, label: str) -> None:
    since = datetime.fromisoformat(start)
    assert short_label(Window(since, since + length)) == label
    assert short_label(Window.everything()) == "everything"

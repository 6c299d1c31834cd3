"""A window and its bounds: none stand for everything."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from sku_velocity.model.window import Window

HOUR = Window(datetime(2026, 3, 1, tzinfo=UTC), datetime(2026, 3, 1, 1, tzinfo=UTC))


@pytest.mark.parametrize("window", [HOUR, Window.everything()], ids=str)
def test_a_window_follows_from_its_bounds(window: Window) -> None:
    assert Window.between(*window.bounds) == window


def test_everything_has_no_bounds_and_one_bound_leaves_the_other_side_open() -> None:
    assert Window.everything().bounds == (None, None) and HOUR.bounds == (HOUR.start, HOUR.end)
    assert Window.between(HOUR.start, None) == Window(HOUR.start, Window.everything().end)

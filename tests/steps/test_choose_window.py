"""A run reads the window that it names, or the last hour that had settled when it was due."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from sku_velocity.errors import ConfigurationError
from sku_velocity.model.window import Window
from sku_velocity.source.spec import parse_spec
from sku_velocity.steps.sync import choose_window

PLAIN = parse_spec({"name": "acme", "base_url": "https://wms.example.com"}, "test")
WINDOWED = PLAIN.model_validate(
    {"name": "acme", "base_url": "https://wms.example.com", "window": {"params": {"start": "from"}}}
)
SETTLE = timedelta(minutes=10)


def at(hour: int, minute: int = 0, second: int = 0) -> datetime:
    return datetime(2026, 3, 1, hour, minute, second, tzinfo=UTC)


DUE = at(8, 20)


@pytest.mark.parametrize(("due", "end"), [(at(8, 20), 8), (at(8, 9, 59), 7)])
def test_the_default_is_the_last_hour_settled_when_the_run_was_due(due: datetime, end: int) -> None:
    assert choose_window(WINDOWED, None, None, due, SETTLE) == Window(at(end - 1), at(end))


def test_only_an_end_means_the_hour_before_it() -> None:
    assert choose_window(WINDOWED, None, at(5), DUE, SETTLE) == Window(at(4), at(5))


def test_a_source_without_windows_is_read_whole_unless_bounds_are_given() -> None:
    assert choose_window(PLAIN, None, None, DUE, SETTLE).is_everything
    assert choose_window(PLAIN, at(1), at(2), DUE, SETTLE) == Window(at(1), at(2))


def test_an_end_before_the_start_is_a_wrong_setting() -> None:
    with pytest.raises(ConfigurationError, match="after its start"):
        choose_window(PLAIN, at(2), at(1), DUE, SETTLE)

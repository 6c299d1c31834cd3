"""A simulated WMS that supports windows: a week of March with about 143 records a day."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

WINDOWED: dict[str, Any] = {"window": {"params": {"start": "start", "end": "end"}}}


def day(number: int) -> datetime:
    return datetime(2026, 3, number, tzinfo=UTC)


def windows_of(*numbers: int) -> set[str]:
    """Return the windows of these days of March, as the simulator reports them."""
    return {f"{day(n).isoformat()}/{day(n + 1).isoformat()}" for n in numbers}

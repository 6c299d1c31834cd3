"""Finding the gaps that no window covers, and splitting a stretch of time into windows."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta

from sku_velocity.model.window import Window

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)  # midnight, so that windows of an hour or a day are aligned


def gaps(span: Window, covered: Iterable[Window]) -> list[Window]:
    """Return the stretches of `span` that no window covers, in order of time; no two are adjacent."""
    found, reached = [], span.start
    for window in sorted(covered, key=lambda each: each.start):
        if window.start >= span.end:
            break
        if window.start > reached:
            found.append(Window(reached, window.start))
        reached = max(reached, window.end)
    return [*found, Window(reached, span.end)] if reached < span.end else found


def cut(stretch: Window, size: timedelta) -> list[Window]:
    """Split a stretch into windows of `size`, aligned to UTC; the first and last may be shorter."""
    windows, start = [], stretch.start
    while start < stretch.end:
        end = min(EPOCH + ((start - EPOCH) // size + 1) * size, stretch.end)
        windows.append(Window(start, end))
        start = end
    return windows

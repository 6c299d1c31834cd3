"""Which stretches of a span of time no window covers, and how a stretch is cut into windows to read."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta

from sku_velocity.model.window import Window

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)  # midnight, so that windows of an hour or a day fall on whole ones


def gaps(span: Window, covered: Iterable[Window]) -> list[Window]:
    """The stretches of `span` that no window covers, in order of time; no two of them touch."""
    found, reached = [], span.start
    for window in sorted(covered, key=lambda each: each.start):
        if window.start >= span.end:
            break
        if window.start > reached:
            found.append(Window(reached, window.start))
        reached = max(reached, window.end)
    return [*found, Window(reached, span.end)] if reached < span.end else found


def cut(stretch: Window, size: timedelta) -> list[Window]:
    """A stretch in windows of `size`, aligned to UTC; at its ends they are as short as it makes them."""
    windows, start = [], stretch.start
    while start < stretch.end:
        end = min(EPOCH + ((start - EPOCH) // size + 1) * size, stretch.end)
        windows.append(Window(start, end))
        start = end
    return windows

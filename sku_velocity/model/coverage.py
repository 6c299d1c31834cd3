"""Finding the gaps that no window covers."""

from __future__ import annotations

from collections.abc import Iterable

from sku_velocity.model.window import Window


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

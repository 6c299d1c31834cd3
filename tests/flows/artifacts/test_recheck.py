"""The artifact of a recheck."""

from __future__ import annotations

from typing import Any

from flows.artifacts.recheck import render_recheck
from sku_velocity.model.recheck import RecheckedWindow, RecheckReport
from tests.support.store_rows import hour

HOSTILE = "[A](http://evil)\n| <script>"


def render(**parts: Any) -> str:
    window = RecheckedWindow(
        warehouse=HOSTILE,
        start=hour(0),
        end=hour(1),
        why=HOSTILE,
        message=HOSTILE,
        failed=True,
        known_at=hour(1),
        seen_at=hour(2),
    )
    counts = {"source": "acme", "full": False, "compared": 3, "not_reached": 2, "requests": 7}
    return render_recheck(RecheckReport(**counts | {"windows": [window]} | parts))


def test_external_text_is_escaped_and_stays_in_its_row() -> None:
    shown = render(error=HOSTILE)
    assert "](" not in shown and "<script>" not in shown
    [row] = [line for line in shown.splitlines() if "2026-03-01T00:00:00Z/" in line]
    assert row.count("|") - row.count(r"\|") == 9


def test_without_revisions_it_has_only_counts() -> None:
    shown = render(windows=[])
    assert shown.endswith("| Requests | 7 |") and "| Windows not reached | 2 |" in shown

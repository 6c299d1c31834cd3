"""A warehouse's velocity, rendered: ranges of days, shares, and external text."""

from __future__ import annotations

from datetime import date

import pytest

from flows.artifacts.velocity import render_velocity
from sku_velocity.model.velocity_report import (
    Cell,
    ClassChange,
    Mover,
    Section,
    cell_text,
    percent,
    ranges_of_days,
)
from tests.support.reports import velocity_report as a_report


def test_external_text_is_escaped() -> None:
    hostile = "[x](javascript:alert(1))<script>|"
    mover = Mover(sku_id=hostile, units_91=5, lines_91=1, units_7=5, trend=None, days_since_last_movement=0,
                  age_days=1, provisional_abc_lines="A", abc_lines="N", abc_units="N", xyz="Z",
                  change=-1.0)  # fmt: skip
    changes = [ClassChange(sku_id=hostile, before="", after="AAZ")]
    report = a_report(source=hostile, warehouse=hostile, movers=[mover], down=[mover], new=1,
                      new_skus=[mover], dead=1, dead_skus=[hostile], master=hostile, changed=1,
                      changes=changes, compared_with="2026-04-04", files={"html": hostile})  # fmt: skip
    shown = render_velocity(report, {})
    assert shown.count("javascript") == 9 and "](" not in shown and "<script>" not in shown


def test_an_unknown_figure_is_not_shown_as_zero() -> None:
    mover = Mover(sku_id="SKU-1", units_91=None, lines_91=0, units_7=None, trend=None,
                  days_since_last_movement=None, age_days=None, provisional_abc_lines=None, abc_lines=None,
                  abc_units=None, xyz=None)  # fmt: skip
    shown = render_velocity(a_report(movers=[mover], new=1, new_skus=[mover]), {})
    assert "| SKU\\-1 |  | 0 |  |  |  |  |" in shown and "| SKU\\-1 |  |  |  |  |" in shown


def test_numbers_are_aligned_by_the_whole_column() -> None:
    rows: list[list[Cell]] = [["SKU-1", None, "A"], ["SKU-2", 1234.5, "B"]]
    assert Section("", (), ("SKU", "trend", "class"), rows).numeric == [False, True, False]
    assert [cell_text(cell) for cell in rows[1]] == ["SKU-2", "1,234.50", "B"] and cell_text(None) == ""


def test_missing_days_are_grouped_into_ranges() -> None:
    days = {date(2026, 3, day): 0.0 for day in (1, 2, 3, 5)} | {date(2026, 3, 6): 0.9999}
    assert ranges_of_days(days) == ["2026-03-01 to 2026-03-03: 0 %", "2026-03-05: 0 %", "2026-03-06: 99.9 %"]
    assert "Of 91 days: 4 not published, 1 only in part." in a_report(incomplete_days=days).coverage


@pytest.mark.parametrize(("share", "shown"), [(1.0, "100 %"), (0.0, "0 %"), (1e-9, "0.1 %"), (0.5, "50.0 %")])
def test_only_a_complete_share_is_shown_as_100_percent(share: float, shown: str) -> None:
    assert percent(share) == shown

"""The charts of velocity: what they show, and that any data can be drawn."""

from __future__ import annotations

from xml.etree import ElementTree

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sku_velocity.velocity.charts import POINTS, demand_chart, pareto_chart, pareto_curve, week_chart

WEEK = 168


@given(st.lists(st.integers(0, 10**12), max_size=1000))
def test_a_pareto_curve_rises_from_zero_to_one(amounts: list[int]) -> None:
    skus, reached = pareto_curve(amounts)
    assert (skus[0], reached[0]) == (0, 0) and len(skus) <= POINTS
    assert (np.diff(reached) >= 0).all() and (not sum(amounts) or reached[-1] == pytest.approx(1))


def test_the_curve_starts_with_the_busiest_sku() -> None:
    skus, reached = pareto_curve([1, 8, 1])
    assert dict(zip(skus, reached, strict=True))[1 / 3] == 0.8


def test_hours_never_published_are_marked_in_the_week() -> None:
    chart = week_chart([26] * WEEK, [13.0] * 100 + [0.0] * 68)
    assert chart.count('class="v-none"') == 68 == chart.count(": not published")
    assert chart.count(": 2.0 units an hour") == 100 and "Mon 00:00" in chart


def test_skus_with_the_same_demand_share_a_cell() -> None:
    counts = [("smooth", 3), ("erratic", 0), ("intermittent", 0), ("lumpy", 1)]
    chart = demand_chart([1.0, 1.0, 1.0, 50.0, np.nan], [0.1, 0.1, 0.1, 9.0, np.nan], counts)
    assert (
        chart.count("3 SKUs") == 1 == chart.count(">1 SKUs") and "smooth: 3" in chart and "lumpy: 1" in chart
    )


@pytest.mark.parametrize("amounts", [[], [0], [5], [3, 2, 1]], ids=str)
def test_any_warehouse_can_be_drawn(amounts: list[int]) -> None:
    floats = [float(each) for each in amounts]
    charts = [
        pareto_chart(amounts, amounts, (0.8, 0.95)),
        demand_chart(floats, floats, []),
        week_chart([0] * WEEK, [0.0] * WEEK),
    ]
    for chart in charts:
        assert ElementTree.fromstring(chart).tag == "{http://www.w3.org/2000/svg}svg"

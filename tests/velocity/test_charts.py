"""The charts of velocity: what they show, and that any data can be drawn."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.figure import Figure

from sku_velocity.velocity.charts import as_png, as_svg, pareto_curve, pareto_picture, week_picture

WEEK = 168


@given(st.lists(st.integers(0, 10**12), max_size=1000))
def test_a_pareto_curve_rises_from_zero_to_one(amounts: list[int]) -> None:
    skus, reached = pareto_curve(amounts)
    assert (skus[0], reached[0]) == (0, 0) and len(skus) <= 400
    assert (np.diff(reached) >= 0).all() and (not sum(amounts) or reached[-1] == pytest.approx(1))


def test_the_curve_starts_with_the_busiest_sku() -> None:
    skus, reached = pareto_curve([1, 8, 1])
    assert dict(zip(skus, reached, strict=True))[1 / 3] == 0.8


def test_hours_never_published_are_masked_in_the_week() -> None:
    axes = Figure().add_subplot()
    week_picture([26] * WEEK, [13.0] * 100 + [0.0] * 68)(axes)
    rates = axes.collections[0].get_array()
    assert rates.mask.sum() == 68 and set(rates.compressed()) == {2}


@pytest.mark.parametrize("amounts", [[], [0], [5], [3, 2, 1]], ids=str)
def test_any_warehouse_can_be_drawn(amounts: list[int]) -> None:
    draws = [pareto_picture(amounts, amounts, (0.8, 0.95)), week_picture([0] * WEEK, [0.0] * WEEK)]
    assert all(as_svg(draw).startswith("<svg") and as_png(draw).startswith(b"\x89PNG") for draw in draws)

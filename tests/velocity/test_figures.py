"""The definitions of velocity on a few SKUs each: rates, trend, variation, classes, ranks, changes."""

from __future__ import annotations

from array import array
from collections.abc import Mapping
from datetime import UTC, date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sku_velocity.errors import ConfigurationError, VelocityError
from sku_velocity.model.activity import DailyColumns
from sku_velocity.model.calendar import Period
from sku_velocity.model.movement import MAX_UNITS
from sku_velocity.model.velocity import EarlierClasses
from sku_velocity.store.velocity import COLUMNS
from sku_velocity.velocity.figures import (
    Thresholds,
    add_key,
    class_changes,
    class_counts,
    measure,
    pareto,
    to_rows,
    top_movers,
    xyz_classes,
)

PERIOD = Period(ZoneInfo("UTC"), date(2026, 3, 31), 91)
WHOLE = [1.0] * 91
DEFAULT = Thresholds()
LAST_DAY = 90
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

Activity = Mapping[str, Mapping[int, Any]]  # SKU: day: units of one line, or of each of several


def columns_of(activity: Activity) -> DailyColumns:
    rows = [
        (code, day, sum(lines), len(lines))
        for code, days in enumerate(activity.values())
        for day, units in days.items()
        for lines in [units if isinstance(units, list) else [units]]
    ]
    codes, days, units, lines = np.array(rows or np.zeros((0, 4)), dtype=object).T
    first, last = ([instant(pick(of_sku)) for of_sku in activity.values()] for pick in (min, max))
    skus = np.array(list(activity), dtype=object)
    numbers = (np.array(each, dtype=np.int64) for each in (first, last, codes, days, units, lines, lines))
    return DailyColumns(skus, *numbers)


def instant(day: int) -> int:
    """Return 05:00 UTC of a day of the period, in microseconds."""
    at = datetime.combine(PERIOD.day(day), datetime.min.time(), UTC) + timedelta(hours=5)
    return (at - EPOCH) // timedelta(microseconds=1)


def figures_of(activity: Activity, shares: list[float] = WHOLE, **options: Any) -> pd.DataFrame:
    return measure(columns_of(activity), PERIOD, shares, options.pop("thresholds", DEFAULT), **options)


def column(figures: pd.DataFrame, name: str) -> dict[str, Any]:
    return dict(zip(figures["sku_id"], figures[name].tolist(), strict=True))


def test_units_and_lines_are_summed_over_7_28_and_91_days_including_the_last() -> None:
    figures = figures_of({"A": {0: 1, 62: 2, 63: 4, 83: [8, 8], 84: 32, LAST_DAY: 64}})
    sums = figures[["units_7", "units_28", "units_91", "lines_7", "lines_28", "lines_91"]]
    assert sums.iloc[0].tolist() == [96, 116, 119, 2, 5, 7]


def test_rates_are_by_active_days_and_by_calendar_days() -> None:
    figures = figures_of({"A": {0: 91, 10: [0, 91]}})
    assert column(figures, "active_days") == {"A": 2}
    assert column(figures, "units_per_active_day") == {"A": 91} and column(
        figures, "units_per_calendar_day"
    ) == {"A": 2}


def test_the_last_movement_comes_with_the_local_days_since() -> None:
    figures = figures_of({"A": {LAST_DAY: 1}, "B": {0: 1, 80: 1}})
    assert column(figures, "days_since_last_movement") == {"A": 0, "B": 10}
    assert column(figures, "last_movement")["B"] == datetime(2026, 3, 21, 5, tzinfo=UTC)


def test_the_trend_is_a_ratio_of_daily_rates() -> None:
    steady = {day: 3 for day in range(91)}
    figures = figures_of({"STEADY": steady, "NEW": {LAST_DAY: 7}, "FADED": {70: 5}, "OLD": {3: 5}})
    trends = column(figures, "trend")
    assert (trends["STEADY"], trends["NEW"], trends["FADED"]) == (1, 4, 0) and np.isnan(trends["OLD"])


def test_unpublished_days_do_not_count_as_days_without_movements() -> None:
    shares = [0.0] * 84 + [1.0] * 7
    figures = figures_of({"A": {day: 2 for day in range(84, 91)}}, shares)
    row = figures.iloc[0]
    assert (row["trend"], row["units_per_calendar_day"], row["coefficient_of_variation"]) == (1, 2, 0)
    assert [row[f"completeness_{days}"] for days in (7, 28, 91)] == [1, 0.25, 7 / 91]


def test_without_any_of_the_last_7_days_there_is_no_trend() -> None:
    figures = figures_of({"A": {80: 2}}, [1.0] * 84 + [0.0] * 7)
    assert np.isnan(column(figures, "trend")["A"])


def test_variation_includes_calendar_days_without_movements() -> None:
    daily = [5, 0, 3] + [0] * 88
    figures = figures_of({"A": {0: 5, 2: 3}, "ZERO": {1: 0}})
    assert column(figures, "coefficient_of_variation")["A"] == pytest.approx(np.std(daily) / np.mean(daily))
    assert (
        np.isnan(column(figures, "coefficient_of_variation")["ZERO"])
        and column(figures, "xyz")["ZERO"] == "Z"
    )


def test_the_sku_that_crosses_a_threshold_belongs_to_the_class_before_it() -> None:
    ranks, classes = pareto(np.array([50, 30, 15, 5]), DEFAULT)
    assert (list(ranks), list(classes)) == ([1, 2, 3, 4], ["A", "A", "B", "C"])
    assert list(pareto(np.array([50, 29, 16, 5]), DEFAULT)[1]) == ["A", "A", "A", "C"]


def test_a_single_sku_is_class_a_and_skus_without_units_are_class_c() -> None:
    assert [list(part) for part in pareto(np.array([7]), DEFAULT)] == [[1], ["A"]]
    assert [list(part) for part in pareto(np.array([0, 0]), DEFAULT)] == [[1, 2], ["C", "C"]]


def test_ties_are_ordered_by_sku() -> None:
    figures = figures_of({sku: {0: 1} for sku in ("B", "C", "A", "A-1", "10", "9")})
    assert figures["sku_id"].tolist() == ["10", "9", "A", "A-1", "B", "C"]
    assert column(figures, "rank_units") == {"10": 1, "9": 2, "A": 3, "A-1": 4, "B": 5, "C": 6}


@given(st.lists(st.integers(0, 30), min_size=1, max_size=40), st.floats(0, 1), st.floats(0, 1))
def test_classes_never_improve_with_rank_and_reach_their_share(
    amounts: list[int], one: float, two: float
) -> None:
    thresholds = Thresholds(a=min(one, two), b=max(one, two))
    ranks, classes = pareto(np.array(amounts), thresholds)
    in_order = [classes[place] for place in np.argsort(ranks)]
    assert sorted(ranks) == list(range(1, len(amounts) + 1)) and in_order == sorted(in_order)
    reached = sum(amount for amount, each in zip(amounts, classes, strict=True) if each == "A")
    assert sum(amounts) == 0 or reached / sum(amounts) >= thresholds.a


def test_xyz_bounds_belong_to_the_steadier_class() -> None:
    variation = np.array([0.5, 0.500001, 1.0, 1.000001, np.nan])
    assert list(xyz_classes(variation, DEFAULT)) == ["X", "Y", "Y", "Z", "Z"]


def test_a_variation_equal_to_a_threshold_is_exact() -> None:
    half = {day: 1 if day % 2 else 3 for day in range(90)} | {LAST_DAY: 2}  # not quite 0.5
    figures = figures_of({"A": half})
    assert column(figures, "xyz") == {"A": "X"} and column(figures, "coefficient_of_variation")["A"] < 0.5
    exact = {day: 1 if day % 2 else 3 for day in range(1, 91)}
    figures = figures_of({"A": exact}, [0.0, *WHOLE[1:]])
    assert (column(figures, "coefficient_of_variation"), column(figures, "xyz")) == ({"A": 0.5}, {"A": "X"})


def test_class_changes_since_the_previous_refresh_include_new_and_gone_skus() -> None:
    earlier = EarlierClasses(
        date(2026, 3, 30), {"A": ("A", "A", "Z"), "B": ("A", "C", "Z"), "G": ("B", "B", "Y")}
    )
    figures = figures_of({"A": {0: [80, 5, 5]}, "B": {0: 6}, "N": {0: 4}}, earlier=earlier)
    assert column(figures, "class_changed") == {"A": False, "B": True, "N": True}
    assert column(figures, "previous_abc_units") == {"A": "A", "B": "C", "N": None}
    assert class_changes(figures, earlier) == [("B", "ACZ", "ABZ"), ("N", "", "BCZ"), ("G", "BBY", "")]


def test_the_first_refresh_has_no_changes() -> None:
    figures = figures_of({"A": {0: 1}})
    assert column(figures, "class_changed") == {"A": False} and class_changes(figures, None) == []


def test_thresholds_are_configurable_and_must_be_in_order() -> None:
    figures = figures_of({"A": {0: 1}, "B": {0: 1}}, thresholds=Thresholds(a=0.1, b=0.2, x=9, y=9.4))
    assert (column(figures, "abc_lines"), column(figures, "xyz")) == (
        {"A": "A", "B": "C"},
        {"A": "Z", "B": "Z"},
    )
    for wrong in ({"a": 0.96}, {"b": 1.1}, {"x": 1.1}, {"x": -1}, {"a": float("nan")}):
        with pytest.raises(ConfigurationError, match="thresholds"):
            Thresholds(**wrong)


def test_without_movements_there_are_no_rows_but_all_columns() -> None:
    figures = add_key(figures_of({}), "acme", "WH-01", PERIOD.as_of)
    assert (list(figures.columns), to_rows(figures), class_counts(figures), top_movers(figures, 3)) == (
        list(COLUMNS),
        [],
        {},
        [],
    )


def test_rows_hold_plain_values() -> None:
    figures = add_key(figures_of({"A": {3: 5}}), "acme", "WH-01", PERIOD.as_of)
    row = dict(zip(COLUMNS, to_rows(figures)[0], strict=True))
    assert {type(value) for value in row.values()} == {str, date, int, float, bool, datetime, type(None)}
    assert row["trend"] is None and row["previous_xyz"] is None


def test_units_beyond_64_bits_do_not_overflow_silently() -> None:
    columns = columns_of({"A": {0: 1}, "B": {0: 1}})
    columns.units[:] = array("q", [MAX_UNITS, MAX_UNITS])
    with pytest.raises(VelocityError, match="units_moved"):
        measure(columns, PERIOD, WHOLE, DEFAULT)

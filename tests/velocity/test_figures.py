"""The definitions of velocity on a few SKUs each: rates, trend, variation, classes, ranks, changes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sku_velocity.errors import ConfigurationError, VelocityError
from sku_velocity.model.activity import Activity, DailyColumns
from sku_velocity.model.calendar import DAY, Period
from sku_velocity.model.movement import MAX_UNITS
from sku_velocity.model.velocity import EarlierClass, EarlierClasses, Thresholds
from sku_velocity.model.window import Window
from sku_velocity.store.velocity import COLUMNS
from sku_velocity.velocity.classes import pareto, settle, xyz_classes
from sku_velocity.velocity.figures import Days, add_key, class_changes, class_counts, measure, to_rows

PERIOD = Period(ZoneInfo("UTC"), date(2026, 3, 29), 91)  # the last day is a Sunday
WHOLE = [1.0] * 91
DEFAULT = Thresholds()
AT_ONCE = Thresholds(margin=0, days=1, new_days=1)
LAST_DAY = 90
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
LONG_AGO = -200  # a day before the period

Moves = Mapping[str, Mapping[int, Any]]  # SKU: day: units of one line, or of each of several


def columns_of(moves: Moves, first: int | None = LONG_AGO, orders: int = 0) -> DailyColumns:
    """Return columns; each SKU moved first on the day `first`, or on its first one; `orders` are of a day."""
    rows = [
        (code, day, sum(lines), len(lines))
        for code, days in enumerate(moves.values())
        for day, units in days.items()
        for lines in [units if isinstance(units, list) else [units]]
    ]
    codes, days, units, lines = np.array(rows or np.zeros((0, 4)), dtype=object).T
    begun = [instant(min(days) if first is None else first) for days in moves.values()]
    last = [instant(max(days)) for days in moves.values()]
    counted = [orders] * len(rows)
    skus = np.array(list(moves), dtype=object)
    numbers = (np.array(each, dtype=np.int64) for each in (begun, last, codes, days, units, lines, counted))
    return DailyColumns(skus, *numbers)


def instant(day: int) -> int:
    """Return 05:00 UTC of a day of the period, in microseconds."""
    at = datetime.combine(PERIOD.day(day), datetime.min.time(), UTC) + timedelta(hours=5)
    return (at - EPOCH) // timedelta(microseconds=1)


def figures_of(
    moves: Moves,
    shares: Sequence[float] = WHOLE,
    first: int | None = LONG_AGO,
    orders: int = 0,
    **options: Any,
) -> pd.DataFrame:
    """Measure moves; each day's published part is its beginning."""
    days = list(PERIOD.intervals(DAY))
    published = [
        Window(day.start, day.start + share * (day.end - day.start))
        for day, share in zip(days, shares, strict=True)
        if share
    ]
    activity = Activity(columns_of(moves, first, orders), {}, published)
    thresholds = options.pop("thresholds", AT_ONCE)
    return measure(activity, PERIOD, Days.of(activity, PERIOD, thresholds), thresholds, **options)


def column(figures: pd.DataFrame, name: str) -> dict[str, Any]:
    values = figures[name].astype(object).where(figures[name].notna(), None)
    return dict(zip(figures["sku_id"], values, strict=True))


EVERY_DAY = dict.fromkeys(range(91), 1)  # of a SKU that makes each day an open one
WORKING_DAYS = [day for day in range(91) if PERIOD.day(day).weekday() < 5]


def test_units_and_lines_are_summed_over_7_28_and_91_days_including_the_last() -> None:
    figures = figures_of({"A": {0: 1, 62: 2, 63: 4, 83: [8, 8], 84: 32, LAST_DAY: 64}})
    sums = figures[["units_7", "units_28", "units_91", "lines_7", "lines_28", "lines_91"]]
    assert sums.iloc[0].tolist() == [96, 116, 119, 2, 5, 7]


def test_rates_are_by_active_days_and_by_open_days() -> None:
    figures = figures_of({"A": {0: 91, 10: [0, 91]}, "DAILY": EVERY_DAY})
    assert column(figures, "active_days")["A"] == 2 and column(figures, "open_days")["A"] == 91
    assert column(figures, "units_per_active_day")["A"] == 91
    assert column(figures, "units_per_open_day")["A"] == 2
    assert column(figures, "lines_per_open_day")["A"] == 3 / 91


def test_days_on_which_the_warehouse_does_not_work_are_not_counted() -> None:
    working = dict.fromkeys(WORKING_DAYS, [2] * 30)
    figures = figures_of(
        {"STEADY": working, "ONE": {WORKING_DAYS[0]: 65, LAST_DAY: 1}}
    )  # a Sunday's correction
    assert column(figures, "open_days") == {"STEADY": 65, "ONE": 65}
    assert column(figures, "units_per_open_day")["STEADY"] == 60
    assert (
        column(figures, "coefficient_of_variation")["STEADY"] == 0 and column(figures, "xyz")["STEADY"] == "X"
    )
    assert column(figures, "adi")["STEADY"] == 1 and column(figures, "p95_daily_units")["ONE"] == 0


def test_open_days_may_be_given_as_weekdays() -> None:
    thresholds = Thresholds(open_days=["sat", "sun"])
    assert column(figures_of({"A": EVERY_DAY}, thresholds=thresholds), "open_days") == {"A": 26}


def test_poisson_skus_of_a_five_day_warehouse_are_steady() -> None:
    draw = np.random.default_rng(5)
    units = draw.poisson(draw.uniform(4, 40, 300), (91, 300))
    moves = {
        f"SKU-{n}": {day: int(units[day, n]) for day in WORKING_DAYS if units[day, n]} for n in range(300)
    }
    xyz = list(column(figures_of(moves), "raw_xyz").values())
    assert xyz.count("X") >= 297


def test_the_last_movement_comes_with_the_local_days_since() -> None:
    figures = figures_of({"A": {LAST_DAY: 1}, "B": {0: 1, 80: 1}}, first=None)
    assert column(figures, "days_since_last_movement") == {"A": 0, "B": 10}
    assert column(figures, "age_days") == {"A": 1, "B": 91}
    assert column(figures, "last_movement")["B"] == datetime(2026, 3, 19, 5, tzinfo=UTC)
    assert column(figures, "first_movement")["A"] == datetime(2026, 3, 29, 5, tzinfo=UTC)


def test_the_trend_is_a_ratio_of_rates() -> None:
    steady = {day: 3 for day in range(91)}
    figures = figures_of({"STEADY": steady, "LATE": {LAST_DAY: 7}, "FADED": {70: 5}, "OLD": {3: 5}})
    trends = column(figures, "trend")
    assert (trends["STEADY"], trends["LATE"], trends["FADED"], trends["OLD"]) == (1, 4, 0, None)


def test_unpublished_days_do_not_count_as_days_without_movements() -> None:
    shares = [0.0] * 84 + [1.0] * 7
    figures = figures_of({"A": {day: 2 for day in range(84, 91)}}, shares)
    row = figures.iloc[0]
    assert (row["trend"], row["units_per_open_day"], row["coefficient_of_variation"]) == (1, 2, 0)
    assert [row[f"completeness_{days}"] for days in (7, 28, 91)] == [1, 0.25, 7 / 91]


def test_a_day_published_in_part_counts_by_its_share() -> None:
    shares = [0.5 if day == 90 else 1.0 for day in range(91)]
    assert column(figures_of({"A": EVERY_DAY}, shares), "open_days") == {"A": 90.5}


def test_without_any_of_the_last_7_days_there_is_no_trend_and_no_provisional_class() -> None:
    figures = figures_of({"A": {80: 2}}, [1.0] * 84 + [0.0] * 7)
    assert column(figures, "trend") == {"A": None} == column(figures, "provisional_abc_lines")


def test_variation_is_of_weeks_with_their_rates_by_open_days() -> None:
    weeks = [5, 0, 3] + [0] * 10
    figures = figures_of({"A": {0: 5, 14: 3}, "ZERO": {1: 0}, "DAILY": EVERY_DAY})
    assert column(figures, "coefficient_of_variation")["A"] == pytest.approx(np.std(weeks) / np.mean(weeks))
    assert (
        column(figures, "coefficient_of_variation")["ZERO"] is None and column(figures, "xyz")["ZERO"] == "Z"
    )


def test_a_holiday_is_no_variation() -> None:
    without_one = {day: 2 for day in WORKING_DAYS if day != 14}
    assert column(figures_of({"A": without_one}), "coefficient_of_variation") == {"A": 0}


def test_variation_of_a_young_sku_is_of_its_open_days() -> None:
    daily = [4, 0, 2, 6]
    moves = {"YOUNG": {87 + day: units for day, units in enumerate(daily) if units}, "DAILY": EVERY_DAY}
    figures = figures_of(moves, first=None)
    assert column(figures, "open_days") == {"YOUNG": 4, "DAILY": 91}
    assert column(figures, "coefficient_of_variation")["YOUNG"] == pytest.approx(np.std(daily) / 3)


def test_p95_is_the_nearest_rank_over_open_days_with_zeros() -> None:
    busy = {day: 10 + day for day in range(91)}
    figures = figures_of(
        {"BUSY": busy, "RARE": {1: 5, 2: 6, 3: 7, 4: 8}, "FIVE": {n: n for n in range(1, 6)}}
    )
    assert column(figures, "p95_daily_units") == {"BUSY": 96, "RARE": 0, "FIVE": 1}


def test_demand_classes_follow_their_published_borders() -> None:
    every_second = {day: 5 for day in range(0, 91, 2)}
    moves = {
        "SMOOTH": EVERY_DAY,
        "INTERMITTENT": every_second,
        "ERRATIC": {day: 1 if day % 4 else 20 for day in range(91)},
        "LUMPY": {day: 1 if day % 8 else 20 for day in range(0, 91, 2)},
        "ZERO": {3: 0},
    }
    classes = column(figures_of(moves), "demand_class")
    assert classes == {name: name.lower() for name in moves if name != "ZERO"} | {"ZERO": None}


def test_demand_on_27_of_30_days_has_an_interval_of_1_11() -> None:
    """The example of https://www.linenow.co/tools/demand-pattern-classifier: ADI 1.11, smooth."""
    days = [day for day in range(61, 91) if day not in (65, 70, 88)]
    figures = figures_of({"A": dict.fromkeys(days, 5), "DAILY": EVERY_DAY}, first=None)
    assert round(column(figures, "adi")["A"], 2) == 1.11 and column(figures, "demand_class")["A"] == "smooth"


def test_cube_per_order_is_the_volume_that_was_moved_per_order() -> None:
    moves = {"A": {0: 8, 1: 4}, "B": {0: 3}}
    figures = figures_of(moves, orders=2, volumes={"A": 0.25, "B": None})
    assert column(figures, "orders_91") == {"A": 4, "B": 2} and column(figures, "lines_per_order")["A"] == 0.5
    assert column(figures, "cube_91") == {"A": 3.0, "B": None}
    assert column(figures, "cube_per_order") == {"A": 0.75, "B": None}


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


def test_a_new_sku_is_class_n_with_a_provisional_class_by_its_rate() -> None:
    old = {f"OLD-{n}": dict.fromkeys(range(91), [1] * (2 if n < 4 else 1)) for n in range(12)}
    new = {"NEW": dict.fromkeys(range(84, 91), [1] * 3)}
    figures = measure_with_age({**old, **new}, {"NEW": 84})
    row = figures[figures["sku_id"] == "NEW"].iloc[0]
    assert [row[name] for name in ("abc_lines", "abc_units", "xyz")] == ["N", "N", "X"]
    assert (row["provisional_abc_lines"], row["raw_abc_lines"], row["age_days"]) == ("A", "C", 7)
    assert class_counts(figures) == {"AX": 9, "BX": 3, "NX": 1}


def measure_with_age(moves: Moves, first: Mapping[str, int], **options: Any) -> pd.DataFrame:
    """Measure SKUs of which some moved first on a day of the period."""
    columns = columns_of(moves)
    for sku, day in first.items():
        columns.first[columns.skus.tolist().index(sku)] = instant(day)
    activity = Activity(columns, {}, [PERIOD.window])
    return measure(activity, PERIOD, Days.of(activity, PERIOD, DEFAULT), DEFAULT, **options)


def test_a_sku_whose_demand_triples_to_an_a_rate_is_provisionally_a_within_three_days() -> None:
    lines = [8] * 5 + [5] * 5 + [2] * 30
    others = {f"SKU-{n}": dict.fromkeys(range(91), [1] * number) for n, number in enumerate(lines)}
    tripled = {day: [1] * (9 if day > 87 else 3) for day in range(91)}
    figures = figures_of({**others, "TRIPLED": tripled}, thresholds=Thresholds(a=0.45, b=0.9))
    row = figures[figures["sku_id"] == "TRIPLED"].iloc[0]
    assert (row["raw_abc_lines"], row["provisional_abc_lines"]) == ("B", "A")


def test_a_sku_of_the_master_that_did_not_move_is_class_d_if_that_is_known() -> None:
    volumes = {"A": 1.0, "IDLE": 2.0}
    known = figures_of({"A": EVERY_DAY}, volumes=volumes)
    assert column(known, "abc_lines") == {"A": "A", "IDLE": "D"} and column(known, "xyz")["IDLE"] is None
    assert column(known, "units_91")["IDLE"] == 0 and column(known, "rank_lines")["IDLE"] is None
    unknown = figures_of({"A": EVERY_DAY}, [0.5, *WHOLE[1:]], volumes=volumes)
    assert column(unknown, "abc_lines") == {"A": "A", "IDLE": None}
    assert (column(unknown, "units_28")["IDLE"], column(unknown, "units_91")["IDLE"]) == (0, None)


SETTLED = ((0.79, "A", "A"), (0.81, "B", "A"), (0.83, "B", "A"), (0.96, "C", "A"))


@pytest.mark.parametrize(("before", "raw", "settled"), SETTLED)
def test_a_class_changes_only_once_it_was_clearly_past_the_border_for_three_days(
    before: float, raw: str, settled: str
) -> None:
    today = date(2026, 3, 29)

    def after(days: int | None) -> tuple[str, date | None]:
        since = None if days is None else today - timedelta(days=days)
        classes, pending = settle(
            np.array([raw], dtype=object), np.array([before]), (0.8, 0.95), 0.02,
            np.array([settled], dtype=object), [since], today, 3, "ABC",
        )  # fmt: skip
        return classes[0], pending[0]

    is_clear = before >= 0.82
    assert after(None) == (settled, today if is_clear else None)
    assert after(1) == (settled, today - timedelta(days=1) if is_clear else None)
    assert after(2) == (raw if is_clear else settled, None)


def test_a_better_class_needs_the_same_distance() -> None:
    today = date(2026, 3, 29)
    classes, pending = settle(
        np.array(["A", "A", "X"], dtype=object)[:2], np.array([0.79, 0.77]), (0.8, 0.95), 0.02,
        np.array(["B", "B"], dtype=object), [None, None], today, 1, "ABC",
    )  # fmt: skip
    assert (list(classes), pending) == (["B", "A"], [None, None])


def test_class_changes_since_the_previous_refresh_include_new_and_gone_skus() -> None:
    moves = {"A": {0: [80, 5, 5]}, "B": {0: 6}, "N": {0: 4}, "D": EVERY_DAY}
    now = {sku: EarlierClass(*classes) for sku, *classes in figures_of(moves)[
        ["sku_id", "abc_lines", "abc_units", "xyz"]].itertuples(index=False)}  # fmt: skip
    of_sku = {
        "A": now["A"],
        "D": now["D"],
        "B": EarlierClass("A", "C", "Z"),
        "G": EarlierClass("B", "B", "Y"),
    }
    earlier = EarlierClasses(date(2026, 3, 28), of_sku)
    figures = figures_of(moves, earlier=earlier)
    assert column(figures, "class_changed") == {"A": False, "B": True, "N": True, "D": False}
    assert column(figures, "previous_abc_units") == {"A": now["A"].abc_units, "D": "A", "B": "C", "N": None}
    assert class_changes(figures, earlier) == [
        ("B", "ACZ", now["B"].label),
        ("N", "", now["N"].label),
        ("G", "BBY", ""),
    ]


def test_the_first_refresh_has_no_changes() -> None:
    figures = figures_of({"A": {0: 1}})
    assert column(figures, "class_changed") == {"A": False} and class_changes(figures, None) == []


def test_thresholds_are_configurable_and_must_be_in_order() -> None:
    moves = {"A": {0: 1}, "B": {0: 1}, "DAILY": EVERY_DAY}
    figures = figures_of(moves, thresholds=Thresholds(a=0.1, b=0.2, x=9, y=9.4))
    assert column(figures, "raw_abc_lines") == {"DAILY": "A", "A": "C", "B": "C"}
    assert column(figures, "raw_xyz")["A"] == "X"
    for wrong in ({"a": 0.96}, {"b": 1.1}, {"x": 1.1}, {"x": -1}, {"a": float("nan")}):
        with pytest.raises(ConfigurationError, match="thresholds"):
            Thresholds(**wrong)


def test_without_movements_there_are_no_rows_but_all_columns() -> None:
    figures = add_key(figures_of({}), "acme", "WH-01", PERIOD.as_of)
    assert (list(figures.columns), to_rows(figures), class_counts(figures)) == (list(COLUMNS), [], {})


def test_rows_hold_plain_values() -> None:
    figures = add_key(figures_of({"A": {3: 5}}, orders=1, volumes={"A": 2.0}), "acme", "WH-01", PERIOD.as_of)
    row = dict(zip(COLUMNS, to_rows(figures)[0], strict=True))
    assert {type(value) for value in row.values()} == {str, date, int, float, bool, datetime, type(None)}
    assert row["trend"] is None and row["previous_xyz"] is None and type(row["units_91"]) is int


def test_units_beyond_64_bits_do_not_overflow_silently() -> None:
    columns = columns_of({"A": {0: 1}, "B": {0: 1}})
    columns.units[:] = MAX_UNITS
    activity = Activity(columns, {}, [PERIOD.window])
    with pytest.raises(VelocityError, match="64 bits"):
        measure(activity, PERIOD, Days.of(activity, PERIOD, DEFAULT), DEFAULT)

"""Velocity: from units and lines by SKU and day to one row per SKU; the only module that uses pandas.

A line is one movement; `units` are the quantity moved. All figures are of one source and one warehouse.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from sku_velocity.errors import VelocityError
from sku_velocity.model.activity import DailyColumns
from sku_velocity.model.calendar import Period
from sku_velocity.model.velocity import EarlierClasses, Thresholds
from sku_velocity.store.velocity import COLUMNS

HORIZONS = (7, 28, 91)  # days: a week, four of them, a quarter
LONGEST = HORIZONS[-1]
CLASSES = ("abc_lines", "abc_units", "xyz")

Numbers = npt.NDArray[Any]
Figures = pd.DataFrame  # a row per SKU


def to_frame(columns: DailyColumns) -> pd.DataFrame:
    """Convert the database's columns to a frame with one row per SKU and day on which it moved.

    Columns: sku_id (category), day (int32; 0 is the period's first), units and lines (int64). Raises
    VelocityError if the sum of all units exceeds 64 bits.
    """
    units = columns.units
    if units.sum(dtype=np.float64) >= 2.0**63:
        raise VelocityError(
            "the sum of units_moved exceeds 64 bits: look for movements with impossible units_moved"
        )
    return pd.DataFrame(
        {
            "sku_id": pd.Categorical.from_codes(
                columns.codes, categories=pd.Index(columns.skus, dtype="object")
            ),
            "day": columns.days,
            "units": units,
            "lines": columns.lines,
        }
    )


def measure(
    columns: DailyColumns,
    period: Period,
    shares: Sequence[float],
    thresholds: Thresholds,
    earlier: EarlierClasses | None = None,
) -> Figures:
    """Return one row per SKU that moved in the period, by rank: table `sku_velocity` without its key.

    `shares` is the published share of each day of the period. Days count by that share, so that an unread
    day does not count as a day without movements:

    - `units_N`, `lines_N` (int64): over the last N days, N = 7, 28, 91, the day `as_of` included;
    - `active_days` (int64): days with a line; `units_per_active_day`, `units_per_calendar_day` (float64,
      units/day): `units_91` by those days, and by all days published;
    - `last_movement` (datetime, UTC); `days_since_last_movement` (int64): local days from it to `as_of`;
    - `trend` (float64): units/day of the last 7 days over those of the last 28; 1 is steady, NaN if nothing
      moved in 28 days or nothing of the last 7 days is published;
    - `coefficient_of_variation` (float64): population standard deviation of the daily units divided by their
      mean, over the calendar days published in whole or part; days without a line count as zero; NaN if no
      units moved;
    - `rank_lines`, `rank_units` (int64): 1 is the most over 91 days; ties are ordered by `sku_id`;
    - `abc_lines`, `abc_units`, `xyz`: see `pareto` and `xyz_classes`;
    - `previous_...`: the classes of the previous refresh, None for a SKU that it did not have;
      `class_changed` (bool): a class differs, or the SKU is new since;
    - `completeness_N` (float64): the published share of the last N days.
    """
    published = np.asarray(shares, dtype=np.float64)
    figures = _sums(to_frame(columns), period.days)
    figures["last_movement"] = pd.Series(
        pd.to_datetime(columns.last, unit="us", utc=True).as_unit("us"),
        index=pd.Index(columns.skus, dtype="object"),
    ).reindex(figures.index)
    _add_rates(figures, published)
    figures["coefficient_of_variation"] = _variation(figures, int((published > 0).sum()))
    for what in ("lines", "units"):
        ranks, classes = pareto(figures[f"{what}_{LONGEST}"].to_numpy(), thresholds)
        figures[f"rank_{what}"], figures[f"abc_{what}"] = ranks, classes
    figures["xyz"] = xyz_classes(figures["coefficient_of_variation"].to_numpy(), thresholds)
    _add_changes(figures, earlier)
    for days, share in completeness(shares).items():
        figures[f"completeness_{days}"] = share
    return figures.sort_values("rank_lines").rename_axis("sku_id").reset_index()


def completeness(shares: Sequence[float]) -> dict[int, float]:
    """Return the published share of the last 7, 28 and 91 days, from that of each day."""
    return {days: sum(shares[-days:]) / days for days in HORIZONS}


def pareto(amounts: Numbers, thresholds: Thresholds) -> tuple[Numbers, Numbers]:
    """Return ranks, and ABC classes by cumulative share, of amounts given in the order of their SKUs.

    SKUs are ranked by amount, largest first; ties keep the given order. A SKU is A if the SKUs before it
    reach less than `a` of the total, B if less than `b`, else C; so the SKU that crosses a threshold still
    belongs to the class before it, and a single SKU is A. If the total is 0, all are C. Ranking
    by lines is the Pareto view of picking: J. J. Bartholdi and S. T. Hackman, Warehouse & Distribution
    Science, on the profile of activity; 0.80 and 0.95 are the usual thresholds of an ABC analysis.
    """
    order = np.argsort(-amounts, kind="stable")
    ranks = np.empty(len(amounts), dtype=np.int64)
    ranks[order] = np.arange(1, len(amounts) + 1)
    total = int(amounts.sum())
    if total == 0:
        return ranks, np.full(len(amounts), "C", dtype=object)
    before = (np.cumsum(amounts[order]) - amounts[order]) / total
    classes = np.empty(len(amounts), dtype=object)
    classes[order] = np.select([before < thresholds.a, before < thresholds.b], ["A", "B"], "C")
    return ranks, classes


def xyz_classes(variation: Numbers, thresholds: Thresholds) -> Numbers:
    """Return XYZ classes by coefficient of variation: X up to `x`, Y up to `y`, Z above or NaN.

    As usual in XYZ analysis, X is steady demand, Z is demand in bursts.
    """
    classes = np.select([variation <= thresholds.x, variation <= thresholds.y], ["X", "Y"], "Z")
    return classes.astype(object)


def _sums(daily: pd.DataFrame, days: int) -> Figures:
    """Return per SKU, ordered by sku_id: units and lines by horizon, active days, days since."""
    parts = {"sku_id": daily["sku_id"], "day": daily["day"]}
    for what in ("units", "lines"):
        for horizon in HORIZONS:
            parts[f"{what}_{horizon}"] = daily[what].where(daily["day"] >= days - horizon, 0)
    parts["squares"] = daily["units"].astype("float64") ** 2
    grouped = pd.DataFrame(parts).groupby("sku_id", observed=True, sort=False)
    sums = grouped.sum().drop(columns="day")
    sums["active_days"] = grouped.size()
    sums["days_since_last_movement"] = days - 1 - grouped["day"].max().astype("int64")
    sums.index = pd.Index(sums.index.astype("object"))
    return sums.sort_index()


def _add_rates(figures: Figures, published: npt.NDArray[np.float64]) -> None:
    figures["units_per_active_day"] = figures[f"units_{LONGEST}"] / figures["active_days"]
    rates = {days: figures[f"units_{days}"] / (published[-days:].sum() or np.nan) for days in HORIZONS}
    figures["units_per_calendar_day"] = rates[LONGEST]
    figures["trend"] = rates[7] / rates[28].where(rates[28] > 0)


def _variation(figures: Figures, days: int) -> pd.Series[float]:
    """Compute from sums and sums of squares: exact while these are whole numbers below 2**53."""
    units = figures[f"units_{LONGEST}"].astype("float64")
    spread = (days * figures["squares"] - units**2).clip(lower=0)
    return np.sqrt(spread) / units.where(units > 0)  # type: ignore[no-any-return]  # numpy keeps the series


def _add_changes(figures: Figures, earlier: EarlierClasses | None) -> None:
    previous = earlier.of_sku if earlier else {}
    before = [previous.get(sku, (None, None, None)) for sku in figures.index]
    for place, name in enumerate(CLASSES):
        figures[f"previous_{name}"] = pd.Series([each[place] for each in before], figures.index, dtype=object)
    now = zip(*(figures[name] for name in CLASSES), strict=True)
    changed = [earlier is not None and a != b for a, b in zip(now, before, strict=True)]
    figures["class_changed"] = np.array(changed, dtype=bool)


def add_key(figures: Figures, source: str, warehouse: str, as_of: date) -> Figures:
    """Add the key to the result of `measure`: the columns of table `sku_velocity`, in order."""
    whole = figures.assign(source=source, warehouse_id=warehouse, as_of=as_of)
    return whole[list(COLUMNS)]


def to_rows(figures: Figures) -> list[tuple[Any, ...]]:
    """Convert the result of `add_key` to rows for the table: NaN becomes None, an instant a datetime."""
    columns = []
    for name, values in figures.items():
        if name == "last_movement":
            columns.append(list(values.dt.to_pydatetime()))
        else:
            columns.append(values.astype(object).where(values.notna(), None).tolist())
    return list(zip(*columns, strict=True))


def top_movers(figures: Figures, count: int) -> list[dict[str, Any]]:
    """Return the SKUs with the most units over 91 days, as dicts of plain values; NaN is None."""
    top = figures.sort_values("rank_units").head(count)
    return [dict(zip(top.columns, row, strict=True)) for row in to_rows(top)]


def class_counts(figures: Figures) -> dict[str, int]:
    """Count the SKUs of each pair of ABC class by lines and XYZ class, such as `AX`."""
    counts = (figures["abc_lines"] + figures["xyz"]).value_counts()
    return {str(name): int(count) for name, count in counts.items()}


def class_changes(figures: Figures, earlier: EarlierClasses | None) -> list[tuple[str, str, str]]:
    """Return (sku_id, classes before, classes now) of each SKU that changed class, by rank; then those that
    no longer moved, with no classes now."""
    changed = figures[figures["class_changed"]]
    columns = [changed[f"previous_{name}"].fillna("") for name in CLASSES]
    before, now = (
        sum(columns[1:], columns[0]),
        sum((changed[name] for name in CLASSES[1:]), changed[CLASSES[0]]),
    )
    gone = sorted((earlier.of_sku.keys() if earlier else set()) - set(figures["sku_id"]))
    left = [(sku, "".join(earlier.of_sku[sku]), "") for sku in gone] if earlier else []
    return [*zip(changed["sku_id"], before, now, strict=True), *left]

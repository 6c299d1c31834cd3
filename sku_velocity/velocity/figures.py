"""Velocity: from units, lines and orders by SKU and day to one row per SKU.

A line is one movement; `units` are the quantity moved. All figures are of one source and one warehouse.
docs/velocity.md defines each of them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from sku_velocity.errors import VelocityError
from sku_velocity.model.activity import Activity, DailyColumns
from sku_velocity.model.calendar import Period, covered_shares
from sku_velocity.model.velocity import DEAD, NEW, EarlierClass, EarlierClasses, Thresholds
from sku_velocity.model.velocity_fields import CLASSES, FIELDS, HORIZONS, NAMES, PENDING, PREVIOUS
from sku_velocity.store.velocity import COLUMNS
from sku_velocity.velocity.classes import (
    ABC,
    XYZ,
    abc_classes,
    places_of,
    provisional_classes,
    settle,
    shares_before,
    xyz_classes,
)
from sku_velocity.velocity.demand import (
    OpenDays,
    daily_variation,
    demand_classes,
    intermittence,
    p95_daily_units,
    weekly_variation,
)
from sku_velocity.velocity.open_days import open_shares

LONGEST = HORIZONS[-1]
YOUNG = 91  # days: a SKU younger than this has no 13 weeks to compare
NONE = EarlierClass(None, None, None)

Numbers = npt.NDArray[Any]
Figures = pd.DataFrame  # a row per SKU
PANDAS: dict[str, Any] = {
    "text": object,
    "whole": "Int64",
    "number": "float64",
    "flag": bool,
    "date": object,
    "instant": "datetime64[us, UTC]",
}
TYPES: dict[str, Any] = {each.name: PANDAS[each.kind] for each in FIELDS}


@dataclass(frozen=True)
class Days:
    """The days of a period: the published share of each, and that of the open ones, 0 if closed."""

    published: Sequence[float]
    open: npt.NDArray[np.float64]

    @classmethod
    def of(cls, activity: Activity, period: Period, thresholds: Thresholds) -> Days:
        """Return the days of an activity's period."""
        published = covered_shares(period, activity.published)
        lines = np.bincount(activity.daily.days, activity.daily.lines, period.days)
        dates = [period.day(index) for index in range(period.days)]
        return cls(published, open_shares(lines, published, dates, thresholds.open_days))

    def open_dates(self, period: Period) -> list[date]:
        """Return the dates of the open days."""
        return [period.day(int(index)) for index in np.flatnonzero(self.open)]


def measure(
    activity: Activity,
    period: Period,
    days: Days,
    thresholds: Thresholds,
    earlier: EarlierClasses | None = None,
    volumes: Mapping[str, float | None] | None = None,
) -> Figures:
    """Return one row per SKU that moved in the period, or that the master has, by rank: `sku_velocity`
    without its key.

    `volumes` are the volumes of a unit of the master's active SKUs, None without a master. Raises
    VelocityError if the sum of all units exceeds 64 bits.
    """
    daily = activity.daily
    if daily.units.sum(dtype=np.float64) >= 2.0**63:
        raise VelocityError(
            "the sum of units_moved exceeds 64 bits: look for movements with impossible units_moved"
        )
    figures = _sums(daily, period, has_orders=bool(daily.orders.any()))
    _add_times(figures, daily, period)
    open_days = OpenDays(days.open, np.clip(period.days - figures["age_days"].to_numpy(np.int64), 0, None))
    _add_rates(figures, open_days)
    _add_demand(figures, daily, open_days)
    figures["seasonality"] = _seasonality(activity, thresholds, period)
    _add_classes(figures, open_days, thresholds)
    figures = _add_unmoved(figures, days.published, volumes or {}, bool(daily.orders.any()))
    _add_volumes(figures, volumes or {})
    _settle(figures, thresholds, period.as_of, earlier)
    for horizon, share in completeness(days.published).items():
        figures[f"completeness_{horizon}"] = share
    figures = figures.sort_values(["rank_lines", "sku_id"], kind="stable")
    return figures[["sku_id", *NAMES]].astype(TYPES).reset_index(drop=True)


def completeness(shares: Sequence[float]) -> dict[int, float]:
    """Return the published share of the last 7, 28 and 91 days, from that of each day."""
    return {days: sum(shares[-days:]) / days for days in HORIZONS}


def _sums(daily: DailyColumns, period: Period, *, has_orders: bool) -> Figures:
    """Return per SKU, ordered by sku_id: units and lines by horizon, orders, active days."""
    count = len(daily.skus)
    sums: dict[str, Any] = {}
    for what in ("units", "lines"):
        amounts = getattr(daily, what)
        for horizon in HORIZONS:
            recent = daily.days >= period.days - horizon
            sums[f"{what}_{horizon}"] = _whole_sums(daily.codes[recent], amounts[recent], count)
    sums["orders_91"] = _whole_sums(daily.codes, daily.orders, count) if has_orders else pd.NA
    sums["active_days"] = np.bincount(daily.codes, minlength=count)
    return pd.DataFrame({"sku_id": daily.skus, "code": np.arange(count), **sums})


def _whole_sums(codes: Numbers, amounts: Numbers, count: int) -> Numbers:
    """Return the sum of each code, exact beyond 2**53."""
    sums = np.zeros(count, dtype=np.int64)
    np.add.at(sums, codes, amounts)
    return sums


def _add_times(figures: Figures, daily: DailyColumns, period: Period) -> None:
    as_of = pd.Timestamp(period.as_of)
    for name, instants in (("first_movement", daily.first), ("last_movement", daily.last)):
        figures[name] = pd.to_datetime(instants, unit="us", utc=True).as_unit("us")
        local = figures[name].dt.tz_convert(period.zone).dt.tz_localize(None).dt.normalize()
        days = (as_of - local).dt.days.astype("int64")
        figures["age_days" if name == "first_movement" else "days_since_last_movement"] = days
    figures["age_days"] += 1


def _add_rates(figures: Figures, open_days: OpenDays) -> None:
    opened = {days: _or_nan(open_days.since(days)) for days in HORIZONS}
    orders = figures["orders_91"].astype("Int64").astype("float64")
    figures["open_days"] = open_days.since()
    figures["lines_per_order"] = figures[f"lines_{LONGEST}"] / orders.where(orders > 0)
    figures["units_per_active_day"] = figures[f"units_{LONGEST}"] / figures["active_days"]
    for what in ("units", "lines"):
        figures[f"{what}_per_open_day"] = figures[f"{what}_{LONGEST}"] / opened[LONGEST]
    month: pd.Series[float] = figures["units_28"] / opened[28]
    figures["trend"] = (figures["units_7"] / opened[7]) / month.where(month > 0)


def _or_nan(days: Numbers) -> Numbers:
    return np.where(days > 0, days, np.nan)


def _add_demand(figures: Figures, daily: DailyColumns, open_days: OpenDays) -> None:
    days, on_open = figures["open_days"].to_numpy(), daily.on(open_days.shares > 0)
    is_young = figures["age_days"].to_numpy() < YOUNG
    young, weekly = daily_variation(on_open, days), weekly_variation(daily, open_days.shares)
    figures["coefficient_of_variation"] = np.where(is_young, young, weekly)
    figures["p95_daily_units"] = p95_daily_units(on_open, open_days.counted())
    figures["adi"], figures["cv2"] = intermittence(on_open, days)
    figures["demand_class"] = demand_classes(figures["adi"].to_numpy(), figures["cv2"].to_numpy())


def _seasonality(activity: Activity, thresholds: Thresholds, period: Period) -> Numbers:
    """Return last year's rate of the days after the same ones, over that of the same ones."""
    year = activity.last_year
    if year is None:
        return np.full(len(activity.daily.skus), np.nan)
    rates = []
    for units, lines, published, first in (
        (year.units, year.lines, year.published, -363 - period.days),
        (year.next_units, year.next_lines, year.next_published, -363),
    ):
        dates = [period.as_of + timedelta(days=first + index) for index in range(len(lines))]
        rates.append(units / _or_nan(open_shares(lines, published, dates, thresholds.open_days).sum()))
    result: Numbers = np.divide(rates[1], rates[0], out=np.full(len(rates[0]), np.nan), where=rates[0] > 0)
    return result


def _add_classes(figures: Figures, open_days: OpenDays, thresholds: Thresholds) -> None:
    """Add ranks, raw and provisional classes, and what they were determined by. Ties are ordered by SKU."""
    by_name = figures["sku_id"].argsort(kind="stable").to_numpy()
    week = _or_nan(open_days.since(7))
    for what in ("lines", "units"):
        amounts = figures[f"{what}_{LONGEST}"].to_numpy(np.int64)
        ranks, before = np.empty(len(amounts), np.int64), np.empty(len(amounts))
        ranks[by_name], before[by_name] = shares_before(amounts[by_name])
        figures[f"rank_{what}"], figures[f"place_{what}"] = ranks, places_of(amounts, before)
        figures[f"raw_abc_{what}"] = abc_classes(before, thresholds)
        recent, rates = figures[f"{what}_7"].to_numpy() / week, figures[f"{what}_per_open_day"].to_numpy()
        figures[f"provisional_abc_{what}"] = provisional_classes(recent, np.nan_to_num(rates), thresholds)
    figures["raw_xyz"] = xyz_classes(figures["coefficient_of_variation"].to_numpy(), thresholds)


def _add_unmoved(
    figures: Figures, published: Sequence[float], volumes: Mapping[str, float | None], has_orders: bool
) -> Figures:
    """Add a row for each SKU of the master that did not move: 0 where that is known, null elsewhere."""
    unmoved = sorted(volumes.keys() - set(figures["sku_id"]))
    if not unmoved:
        return figures
    known = [days for days in HORIZONS if min(published[-days:]) == 1]
    zeros = {f"{what}_{days}": 0 for what in ("units", "lines") for days in known}
    if LONGEST in known:
        zeros |= dict.fromkeys(["active_days", "p95_daily_units", *(["orders_91"] if has_orders else [])], 0)
        zeros |= dict.fromkeys(["units_per_open_day", "lines_per_open_day"], 0)
    added = pd.DataFrame({"sku_id": unmoved, **zeros})
    return pd.concat([figures.astype(object), added.astype(object)], ignore_index=True)


def _add_volumes(figures: Figures, volumes: Mapping[str, float | None]) -> None:
    volume = pd.Series([volumes.get(sku) for sku in figures["sku_id"]], figures.index, dtype="float64")
    orders = figures["orders_91"].astype("Int64").astype("float64")
    figures["unit_volume"] = volume
    figures["cube_91"] = figures[f"units_{LONGEST}"].astype("float64") * volume
    figures["cube_per_order"] = figures["cube_91"] / orders.where(orders > 0)


def _settle(figures: Figures, thresholds: Thresholds, as_of: date, earlier: EarlierClasses | None) -> None:
    """Add the settled classes, since when SKUs are past a border, and the previous classes."""
    of_sku = earlier.of_sku if earlier else {}
    before = [of_sku.get(sku, NONE) for sku in figures["sku_id"]]
    has_moved = figures["raw_abc_lines"].notna().to_numpy()
    is_new = (figures["age_days"].astype("float64") < thresholds.new_days).to_numpy()
    is_dead = ~has_moved & figures[f"units_{LONGEST}"].notna().to_numpy()
    places = {"abc_lines": "place_lines", "abc_units": "place_units", "xyz": "coefficient_of_variation"}
    changed = np.zeros(len(figures), dtype=bool)
    for number, name in enumerate(CLASSES):
        is_xyz = name == "xyz"
        previous = np.array([each[number] for each in before] + [None], dtype=object)[:-1]
        pending = np.array([each[3 + number] for each in before] + [None], dtype=object)[:-1]
        settled, since = np.full(len(figures), None, dtype=object), np.full(len(figures), None, dtype=object)
        settled[has_moved], since[has_moved] = settle(
            figures[f"raw_{name}"].to_numpy()[has_moved],
            figures[places[name]].to_numpy(dtype=np.float64)[has_moved],
            (thresholds.x, thresholds.y) if is_xyz else (thresholds.a, thresholds.b),
            thresholds.xyz_margin if is_xyz else thresholds.margin,
            previous[has_moved],
            pending[has_moved].tolist(),
            as_of,
            thresholds.days,
            XYZ if is_xyz else ABC,
        )
        if not is_xyz:
            settled[has_moved & is_new], since[has_moved & is_new] = NEW, None
            settled[is_dead] = DEAD
        figures[name], figures[PENDING[number]], figures[PREVIOUS[number]] = settled, since, previous
        changed |= settled != previous
    figures["class_changed"] = changed & (earlier is not None)


def add_key(figures: Figures, source: str, warehouse: str, as_of: date) -> Figures:
    """Add the key to the result of `measure`: the columns of table `sku_velocity`, in order."""
    whole = figures.assign(source=source, warehouse_id=warehouse, as_of=as_of)
    return whole[list(COLUMNS)]


def to_rows(figures: Figures) -> list[tuple[Any, ...]]:
    """Convert the result of `add_key` to rows for the table: NaN becomes None, an instant a datetime."""
    columns = []
    for name in figures:
        values = figures[name]
        if isinstance(values.dtype, pd.DatetimeTZDtype):
            values = pd.Series(values.dt.to_pydatetime(), values.index, dtype=object)
        columns.append(values.astype(object).where(values.notna(), None).tolist())
    return list(zip(*columns, strict=True))


def label_of(classes: Sequence[object]) -> str:
    """Return classes in one word, as in `ABX`."""
    return "".join(each if isinstance(each, str) else "" for each in classes)


def class_counts(figures: Figures) -> dict[str, int]:
    """Count the SKUs of each pair of ABC class by lines and XYZ class, such as `AX`, `NY` or `D`."""
    counts = (figures["abc_lines"].fillna("") + figures["xyz"].fillna("")).value_counts()
    return {str(name): int(count) for name, count in counts.items()}


def class_changes(figures: Figures, earlier: EarlierClasses | None) -> list[tuple[str, str, str]]:
    """Return (sku_id, classes before, classes now) of each SKU that changed class, by rank; then those that
    have no row any more, with no classes now."""
    if earlier is None:
        return []
    changed = figures[figures["class_changed"]]
    rows = changed[["sku_id", *PREVIOUS, *CLASSES]].itertuples(index=False, name=None)
    gone = sorted(earlier.of_sku.keys() - set(figures["sku_id"]))
    return [
        *((sku, label_of(classes[:3]), label_of(classes[3:])) for sku, *classes in rows),
        *((sku, earlier.of_sku[sku].label, "") for sku in gone),
    ]

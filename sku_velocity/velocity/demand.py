"""Figures of demand: how units vary from week to week and from day to day."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from sku_velocity.model.activity import DailyColumns

Numbers = npt.NDArray[np.float64]
Counts = npt.NDArray[np.int64]

WEEK = 7
ADI_BORDER, CV2_BORDER = 1.32, 0.49


@dataclass(frozen=True)
class OpenDays:
    """The open days of a period of SKUs: `shares` are each day's published share, 0 if it is closed.

    `first` is the index of each SKU's first day in the period: 0 if it moved before.
    """

    shares: Numbers
    first: Counts

    def since(self, last: int | None = None) -> Numbers:
        """Return the open days of each SKU among the last ones, or all, from its first day on."""
        begin = self.first if last is None else np.maximum(self.first, len(self.shares) - last)
        return _tails(self.shares)[begin]

    def counted(self) -> Counts:
        """Return the number of days of each SKU that are open and at least partly published."""
        return _tails((self.shares > 0).astype(np.float64))[self.first].astype(np.int64)


def _tails(values: Numbers) -> Numbers:
    """Return the sums from each place to the end, and 0 behind the end."""
    return np.concatenate([np.cumsum(values[::-1])[::-1], [0.0]])


def weekly_variation(daily: DailyColumns, shares: Numbers) -> Numbers:
    """Return the coefficient of variation of the weeks that end with the period: NaN without units.

    Of the units per open day of each week, as the population: so neither a holiday nor an unpublished day is
    variation. Weeks with less than one published open day are left out.
    """
    weeks, skus = len(shares) // WEEK, len(daily.skus)
    back = (len(shares) - 1 - daily.days) // WEEK
    units = np.empty((skus, weeks))
    for week in range(weeks):  # one at a time, to save memory
        rows = np.flatnonzero(back == week)
        units[:, week] = np.bincount(daily.codes[rows], daily.units[rows], skus)
    days = shares[::-1][: weeks * WEEK].reshape(weeks, WEEK).sum(axis=1)
    rates = units[:, days >= 1] / days[days >= 1]
    if not rates.shape[1]:
        return np.full(skus, np.nan)
    mean = rates.mean(axis=1)
    variation: Numbers = np.divide(rates.std(axis=1), mean, out=np.full(skus, np.nan), where=mean > 0)
    return variation


def daily_variation(daily: DailyColumns, days: Numbers) -> Numbers:
    """Return the coefficient of variation of each SKU's units over its open days: NaN without units.

    As the population, from the sum and the sum of squares: exact while these are whole numbers below 2**53.
    """
    units, squares = _powers(daily)
    spread = np.sqrt(np.clip(days * squares - units**2, 0, None))
    variation: Numbers = np.divide(spread, units, out=np.full(len(units), np.nan), where=units > 0)
    return variation


def _powers(daily: DailyColumns) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
    """Return the sum of each SKU's daily units, and of their squares."""
    units = daily.units.astype(np.float64)
    total = np.bincount(daily.codes, units, len(daily.skus))
    units **= 2
    return total, np.bincount(daily.codes, units, len(daily.skus))


def p95_daily_units(daily: DailyColumns, days: Counts) -> Counts:
    """Return the smallest daily units that 95% of each SKU's open days do not exceed (nearest rank)."""
    order = np.lexsort((-daily.units, daily.codes))
    active = np.bincount(daily.codes, minlength=len(daily.skus))
    start = np.concatenate([[0], np.cumsum(active)[:-1]]).astype(np.int64)
    from_top = days - (95 * days + 99) // 100
    is_active = (from_top < active) & (active > 0)
    places = np.where(is_active, start + from_top, 0)
    return np.where(is_active, daily.units[order[places]], 0) if len(order) else np.zeros(len(days), np.int64)


def intermittence(daily: DailyColumns, days: Numbers) -> tuple[Numbers, Numbers]:
    """Return the average interval between days with demand, in open days, and CV² of these days' units.

    NaN for a SKU without units. J. E. Boylan and A. A. Syntetos count only periods with demand for CV².
    """
    number = np.bincount(daily.codes, daily.units > 0, len(daily.skus))
    total, squares = _powers(daily)
    nothing = np.full(len(daily.skus), np.nan)
    adi = np.divide(days, number, out=nothing.copy(), where=number > 0)
    cv2 = np.divide(number * squares, total**2, out=nothing.copy(), where=total > 0) - 1
    return np.fmax(adi, np.where(number > 0, 1.0, np.nan)), np.clip(cv2, 0, None)


def demand_classes(adi: Numbers, cv2: Numbers) -> npt.NDArray[np.object_]:
    """Return smooth, erratic, intermittent or lumpy; None without units.

    The borders, 1.32 and 0.49, are those of A. A. Syntetos, J. E. Boylan and J. D. Croston, On the
    categorization of demand patterns, Journal of the Operational Research Society 56 (2005).
    """
    is_rare, is_uneven = adi >= ADI_BORDER, cv2 >= CV2_BORDER
    names = np.select(
        [np.isnan(adi), is_rare & is_uneven, is_rare, is_uneven],
        ["", "lumpy", "intermittent", "erratic"],
        "smooth",
    ).astype(object)
    names[names == ""] = None
    return names

"""Classes: by cumulative share (ABC) and by variation (XYZ); raw, provisional and settled."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date

import numpy as np
import numpy.typing as npt

from sku_velocity.model.velocity import Thresholds

Numbers = npt.NDArray[np.float64]
Labels = npt.NDArray[np.object_]
ABC, XYZ = "ABC", "XYZ"


def shares_before(amounts: npt.NDArray[np.int64]) -> tuple[npt.NDArray[np.int64], Numbers]:
    """Return the rank of each SKU, and the cumulative share of the SKUs before it; NaN if the total is 0.

    Amounts are in the order of their SKUs, which ties keep.
    """
    order = np.argsort(-amounts, kind="stable")
    ranks = np.empty(len(amounts), dtype=np.int64)
    ranks[order] = np.arange(1, len(amounts) + 1)
    total, before = amounts.sum(), np.full(len(amounts), np.nan)
    if total:
        before[order] = (np.cumsum(amounts[order]) - amounts[order]) / total
    return ranks, before


def places_of(amounts: npt.NDArray[np.int64], before: Numbers) -> Numbers:
    """Return the cumulative share before each SKU, averaged over SKUs with the same amount.

    So one line more or less moves a slow SKU by as much as it should, not past all that tie with it.
    """
    _, group = np.unique(amounts, return_inverse=True)
    places: Numbers = (np.bincount(group, before) / np.bincount(group))[group]
    return places


def pareto(amounts: npt.NDArray[np.int64], thresholds: Thresholds) -> tuple[npt.NDArray[np.int64], Labels]:
    """Return ranks, and ABC classes by cumulative share, of amounts given in the order of their SKUs.

    SKUs are ranked by amount, largest first; ties keep the given order. A SKU is A if the SKUs before it
    reach less than `a` of the total, B if less than `b`, else C; so the SKU that crosses a threshold still
    belongs to the class before it, and a single SKU is A. If the total is 0, all are C. Ranking
    by lines is the Pareto view of picking: J. J. Bartholdi and S. T. Hackman, Warehouse & Distribution
    Science, on the profile of activity; 0.80 and 0.95 are the usual thresholds of an ABC analysis.
    """
    ranks, before = shares_before(amounts)
    return ranks, abc_classes(before, thresholds)


def abc_classes(before: Numbers, thresholds: Thresholds) -> Labels:
    """Return ABC classes by the cumulative share of the SKUs before each; NaN is C."""
    return np.select([before < thresholds.a, before < thresholds.b], ["A", "B"], "C").astype(object)


def xyz_classes(variation: Numbers, thresholds: Thresholds) -> Labels:
    """Return XYZ classes by coefficient of variation: X up to `x`, Y up to `y`, Z above or NaN.

    As usual in XYZ analysis, X is steady demand, Z is demand in bursts.
    """
    return np.select([variation <= thresholds.x, variation <= thresholds.y], ["X", "Y"], "Z").astype(object)


def provisional_classes(recent: Numbers, rates: Numbers, thresholds: Thresholds) -> Labels:
    """Return the ABC class that each SKU would have by its recent rate, among the long-term rates of all.

    The share before a SKU is that of all SKUs with a higher long-term rate. None if `recent` is NaN.
    """
    ordered = np.sort(rates[rates > 0])[::-1]
    reached = np.concatenate([[0.0], np.cumsum(ordered)])
    places = np.searchsorted(-ordered, -recent, side="left")
    before = reached[places] / reached[-1] if reached[-1] else np.full(len(recent), np.nan)
    classes = abc_classes(before, thresholds)
    classes[recent == 0] = "C"
    classes[np.isnan(recent)] = None
    return classes


def settle(
    raw: Labels,
    places: Numbers,
    borders: Sequence[float],
    margin: float,
    settled: Labels,
    pending: Sequence[date | None],
    as_of: date,
    days: int,
    names: str,
) -> tuple[Labels, list[date | None]]:
    """Return each SKU's settled class, and since when it is past the border of the settled class.

    `places` are what the raw classes were determined by, ascending from the first of `names` to the last;
    `borders` lie between those; NaN is behind the last. A SKU without an earlier class in `names` gets its
    raw class. The others change to it once they have been past the border by `margin` for `days`
    consecutive days, this one included.
    """
    at = np.nan_to_num(places, nan=np.inf)
    position = {name: number for number, name in enumerate(names)}
    now = np.array([position[each] for each in raw], dtype=np.int64)
    before = np.array([position.get(each, -1) for each in settled], dtype=np.int64)
    upper = np.array([-np.inf, *borders, np.inf])
    is_known, is_better, is_worse = before >= 0, now < before, (now > before) & (before >= 0)
    clear = is_better & (at < upper[np.clip(before, 0, None)] - margin)
    clear |= is_worse & (at >= upper[np.clip(before, 0, None) + 1] + margin)
    since = [(begun or as_of) if is_clear else None for begun, is_clear in zip(pending, clear, strict=True)]
    ready = np.array([begun is not None and (as_of - begun).days >= days - 1 for begun in since], dtype=bool)
    changes = ~is_known | ready
    result = np.where(changes, raw, settled)
    return result, [None if done else begun for begun, done in zip(since, changes, strict=True)]

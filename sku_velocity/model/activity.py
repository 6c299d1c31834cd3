"""Daily activity of SKUs, as columns."""

from __future__ import annotations

from array import array
from dataclasses import dataclass, field
from datetime import datetime

from sku_velocity.model.window import Window


@dataclass(frozen=True)
class DailyColumns:
    """Units and lines (movements) of each SKU on each local day on which it moved.

    `codes`, `days`, `units` and `lines` are columns of one length: `codes` gives a row's SKU as its place in
    `skus`, `days` counts from the period's first day, 0. `skus` and `last`, each SKU's last movement in UTC,
    are of one length too.
    """

    skus: list[str] = field(default_factory=list)
    last: list[datetime] = field(default_factory=list)
    codes: array[int] = field(default_factory=lambda: array("i"))
    days: array[int] = field(default_factory=lambda: array("i"))
    units: array[int] = field(default_factory=lambda: array("q"))
    lines: array[int] = field(default_factory=lambda: array("q"))


@dataclass(frozen=True)
class Activity:
    """What one warehouse moved in a period, by one source, as a reader of the store saw it at one moment.

    `hourly` is units by the period's local hour, 0 for its first; `published` are the windows, cut to what
    shows of them, that reach into the period.
    """

    daily: DailyColumns
    hourly: dict[int, int]
    published: list[Window]

"""Daily activity of SKUs, as columns."""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime

from sku_velocity.model.window import Window

PICK, ALL_TYPES = "pick", "all"  # movement types to count


@dataclass(frozen=True)
class DailyColumns:
    """Units and lines (movements) of each SKU on each local day on which it moved.

    `codes`, `days`, `units` and `lines` are columns of equal length: `codes` holds each row's index into
    `skus`, `days` the day's index in the period, from 0. `skus` and `last`, each SKU's last movement in UTC,
    also have equal length.
    """

    skus: list[str] = field(default_factory=list)
    last: list[datetime] = field(default_factory=list)
    codes: array[int] = field(default_factory=lambda: array("i"))
    days: array[int] = field(default_factory=lambda: array("i"))
    units: array[int] = field(default_factory=lambda: array("q"))
    lines: array[int] = field(default_factory=lambda: array("q"))


@dataclass(frozen=True)
class Activity:
    """What one warehouse moved in a period according to one source, in a consistent snapshot of the store.

    `hourly` is units by the period's local hour, from 0; `published` are the windows that overlap the
    period, cut to their visible parts; `types` are the movement types that were counted, None if all were.
    """

    daily: DailyColumns
    hourly: dict[int, int]
    published: list[Window]
    types: Sequence[str] | None = None

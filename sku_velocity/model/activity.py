"""Daily activity of SKUs, as columns."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from sku_velocity.model.window import Window

if TYPE_CHECKING:  # not at run time: a spec needs only the names of types
    import numpy as np
    import numpy.typing as npt

    Numbers = npt.NDArray[np.int64]
    Small = npt.NDArray[np.integer[Any]]  # of 32 bits, in a store's millions of rows

PICK, ALL_TYPES = "pick", "all"  # movement types to count


@dataclass(frozen=True)
class DailyColumns:
    """What each SKU moved on each local day on which it moved: units, lines (movements) and orders.

    `codes`, `days`, `units`, `lines` and `orders` are columns of equal length: `codes` holds each row's index
    into `skus`, `days` the day's index in the period, from 0; `orders` counts the different order ids of the
    day. `skus`, `first` and `last` also have equal length: each SKU's first movement of all that are
    published up to the last local day, and its last one in the period, in microseconds of UTC since 1970.
    """

    skus: npt.NDArray[Any]
    first: Numbers
    last: Numbers
    codes: Numbers
    days: Small
    units: Numbers
    lines: Small
    orders: Small

    def on(self, days: npt.NDArray[np.bool_]) -> DailyColumns:
        """Return the rows of some days, True for those in the period; the SKUs stay the same."""
        if days.all():
            return self
        kept = days[self.days]
        return replace(
            self,
            codes=self.codes[kept],
            days=self.days[kept],
            units=self.units[kept],
            lines=self.lines[kept],
            orders=self.orders[kept],
        )

    @classmethod
    def empty(cls) -> DailyColumns:
        """Return columns without rows."""
        import numpy as np

        return cls(np.zeros(0, dtype=object), *(np.zeros(0, dtype=np.int64) for _ in range(7)))


@dataclass(frozen=True)
class LastYear:
    """Units of a SKU a year (364 days) ago, in the same days, and in the `next` days after those.

    `units` and `next_units` have an entry per SKU, as `DailyColumns.skus`; the `lines` one per day, the
    `published` ones the share of each day that is published.
    """

    units: Numbers
    next_units: Numbers
    lines: Numbers
    next_lines: Numbers
    published: Sequence[float]
    next_published: Sequence[float]


@dataclass(frozen=True)
class Activity:
    """What one warehouse moved in a period according to one source, in a consistent snapshot of the store.

    `hourly` is units by the period's local hour, from 0; `published` are the windows that overlap the
    period; `types` are the movement types that were counted, None if all were; `last_year` is None if
    nothing of it is published.
    """

    daily: DailyColumns
    hourly: dict[int, int]
    published: list[Window]
    types: Sequence[str] | None = None
    last_year: LastYear | None = None

    def without_rows(self) -> Activity:
        """Return the activity without its SKUs and their sums, which take most of the memory."""
        return replace(self, daily=DailyColumns.empty(), last_year=None)

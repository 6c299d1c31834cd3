"""Classes of SKUs, how they are determined, and a refresh of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Literal, NamedTuple

from sku_velocity.errors import ConfigurationError

Weekday = Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"]
WEEKDAYS: tuple[Weekday, ...] = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
NEW, DEAD = "N", "D"


class EarlierClass(NamedTuple):
    """The settled classes of a SKU in an earlier refresh, and since when each is past its border."""

    abc_lines: str | None
    abc_units: str | None
    xyz: str | None
    abc_lines_pending_since: date | None = None
    abc_units_pending_since: date | None = None
    xyz_pending_since: date | None = None

    @property
    def label(self) -> str:
        """The classes in one word, as in `ABX`."""
        return "".join(each or "" for each in self[:3])


@dataclass(frozen=True)
class EarlierClasses:
    """The classes of each SKU in a refresh as of an earlier day."""

    as_of: date
    of_sku: Mapping[str, EarlierClass]


@dataclass(frozen=True)
class Refresh:
    """One calculation of a warehouse's velocity as of a local day.

    `completeness` is the published share of the last 7, 28 and 91 days; `incomplete_days` is the share of
    each day that is not fully published; `compared_with` is the day of the refresh that classes were
    compared with; `count_types` are the movement types that were counted, None if all were; `master` is the
    one whose SKUs have rows, None without; `open_days` are the days on which the warehouse worked.
    """

    source: str
    warehouse: str
    as_of: date
    time_zone: str
    compared_with: date | None
    skus: int
    units: int
    lines: int
    completeness: Mapping[int, float]
    incomplete_days: Mapping[date, float]
    open_days: Sequence[date]
    settings: Mapping[str, object]
    count_types: Sequence[str] | None = None
    master: str | None = None


@dataclass(frozen=True)
class Thresholds:
    """The borders of the classes, and when a SKU passes one.

    `a` and `b` are cumulative shares, `x` and `y` coefficients of variation. A class changes once the SKU
    has been past the border, by at least `margin` (a cumulative share) or `xyz_margin` (a coefficient of
    variation), for `days` consecutive days. A SKU younger than `new_days` is of class N. `open_days` are
    the weekdays on which the warehouse works; None derives them from the movements.

    Raises ConfigurationError if the first of a pair of borders is above the second.
    """

    a: float = 0.80
    b: float = 0.95
    x: float = 0.5
    y: float = 1.0
    margin: float = 0.03
    xyz_margin: float = 0.3
    days: int = 3
    new_days: int = 28
    open_days: Sequence[Weekday] | None = None

    def __post_init__(self) -> None:
        if not 0 <= self.a <= self.b <= 1:
            raise ConfigurationError(f"ABC thresholds must satisfy 0 <= a <= b <= 1: a={self.a}, b={self.b}")
        if not 0 <= self.x <= self.y:
            raise ConfigurationError(f"XYZ thresholds must satisfy 0 <= x <= y: x={self.x}, y={self.y}")

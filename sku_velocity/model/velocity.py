"""Classes of SKUs, and a refresh of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date

from sku_velocity.errors import ConfigurationError

Classes = tuple[str, str, str]  # ABC by lines, ABC by units, XYZ


@dataclass(frozen=True)
class EarlierClasses:
    """The classes of each SKU in a refresh as of an earlier day."""

    as_of: date
    of_sku: Mapping[str, Classes]


@dataclass(frozen=True)
class Refresh:
    """One calculation of a warehouse's velocity as of a local day.

    `completeness` is the published share of the last 7, 28 and 91 days; `incomplete_days` is the share of
    each day that is not fully published; `compared_with` is the day of the refresh that classes were
    compared with; `count_types` are the movement types that were counted, None if all were.
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
    thresholds: Mapping[str, float]
    count_types: Sequence[str] | None = None


@dataclass(frozen=True)
class Thresholds:
    """The class thresholds. `a` and `b` are cumulative shares, `x` and `y` coefficients of variation.

    Raises ConfigurationError if the first of a pair is above the second.
    """

    a: float = 0.80
    b: float = 0.95
    x: float = 0.5
    y: float = 1.0

    def __post_init__(self) -> None:
        if not 0 <= self.a <= self.b <= 1:
            raise ConfigurationError(f"ABC thresholds must satisfy 0 <= a <= b <= 1: a={self.a}, b={self.b}")
        if not 0 <= self.x <= self.y:
            raise ConfigurationError(f"XYZ thresholds must satisfy 0 <= x <= y: x={self.x}, y={self.y}")

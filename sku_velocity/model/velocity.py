"""Classes of SKUs, and a refresh of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date

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
    compared with.
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

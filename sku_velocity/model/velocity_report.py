"""The result of a refresh of a warehouse's velocity: movers, class changes, missing days."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date

from pydantic import BaseModel, ConfigDict, RootModel

TOP = 20  # SKUs that a report names
SHOWN_CHANGES = 50


class Mover(BaseModel):
    """One of the SKUs that moved the most units: figures as in table `sku_velocity`, over 91 days and 7."""

    model_config = ConfigDict(frozen=True)

    sku_id: str
    units_91: int
    lines_91: int
    units_7: int
    trend: float | None
    days_since_last_movement: int
    abc_lines: str
    abc_units: str
    xyz: str


class ClassChange(BaseModel):
    """A SKU whose classes changed since the last refresh; a side is empty if the SKU was absent in it.

    Classes are concatenated: ABC by lines, ABC by units, XYZ, as in `ABX`.
    """

    model_config = ConfigDict(frozen=True)

    sku_id: str
    before: str
    after: str


class VelocityReport(BaseModel):
    """One warehouse's velocity as of a local day: the flow's result.

    `completeness` is the published share of the last 7, 28 and 91 days, `incomplete_days` that of each day
    that is not fully published. `classes` counts SKUs by ABC class by lines and XYZ class, as in `AX`.
    `movers` are the first 20 by units, `changes` the first 50 of `changed` SKUs, by lines in descending
    order. `files` are paths. `count_types` are the movement types that were counted, None if all were.
    """

    model_config = ConfigDict(frozen=True)

    source: str
    warehouse: str
    as_of: date
    time_zone: str
    count_types: Sequence[str] | None = None
    days: int
    skus: int
    units: int
    lines: int
    completeness: Mapping[int, float]
    incomplete_days: Mapping[date, float]
    classes: Mapping[str, int]
    movers: list[Mover]
    compared_with: date | None
    changed: int
    changes: list[ClassChange]
    files: Mapping[str, str]

    @property
    def missing_days(self) -> list[date]:
        """The days without any published data."""
        return [day for day, share in self.incomplete_days.items() if share == 0]

    @property
    def counted(self) -> str:
        """What was counted: all movements, or those of some types."""
        return (
            "all movements"
            if self.count_types is None
            else f"movements of type {', '.join(self.count_types)}"
        )

    @property
    def coverage(self) -> str:
        """A sentence about how much of the 91 days the figures are based on."""
        if not self.incomplete_days:
            return f"All {self.days} days are fully published."
        missing, partly = len(self.missing_days), len(self.incomplete_days) - len(self.missing_days)
        counted = [f"{missing} not published" if missing else "", f"{partly} only in part" if partly else ""]
        return (
            f"Of {self.days} days: {', '.join(filter(None, counted))}. "
            "They are weighted by their published share, never counted as days without movements."
        )


class VelocityReports(RootModel[list[VelocityReport]]):
    """The result of a refresh: a report per warehouse."""


def ranges_of_days(days: Mapping[date, float]) -> list[str]:
    """Format days with their share, adjacent days of one share merged: `2026-03-01 to 2026-03-04: 0 %`."""
    runs: list[tuple[date, date, float]] = []
    for day, share in sorted(days.items()):
        if runs and (day - runs[-1][1]).days == 1 and runs[-1][2] == share:
            runs[-1] = (runs[-1][0], day, share)
        else:
            runs.append((day, day, share))
    return [
        f"{first if first == last else f'{first} to {last}'}: {percent(share)}" for first, last, share in runs
    ]


def percent(share: float) -> str:
    """Format a share as percent, limited so that only 1 is shown as 100 % and only 0 as 0 %."""
    if share in (0.0, 1.0):
        return f"{share:.0%}".replace("%", " %")
    return f"{min(max(100 * share, 0.1), 99.9):.1f} %"

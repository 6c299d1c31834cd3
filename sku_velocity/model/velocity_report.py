"""The result of a refresh of a warehouse's velocity, and its sections as every output shows them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date

from pydantic import BaseModel, ConfigDict, RootModel

TOP = 20  # SKUs of each kind that a report names
SHOWN_CHANGES = 50
MATRIX_ROWS = {"A": "A by lines", "B": "B", "C": "C", "N": "N: new", "D": "D: dead"}
MATRIX_COLUMNS = {"X": "X: steady", "Y": "Y", "Z": "Z: in bursts", "": "none"}
DEMAND = ("smooth", "erratic", "intermittent", "lumpy")


class Mover(BaseModel):
    """One SKU: figures as in table `sku_velocity`. `change` is units per open day of the last 7 days less
    those of the last 28; None if one of them is unknown."""

    model_config = ConfigDict(frozen=True)

    sku_id: str
    units_91: int | None
    lines_91: int | None
    units_7: int | None
    trend: float | None
    days_since_last_movement: int | None
    age_days: int | None
    provisional_abc_lines: str | None
    abc_lines: str | None
    abc_units: str | None
    xyz: str | None
    change: float | None = None


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
    that is not fully published; `open_days` counts the days on which the warehouse worked. `classes` counts
    SKUs by ABC class by lines and XYZ class, as in `AX`, `demand` by demand class. `movers` are the first 20
    by units, `up` and `down` those whose rate changed most; `new` and `dead` count the SKUs of class N and D,
    of which the first 20 are `new_skus` and `dead_skus`; `changes` are the first 50 of `changed` SKUs, by
    lines in descending order, and `change_counts` counts all of them by change, as in `ABX > BBX`, the most
    frequent first. `files` are paths. `count_types` are the movement types that were counted,
    None if all were; `master` is the one whose SKUs have rows.
    """

    model_config = ConfigDict(frozen=True)

    source: str
    warehouse: str
    as_of: date
    time_zone: str
    count_types: Sequence[str] | None = None
    master: str | None = None
    days: int
    open_days: int
    skus: int
    units: int
    lines: int
    orders: int | None
    completeness: Mapping[int, float]
    incomplete_days: Mapping[date, float]
    classes: Mapping[str, int]
    demand: Mapping[str, int]
    movers: list[Mover]
    up: list[Mover]
    down: list[Mover]
    new: int
    new_skus: list[Mover]
    dead: int
    dead_skus: list[str]
    compared_with: date | None
    changed: int
    changes: list[ClassChange]
    change_counts: Mapping[str, int] = {}
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
    def summary(self) -> str:
        """What the figures are of, in one line."""
        orders = "" if self.orders is None else f"{self.orders:,} orders, "
        master = f"; with all SKUs of the master {self.master}" if self.master else ""
        return (
            f"{self.days} days to {self.as_of}, {self.time_zone}, {self.open_days} of them open: "
            f"{self.skus:,} SKUs, {orders}{self.lines:,} lines, {self.units:,} units; {self.counted}{master}"
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

    def count(self, abc: str) -> int:
        """Count the SKUs of an ABC class by lines."""
        return sum(number for name, number in self.classes.items() if name.startswith(abc))


class VelocityReports(RootModel[list[VelocityReport]]):
    """The result of a refresh: a report per warehouse."""


Cell = str | int | float | None  # None: unknown


@dataclass(frozen=True)
class Section:
    """A part of a report: its title, sentences, and a table; `head` is empty if it has none."""

    title: str
    lines: Sequence[str] = ()
    head: Sequence[str] = ()
    rows: Sequence[Sequence[Cell]] = ()

    @property
    def numeric(self) -> list[bool]:
        """Whether each column holds numbers."""
        return [
            any(isinstance(cell, int | float) for cell in column) for column in zip(*self.rows, strict=True)
        ]


def cell_text(cell: Cell) -> str:
    """Format a cell: numbers with thousands separators, fractions with two digits, nothing if unknown."""
    if cell is None or isinstance(cell, str):
        return cell or ""
    return f"{cell:,}" if isinstance(cell, int) else f"{cell:,.2f}"


def sections_of(report: VelocityReport) -> list[Section]:
    """Return a report's sections, for a page or an artifact."""
    sections = [
        _matrix(report),
        Section("Rising", [COMPARED], RATES, _rates(report.up)),
        Section("Falling", [], RATES, _rates(report.down)),
        _changes(report),
        Section(
            f"New SKUs: {report.new:,}",
            [],
            ["SKU", "age, days", "units, 7 days", "provisional class", "XYZ"],
            [[each.sku_id, each.age_days, each.units_7, each.provisional_abc_lines, each.xyz]
             for each in report.new_skus],
        ),
        Section("Most units", [], TOPS, [_top(mover) for mover in report.movers]),
        _dead(report),
        _completeness(report),
    ]  # fmt: skip
    return [each for each in sections if each.lines or each.rows]


COMPARED = "Units per open day: those of the last 7 days less those of the last 28."
RATES = ("SKU", "change, units/day", "trend", "units, 7 days", "units, 91 days", "classes")
TOPS = ("SKU", "units, 91 days", "lines, 91 days", "units, 7 days", "trend", "days since", "classes")


def _matrix(report: VelocityReport) -> Section:
    rows: list[list[Cell]] = [
        [label, *(report.classes.get(abc + xyz, 0) for xyz in MATRIX_COLUMNS)]
        for abc, label in MATRIX_ROWS.items()
        if abc in "ABC" or report.count(abc)
    ]
    demand = ", ".join(f"{name} {report.demand.get(name, 0):,}" for name in DEMAND)
    return Section("Classes", [f"Demand: {demand}."], ["", *MATRIX_COLUMNS.values()], rows)


def _classes(mover: Mover) -> str:
    return f"{mover.abc_lines or ''}{mover.abc_units or ''}{mover.xyz or ''}"


def _rates(movers: Sequence[Mover]) -> list[list[Cell]]:
    return [
        [each.sku_id, each.change, each.trend, each.units_7, each.units_91, _classes(each)] for each in movers
    ]


def _top(each: Mover) -> list[Cell]:
    counts = [each.units_91, each.lines_91, each.units_7]
    return [each.sku_id, *counts, each.trend, each.days_since_last_movement, _classes(each)]


def _changes(report: VelocityReport) -> Section:
    if report.compared_with is None:
        return Section("Class changes", ["The first refresh: nothing to compare with."])
    summary = f"{report.changed:,} SKUs changed class since {report.compared_with}."
    rows = [[each.sku_id, each.before or "new", each.after or "no more movements"] for each in report.changes]
    return Section("Class changes", [summary], ["SKU", "before", "now"] if rows else [], rows)


def _dead(report: VelocityReport) -> Section:
    lines = ["In the master, without a movement in 91 days."] if report.dead else []
    return Section(f"Dead SKUs: {report.dead:,}", lines, ["SKU"], [[sku] for sku in report.dead_skus])


def _completeness(report: VelocityReport) -> Section:
    rows = [[f"last {days} days", percent(share)] for days, share in report.completeness.items()]
    lines = [report.coverage, *ranges_of_days(report.incomplete_days)]
    return Section("Completeness", lines, ["", "published"], rows)


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

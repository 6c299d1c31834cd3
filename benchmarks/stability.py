"""How often the classes of steady SKUs change: `python -m benchmarks.stability`, about a minute."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from importlib.metadata import version
from zoneinfo import ZoneInfo

import numpy as np
import numpy.typing as npt

from benchmarks.report import Cell, Section, Table, publish, target
from sku_velocity.model.activity import Activity, DailyColumns
from sku_velocity.model.calendar import Period
from sku_velocity.model.velocity import EarlierClass, EarlierClasses, Thresholds
from sku_velocity.model.velocity_fields import CLASSES, PENDING
from sku_velocity.velocity.figures import Days, Figures, measure, to_rows

SKUS, DAYS, TRIPLED = 2_000, 60, 100
FIRST = date(2026, 1, 5)  # a Monday
RULES = {
    "at once": Thresholds(margin=0, xyz_margin=0, days=1),
    "on the third day past the border": Thresholds(margin=0, xyz_margin=0),
    "on the third day clearly past it": Thresholds(),
}
MOST_A_WEEK, MOST_DAYS, MOST_OF_THEM = 0.005, 3, 0.95
COLUMNS = ("a class changes", "ABC by lines, of 1,000 SKUs a week", "ABC by units", "XYZ", "any")

Lines = npt.NDArray[np.int64]


def simulate(skus: int, days: int) -> Lines:
    """Return the lines of each day and SKU: Poisson, Monday to Friday; the last SKUs triple after 91 days."""
    draw = np.random.default_rng(91)
    rates = np.maximum(draw.lognormal(np.log(6), 1, skus), 2)
    each_day = np.repeat(rates[None, :], 91 + days, axis=0)
    each_day[91:, -TRIPLED:] *= 3
    each_day[np.arange(91 + days) % 7 >= 5] = 0
    return draw.poisson(each_day)


def figures_of(lines: Lines, day: int, thresholds: Thresholds, earlier: EarlierClasses | None) -> Figures:
    """Measure the 91 days that end with a day of the simulation; each line is of two units."""
    window = lines[day - 90 : day + 1]
    days, codes = np.nonzero(window)
    moved = window[days, codes]
    skus = np.array([f"SKU-{number:05}" for number in range(lines.shape[1])], dtype=object)
    period = Period(ZoneInfo("UTC"), FIRST + timedelta(days=day), 91)
    long_ago = np.full(len(skus), -(10**15), dtype=np.int64)
    last = np.full(len(skus), int(datetime(2026, 1, 1, tzinfo=UTC).timestamp() * 1e6), dtype=np.int64)
    daily = DailyColumns(skus, long_ago, last, codes, days, 2 * moved, moved, np.zeros_like(moved))
    activity = Activity(daily, {}, [period.window])
    return measure(activity, period, Days.of(activity, period, thresholds), thresholds, earlier)


def changes(lines: Lines, days: int, thresholds: Thresholds) -> tuple[list[float], int | None]:
    """Return the share of steady SKUs that change each class, and any, a week; and after how many days 95% of
    the SKUs that tripled to an A rate are provisionally A, None if never."""
    steady, changed, earlier, found = lines.shape[1] - TRIPLED, np.zeros(4), None, None
    risen: set[str] = set()
    names = ["sku_id", *CLASSES, *PENDING]
    for day in range(90, 90 + days):
        figures = figures_of(lines, day, thresholds, earlier)
        rows = {sku: EarlierClass(*classes) for sku, *classes in to_rows(figures[names])}
        if earlier is not None:
            pairs = [(earlier.of_sku[sku][:3], rows[sku][:3]) for sku in sorted(rows)[:steady]]
            each = [[a != b for a, b in zip(*pair, strict=True)] for pair in pairs]
            changed += [*np.sum(each, axis=0), sum(map(any, each))]
        if day == 90:
            risen = to_become_a(figures, steady)
        is_a = figures["provisional_abc_lines"][figures["sku_id"].isin(risen)] == "A"
        if found is None and day > 90 and is_a.mean() >= MOST_OF_THEM:
            found = day - 90
        earlier = EarlierClasses(FIRST + timedelta(days=day), rows)
    return (changed / steady / (days - 1) * 7).tolist(), found


def to_become_a(figures: Figures, steady: int) -> set[str]:
    """Return the SKUs that will triple and are not A, but clearly will be: by three times their rate now."""
    border = figures["lines_per_open_day"][figures["raw_abc_lines"] == "A"].min()
    is_low = (figures["raw_abc_lines"] != "A") & (3 * figures["lines_per_open_day"] >= 1.5 * border)
    return set(figures["sku_id"][is_low & (figures["sku_id"] >= f"SKU-{steady:05}")])


def main(arguments: Sequence[str]) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.stability", description=__doc__)
    parser.parse_args(arguments)
    lines, rows, results = simulate(SKUS, DAYS), [], {}
    for name, thresholds in RULES.items():
        results[name] = changes(lines, DAYS, thresholds)
        print(name, results[name], file=sys.stderr)
        cells: list[Cell] = [name, *(1_000 * share for share in results[name][0])]
        rows.append(cells)
    shares, found = results["on the third day clearly past it"]
    publish(
        Section(
            "stability",
            "How often classes change by noise",
            "python -m benchmarks.stability",
            [Table(f"{SKUS:,} steady SKUs of a five-day warehouse over {DAYS} days.", COLUMNS, rows)],
            [
                target(
                    "at most 0.5% of steady SKUs change a week", f"{shares[3]:.2%}", shares[3] <= MOST_A_WEEK
                ),
                target(
                    "95% of the SKUs that triple to an A rate are provisionally A within three days",
                    f"{found} days",
                    found is not None and found <= MOST_DAYS,
                ),
                "Each SKU has Poisson demand from Monday to Friday, 2 or more lines a day (log-normal, "
                f"median 6); {TRIPLED} of them triple after 91 days. Those count that were not A before "
                "and whose new rate is at least 1.5 times the lowest rate of an A item: on the third day, the "
                "week is at 2.2 times the old rate.",
            ],
            {"numpy": version("numpy")},
        )
    )


if __name__ == "__main__":
    main(sys.argv[1:])

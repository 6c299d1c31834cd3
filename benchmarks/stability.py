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
POPULATIONS = {"fast": (6.0, 2.0), "slow": (1.0, 0.0)}  # median and least lines a day
FIRST = date(2026, 1, 5)  # a Monday
RULES = {
    "at once": Thresholds(margin=0, xyz_margin=0, days=1),
    "on the third day past the border": Thresholds(margin=0, xyz_margin=0),
    "on the third day clearly past it": Thresholds(),
}
MOST_A_WEEK, MOST_DAYS, MOST_OF_THEM = 0.005, 3, 0.95
COLUMNS = ("SKUs", "a class changes", "ABC by lines, of 1,000 SKUs a week", "ABC by units", "XYZ", "any")

Lines = npt.NDArray[np.int64]


def simulate(days: int, median: float, least: float, tripled: int = 0) -> Lines:
    """Return the lines of each day and SKU: Poisson, Monday to Friday; the last SKUs triple after 91 days."""
    draw = np.random.default_rng(91)
    rates = np.maximum(draw.lognormal(np.log(median), 1, SKUS), least)
    each_day = np.repeat(rates[None, :], 91 + days, axis=0)
    each_day[91:, SKUS - tripled :] *= 3
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


def changes(lines: Lines, days: int, thresholds: Thresholds) -> list[float]:
    """Return the share of SKUs that change each class a week, and any."""
    changed, earlier, names = np.zeros(4), None, ["sku_id", *CLASSES, *PENDING]
    for day in range(90, 90 + days):
        figures = figures_of(lines, day, thresholds, earlier)
        rows = {sku: EarlierClass(*classes) for sku, *classes in to_rows(figures[names])}
        if earlier is not None:
            pairs = [(earlier.of_sku[sku][:3], rows[sku][:3]) for sku in rows]
            each = [[a != b for a, b in zip(*pair, strict=True)] for pair in pairs]
            changed += [*np.sum(each, axis=0), sum(map(any, each))]
        earlier = EarlierClasses(FIRST + timedelta(days=day), rows)
    return (changed / SKUS / (days - 1) * 7).tolist()


def days_until_a(lines: Lines) -> int | None:
    """Return after how many days 95% of the SKUs that tripled to an A rate are provisionally A."""
    before = figures_of(lines, 90, Thresholds(), None)
    border = before["lines_per_open_day"][before["raw_abc_lines"] == "A"].min()
    is_low = (before["raw_abc_lines"] != "A") & (3 * before["lines_per_open_day"] >= 1.5 * border)
    risen = before["sku_id"][is_low & (before["sku_id"] >= f"SKU-{SKUS - TRIPLED:05}")]
    for day in range(91, len(lines)):
        figures = figures_of(lines, day, Thresholds(), None)
        is_a = figures["provisional_abc_lines"][figures["sku_id"].isin(risen)] == "A"
        if is_a.mean() >= MOST_OF_THEM:
            return day - 90
    return None


def main(arguments: Sequence[str]) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.stability", description=__doc__)
    parser.parse_args(arguments)
    rows: list[list[Cell]] = []
    worst = 0.0
    for population, rates in POPULATIONS.items():
        lines = simulate(DAYS, *rates)
        for name, thresholds in RULES.items():
            shares = changes(lines, DAYS, thresholds)
            print(population, name, shares, file=sys.stderr)
            rows.append([population, name, *(1_000 * share for share in shares)])
        worst = max(worst, shares[-1])  # by the last rule, which is ours
    found = days_until_a(simulate(14, *POPULATIONS["fast"], TRIPLED))
    publish(
        Section(
            "stability",
            "How often classes change by noise",
            "python -m benchmarks.stability",
            [Table(f"{SKUS:,} steady SKUs of a five-day warehouse over {DAYS} days.", COLUMNS, rows)],
            [
                target("at most 0.5% of steady SKUs change a week", f"{worst:.2%}", worst <= MOST_A_WEEK),
                target(
                    "95% of fast SKUs that triple to an A rate are provisionally A within three days",
                    f"{found} days",
                    found is not None and found <= MOST_DAYS,
                ),
                "Each SKU has Poisson demand from Monday to Friday, by a rate of its own (log-normal): fast "
                "ones of 6 lines a day in the median and 2 at least, slow ones of 1 in the median. For the "
                f"second target, {TRIPLED} fast ones triple after 91 days; of those, the ones count that "
                "were not A and whose new rate is at least 1.5 times the lowest rate of an A item: on the "
                "third day, their last 7 days are at 2.2 times the old rate.",
            ],
            {"numpy": version("numpy")},
        )
    )


if __name__ == "__main__":
    main(sys.argv[1:])

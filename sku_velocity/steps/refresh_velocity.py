"""The refresh of one warehouse's velocity: read what is published, measure, store, write the files."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import date
from pathlib import Path

from sku_velocity.model.activity import Activity
from sku_velocity.model.calendar import (
    HOUR,
    WEEK,
    Period,
    covered_hours_of_week,
    covered_shares,
    hour_of_week,
    zone_of,
)
from sku_velocity.model.velocity import EarlierClasses, Refresh, Thresholds
from sku_velocity.model.velocity_report import SHOWN_CHANGES, TOP, ClassChange, Mover, VelocityReport
from sku_velocity.output.names import file_stem
from sku_velocity.store import Store
from sku_velocity.velocity.charts import Draw, as_svg, pareto_picture, week_picture
from sku_velocity.velocity.figures import (
    LONGEST,
    Figures,
    add_key,
    class_changes,
    class_counts,
    completeness,
    measure,
    to_rows,
    top_movers,
)
from sku_velocity.velocity.files import write_files
from sku_velocity.velocity.html import render_page


@dataclass(frozen=True)
class RefreshRequest:
    """One warehouse of one source to refresh, as of a local day of its time zone (an IANA name).

    `count_types` are the movement types to count; None: pick if the spec names types, otherwise all.
    """

    source: str
    warehouse: str
    as_of: date
    time_zone: str = "UTC"
    thresholds: Thresholds = Thresholds()
    directory: Path = Path("reports")
    count_types: Sequence[str] | None = None


@dataclass(frozen=True)
class RefreshResult:
    """The report of a refresh, and its pictures by title; the caller draws them in its own format."""

    report: VelocityReport
    pictures: Mapping[str, Draw]


async def refresh(store: Store, request: RefreshRequest) -> RefreshResult:
    """Compute a warehouse's velocity from the published movements, store it, and write its files.

    A second refresh of the same day replaces the first. Memory grows with SKUs and days, not with
    movements. Raises ConfigurationError if the time zone, the day or the directory is invalid,
    VelocityError if the sum of units exceeds 64 bits, and the errors of the store.
    """
    period = Period(zone_of(request.time_zone), request.as_of, LONGEST)
    activity = await store.activity.of(request.source, request.warehouse, period, request.count_types)
    earlier = await store.velocity.classes_before(request.source, request.warehouse, request.as_of)
    shares = covered_shares(period, activity.published)
    figures = await asyncio.to_thread(_measure, request, activity, period, shares, earlier)
    report = _report(request, figures, period, shares, earlier, activity.types)
    await store.velocity.replace(_as_row(request, report), await asyncio.to_thread(to_rows, figures))
    return await asyncio.to_thread(_render, request, activity, period, figures, report)


def _measure(
    request: RefreshRequest,
    activity: Activity,
    period: Period,
    shares: Sequence[float],
    earlier: EarlierClasses | None,
) -> Figures:
    measured = measure(activity.daily, period, shares, request.thresholds, earlier)
    return add_key(measured, request.source, request.warehouse, request.as_of)


def _report(
    request: RefreshRequest,
    figures: Figures,
    period: Period,
    shares: Sequence[float],
    earlier: EarlierClasses | None,
    types: Sequence[str] | None,
) -> VelocityReport:
    changes = class_changes(figures, earlier)
    return VelocityReport(
        source=request.source,
        warehouse=request.warehouse,
        as_of=request.as_of,
        time_zone=request.time_zone,
        count_types=types,
        days=period.days,
        skus=len(figures),
        units=int(figures[f"units_{LONGEST}"].sum()),
        lines=int(figures[f"lines_{LONGEST}"].sum()),
        completeness=completeness(shares),
        incomplete_days={period.day(index): share for index, share in enumerate(shares) if share < 1},
        classes=class_counts(figures),
        movers=[Mover(**{name: mover[name] for name in Mover.model_fields})
                for mover in top_movers(figures, TOP)],
        compared_with=earlier.as_of if earlier else None,
        changed=len(changes),
        changes=[ClassChange(sku_id=sku, before=before, after=after)
                 for sku, before, after in changes[:SHOWN_CHANGES]],
        files={},
    )  # fmt: skip


def _as_row(request: RefreshRequest, report: VelocityReport) -> Refresh:
    return Refresh(
        source=report.source,
        warehouse=report.warehouse,
        as_of=report.as_of,
        time_zone=report.time_zone,
        compared_with=report.compared_with,
        skus=report.skus,
        units=report.units,
        lines=report.lines,
        completeness=report.completeness,
        incomplete_days=report.incomplete_days,
        thresholds=asdict(request.thresholds),
        count_types=report.count_types,
    )


def _render(
    request: RefreshRequest,
    activity: Activity,
    period: Period,
    figures: Figures,
    report: VelocityReport,
) -> RefreshResult:
    draws = {
        "Pareto curve": _pareto(figures, request.thresholds),
        "Units per hour over the week": _week(activity, period),
    }
    page = render_page(report, [as_svg(draw) for draw in draws.values()])
    stem = f"velocity.{file_stem(request.source, request.warehouse)}"
    files = write_files(request.directory, stem, figures, page)
    return RefreshResult(report.model_copy(update={"files": files}), draws)


def _pareto(figures: Figures, thresholds: Thresholds) -> Draw:
    lines, units = (figures[f"{what}_{LONGEST}"].tolist() for what in ("lines", "units"))
    return pareto_picture(lines, units, (thresholds.a, thresholds.b))


def _week(activity: Activity, period: Period) -> Draw:
    units = [0] * (WEEK // HOUR)
    for index, moved in activity.hourly.items():
        units[hour_of_week(period, index)] += moved
    return week_picture(units, covered_hours_of_week(period, activity.published))

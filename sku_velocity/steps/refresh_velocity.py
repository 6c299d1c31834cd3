"""The refresh of one warehouse's velocity: read what is published, measure, store, write the files."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np

from sku_velocity.model.activity import Activity
from sku_velocity.model.calendar import HOUR, WEEK, Period, covered_hours_of_week, hour_of_week, zone_of
from sku_velocity.model.velocity import DEAD, NEW, EarlierClasses, Refresh, Thresholds
from sku_velocity.model.velocity_report import (
    DEMAND,
    SHOWN_CHANGES,
    TOP,
    ClassChange,
    Mover,
    VelocityReport,
)
from sku_velocity.output.names import file_stem
from sku_velocity.store import Store
from sku_velocity.velocity.charts import demand_chart, pareto_chart, week_chart
from sku_velocity.velocity.figures import (
    LONGEST,
    Days,
    Figures,
    add_key,
    class_changes,
    class_counts,
    completeness,
    measure,
    to_rows,
)
from sku_velocity.velocity.files import write_files
from sku_velocity.velocity.html import render_page


@dataclass(frozen=True)
class RefreshRequest:
    """One warehouse of one source to refresh, as of a local day of its time zone (an IANA name).

    `count_types` are the movement types to count; None: pick if the spec names types, otherwise all.
    `master` is the one whose SKUs get rows; None: the one that the newest window was mapped by.
    """

    source: str
    warehouse: str
    as_of: date
    time_zone: str = "UTC"
    thresholds: Thresholds = Thresholds()
    directory: Path = Path("reports")
    count_types: Sequence[str] | None = None
    master: str | None = None


@dataclass(frozen=True)
class RefreshResult:
    """The report of a refresh, and its charts by title, as SVG."""

    report: VelocityReport
    charts: Mapping[str, str]


@dataclass(frozen=True)
class _Inputs:
    """What a refresh computes from."""

    request: RefreshRequest
    period: Period
    activity: Activity
    days: Days
    earlier: EarlierClasses | None
    master: str | None
    volumes: Mapping[str, float | None] | None


async def refresh(store: Store, request: RefreshRequest) -> RefreshResult:
    """Compute a warehouse's velocity from the published movements, store it, and write its files.

    A second refresh of the same day replaces the first. Memory grows with SKUs and days, not with
    movements. Raises ConfigurationError if the time zone, the day, the master or the directory is invalid,
    VelocityError if the sum of units exceeds 64 bits, and the errors of the store.
    """
    period = Period(zone_of(request.time_zone), request.as_of, LONGEST)
    master = request.master or await store.masters.of_newest_window(request.source, request.warehouse)
    volumes = await store.masters.volumes(master) if master else None
    activity = await store.activity.of(request.source, request.warehouse, period, request.count_types)
    earlier = await store.velocity.classes_before(request.source, request.warehouse, request.as_of)
    days = Days.of(activity, period, request.thresholds)
    inputs = _Inputs(request, period, activity, days, earlier, master, volumes)
    figures = await asyncio.to_thread(_measure, inputs)
    inputs = replace(inputs, activity=(activity := activity.without_rows()))
    report = _report(inputs, figures)
    await store.velocity.replace(_as_row(inputs, report), await asyncio.to_thread(to_rows, figures))
    return await asyncio.to_thread(_render, inputs, figures, report)


def _measure(inputs: _Inputs) -> Figures:
    request = inputs.request
    measured = measure(
        inputs.activity, inputs.period, inputs.days, request.thresholds, inputs.earlier, inputs.volumes
    )
    return add_key(measured, request.source, request.warehouse, request.as_of)


def _report(inputs: _Inputs, figures: Figures) -> VelocityReport:
    request, period, published = inputs.request, inputs.period, inputs.days.published
    changes = class_changes(figures, inputs.earlier)
    change = _change_of_rate(figures, inputs.days)
    new, dead = (figures["abc_lines"] == name for name in (NEW, DEAD))
    demand = figures["demand_class"].value_counts()
    return VelocityReport(
        source=request.source,
        warehouse=request.warehouse,
        as_of=request.as_of,
        time_zone=request.time_zone,
        count_types=inputs.activity.types,
        master=inputs.master,
        days=period.days,
        open_days=len(inputs.days.open_dates(period)),
        skus=len(figures),
        units=int(figures[f"units_{LONGEST}"].sum()),
        lines=int(figures[f"lines_{LONGEST}"].sum()),
        orders=int(figures["orders_91"].sum()) if figures["orders_91"].notna().any() else None,
        completeness=completeness(published),
        incomplete_days={period.day(index): share for index, share in enumerate(published) if share < 1},
        classes=class_counts(figures),
        demand={name: int(demand.get(name, 0)) for name in DEMAND},
        movers=_movers(figures[figures[f"units_{LONGEST}"] > 0].sort_values("rank_units").head(TOP)),
        up=_movers(figures.assign(change=change)[change > 0].nlargest(TOP, "change")),
        down=_movers(figures.assign(change=change)[change < 0].nsmallest(TOP, "change")),
        new=int(new.sum()),
        new_skus=_movers(figures[new].sort_values("units_7", ascending=False, kind="stable").head(TOP)),
        dead=int(dead.sum()),
        dead_skus=figures.loc[dead, "sku_id"].head(TOP).tolist(),
        compared_with=inputs.earlier.as_of if inputs.earlier else None,
        changed=len(changes),
        changes=[ClassChange(sku_id=sku, before=before, after=after)
                 for sku, before, after in changes[:SHOWN_CHANGES]],
        change_counts=dict(
            Counter(f"{before or 'none'} > {after or 'none'}" for _, before, after in changes).most_common()
        ),
        files={},
    )  # fmt: skip


def _change_of_rate(figures: Figures, days: Days) -> Any:
    """Return units per open day of the last 7 days less those of the last 28."""
    week, month = (days.open[-number:].sum() or np.nan for number in (7, 28))
    return figures["units_7"].astype("float64") / week - figures["units_28"].astype("float64") / month


def _movers(figures: Figures) -> list[Mover]:
    names = [name for name in Mover.model_fields if name in figures]
    return [Mover(**dict(zip(names, row, strict=True))) for row in to_rows(figures[names])]


def _as_row(inputs: _Inputs, report: VelocityReport) -> Refresh:
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
        open_days=inputs.days.open_dates(inputs.period),
        settings=asdict(inputs.request.thresholds),
        count_types=report.count_types,
        master=report.master,
    )


def _render(inputs: _Inputs, figures: Figures, report: VelocityReport) -> RefreshResult:
    request, moved = inputs.request, figures[figures["raw_abc_lines"].notna()]
    lines, units = (moved[f"{what}_{LONGEST}"].tolist() for what in ("lines", "units"))
    charts = {
        "Pareto curve": pareto_chart(lines, units, (request.thresholds.a, request.thresholds.b)),
        "Demand": demand_chart(moved["adi"].tolist(), moved["cv2"].tolist(), list(report.demand.items())),
        "Units per hour over the week": _week(inputs.activity, inputs.period),
    }
    page = render_page(report, figures, list(charts.values()))
    stem = f"velocity.{file_stem(request.source, request.warehouse)}"
    files = write_files(request.directory, stem, figures, page)
    return RefreshResult(report.model_copy(update={"files": files}), charts)


def _week(activity: Activity, period: Period) -> str:
    units = [0] * (WEEK // HOUR)
    for index, moved in activity.hourly.items():
        units[hour_of_week(period, index)] += moved
    return week_chart(units, covered_hours_of_week(period, activity.published))

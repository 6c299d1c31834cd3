"""The refresh of velocity: one warehouse after another, each as of its own last day."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date, datetime, timedelta
from pathlib import Path

from sku_velocity.errors import ConfigurationError
from sku_velocity.model.calendar import zone_of
from sku_velocity.model.velocity import Thresholds
from sku_velocity.model.velocity_report import VelocityReport, VelocityReports
from sku_velocity.steps.outcome import Outcome
from sku_velocity.steps.push import push_current_classes
from sku_velocity.steps.requests import REPORTS, RefreshVelocityRequest
from sku_velocity.steps.run_context import RunContext, step

DEFAULTS = Thresholds()


async def refresh_velocity(context: RunContext, request: RefreshVelocityRequest) -> Outcome[VelocityReports]:
    """Refresh the velocity of published warehouses. One that fails does not stop the others."""
    thresholds = Thresholds(
        request.abc_a,
        request.abc_b,
        request.xyz_x,
        request.xyz_y,
        request.margin,
        new_days=request.new_days,
        open_days=request.open_days,
    )
    await context.find(store=request.store, engine=request.push)
    async with context.store() as store:
        published = await store.publications.warehouses()
    chosen = choose_warehouses(published, request.warehouses or [], request.source)
    zones = _choose_zones(context, published, chosen, request)
    reports, failed = [], []
    for source, warehouse in chosen:  # one by one, so that memory holds only one warehouse
        zone = zones[warehouse]
        day = request.as_of or last_day(context.due, zone)
        try:
            report = await context.perform(
                refresh_warehouse,
                source,
                warehouse,
                day,
                zone,
                thresholds,
                request.reports,
                request.count_types,
                request.master,
            )
        except Exception as error:
            failed.append(f"{warehouse} from {source}: {error}")
            continue
        reports.append(report)
        if context.engine:
            await context.perform(push_current_classes, source, warehouse)
    return _outcome_of(chosen, reports, failed)


@step("refresh {warehouse} from {source}")
async def refresh_warehouse(
    context: RunContext,
    source: str,
    warehouse: str,
    as_of: date,
    time_zone: str,
    thresholds: Thresholds = DEFAULTS,
    reports: str = REPORTS,
    count_types: Sequence[str] | None = None,
    master: str | None = None,
) -> VelocityReport:
    """Refresh one warehouse's velocity, as of a local day of its time zone, and show it."""
    from sku_velocity.steps.refresh_velocity import RefreshRequest, refresh

    request = RefreshRequest(
        source, warehouse, as_of, time_zone, thresholds, Path(reports), count_types, master
    )
    async with context.store() as store:
        result = await refresh(store, request)
    if result.report.count_types is not None and not result.report.skus:
        context.log.warning(
            "%s from %s: no %s are published in these %d days: set count_types to the types to count, or "
            "`types` in the source's spec",
            warehouse,
            source,
            result.report.counted,
            result.report.days,
        )
    await context.display.show_velocity(result)
    return result.report


async def refresh_and_push(
    context: RunContext,
    source: str,
    warehouse: str,
    as_of: date,
    time_zone: str,
    count_types: Sequence[str] | None = None,
) -> None:
    """Refresh a warehouse's velocity within a step, and send its changed classes to the slotting engine."""
    await refresh_warehouse.function(context, source, warehouse, as_of, time_zone, count_types=count_types)
    if context.engine:
        await push_current_classes.function(context, source, warehouse)


def last_day(moment: datetime, time_zone: str) -> date:
    """Return the last local day that is over at a moment."""
    return moment.astimezone(zone_of(time_zone)).date() - timedelta(days=1)


def choose_warehouses(
    published: Sequence[tuple[str, str]], warehouses: Sequence[str], source: str | None
) -> list[tuple[str, str]]:
    """Return the (source, warehouse) pairs to refresh. Raises ConfigurationError for an unpublished name."""
    chosen = [
        (name, warehouse)
        for name, warehouse in published
        if source in (None, name) and (not warehouses or warehouse in warehouses)
    ]
    missing = sorted(set(warehouses) - {warehouse for _, warehouse in chosen})
    if missing or (source and not chosen):
        what = ", ".join(missing) or "any warehouse"
        raise ConfigurationError(
            f"nothing is published for {what}{f' from {source}' if source else ''}: correct the name, or "
            f"sync a window first; published: {', '.join(sorted({pair[1] for pair in published})) or 'none'}"
        )
    return chosen


def _choose_zones(
    context: RunContext,
    published: Sequence[tuple[str, str]],
    chosen: Sequence[tuple[str, str]],
    request: RefreshVelocityRequest,
) -> Mapping[str, str]:
    """Return each chosen warehouse's time zone. Log the names of zones that have nothing published."""
    zones = request.time_zones or {}
    for name in [request.time_zone, *zones.values()]:
        zone_of(name)
    if unknown := sorted(set(zones) - {warehouse for _, warehouse in published}):
        context.log.warning("time_zones: nothing is published for %s", ", ".join(unknown))
    return {warehouse: zones.get(warehouse, request.time_zone) for _, warehouse in chosen}


def _outcome_of(
    chosen: Sequence[tuple[str, str]], reports: list[VelocityReport], failed: Sequence[str]
) -> Outcome[VelocityReports]:
    if failed:
        message = f"{len(failed)} of {len(chosen)} warehouses failed: {' | '.join(failed)}"
        return Outcome("Failed", message, VelocityReports(reports), is_failed=True)
    if not chosen:
        return Outcome(
            "Completed", "Nothing is published yet, so there is no velocity.", VelocityReports(reports)
        )
    incomplete = sum(bool(report.incomplete_days) for report in reports)
    message = (
        f"{len(reports)} of {len(chosen)} warehouses refreshed; {incomplete} of them have days that are not "
        "published whole."
    )
    return Outcome("Completed", message, VelocityReports(reports))

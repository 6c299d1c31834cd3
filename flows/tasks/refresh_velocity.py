"""The task that refreshes a warehouse's velocity after a window is published."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from pathlib import Path

from prefect import task

from flows.artifacts.velocity import publish_velocity
from flows.runtime.connections import PushResources, RunResources
from flows.runtime.retries import TASK_RETRY, result_of
from flows.runtime.schedule import scheduled_start
from flows.tasks.push import push_velocity
from sku_velocity.errors import VelocityError
from sku_velocity.model.calendar import zone_of
from sku_velocity.model.run import RunReport
from sku_velocity.model.velocity_report import VelocityReport
from sku_velocity.steps.push import ClassPush
from sku_velocity.steps.refresh_velocity import RefreshRequest, refresh
from sku_velocity.store import Store
from sku_velocity.velocity.figures import Thresholds


@task(task_run_name="refresh velocity of {report.warehouse}", **TASK_RETRY)
async def refresh_published(
    connections: RunResources, report: RunReport, time_zone: str, target: PushResources | None
) -> None:
    """Compute a warehouse's velocity, and send the changed classes to the slotting engine."""

    day = last_day(report.end or datetime.now(UTC), time_zone)
    async with connections.store() as store:
        await refresh_warehouse(store, report.source, report.warehouse, day, time_zone)
    if target:
        await push_classes(target, report.source, report.warehouse)


async def refresh_if_requested(
    connections: RunResources,
    report: RunReport,
    time_zone: str | None,
    target: PushResources | None,
    retries: int,
) -> RunReport:
    """Refresh the warehouse's velocity if the window is published and a zone is given. Return the report.

    A failed refresh is an error in the report: the window stays published.
    """
    if time_zone is None or not report.published:
        return report
    try:
        refreshing = refresh_published.with_options(retries=retries)
        await result_of(refreshing.submit(connections, report, time_zone, target))
    except VelocityError as error:
        return report.model_copy(update={"refresh_error": str(error)})
    return report


def last_day(moment: datetime, time_zone: str) -> date:
    """Return the last local day that is over at a moment."""
    return moment.astimezone(zone_of(time_zone)).date() - timedelta(days=1)


DEFAULTS = Thresholds()
REPORTS = "reports"


async def refresh_warehouse(
    store: Store,
    source: str,
    warehouse: str,
    as_of: date | None = None,
    time_zone: str = "UTC",
    thresholds: Thresholds = DEFAULTS,
    reports: str = REPORTS,
) -> VelocityReport:
    """Refresh one warehouse's velocity and show it, in any flow or task that has an open store.

    `as_of` is a local day of `time_zone`; None is the day before the run's scheduled start. Raises
    what `sku_velocity.steps.refresh_velocity.refresh` raises.
    """
    day = as_of or scheduled_start().astimezone(zone_of(time_zone)).date() - timedelta(days=1)
    result = await refresh(
        store, RefreshRequest(source, warehouse, day, time_zone, thresholds, Path(reports))
    )
    await publish_velocity(result)
    return result.report


async def push_classes(target: PushResources, source: str, warehouse: str) -> ClassPush:
    """Send a slotting engine those of a warehouse's current classes that it does not have yet."""
    async with target.store() as store:
        classes = await store.velocity.current_classes(source, warehouse)
    return await push_velocity(target, source, classes)

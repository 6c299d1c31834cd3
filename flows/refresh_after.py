"""Velocity, worked out anew once a window has been published."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

from prefect import task

from flows.runtime.connections import Connections, Outlet
from flows.runtime.retries import PATIENT, outcome
from sku_velocity.errors import VelocityError
from sku_velocity.model.calendar import zone_of
from sku_velocity.model.run import RunReport


@task(task_run_name="refresh velocity of {report.warehouse}", **PATIENT)
async def refresh_published(
    connections: Connections, report: RunReport, time_zone: str, outlet: Outlet | None
) -> None:
    """Work out a warehouse's velocity, and tell the slotting engine of the classes that changed."""
    from flows.refresh_velocity import push_classes, refresh_warehouse  # pandas takes a second to import

    day = last_day(report.end or datetime.now(UTC), time_zone)
    async with connections.store() as store:
        await refresh_warehouse(store, report.source, report.warehouse, day, time_zone)
    if outlet:
        await push_classes(outlet, report.source, report.warehouse)


async def refreshed(
    connections: Connections,
    report: RunReport,
    time_zone: str | None,
    outlet: Outlet | None,
    retries: int,
) -> RunReport:
    """The report of a window once its warehouse's velocity has been refreshed, where a zone is named.

    A refresh that fails is told in the report: the window stays published.
    """
    if time_zone is None or not report.published:
        return report
    try:
        refreshing = refresh_published.with_options(retries=retries)
        await outcome(refreshing.submit(connections, report, time_zone, outlet))
    except VelocityError as error:
        return report.model_copy(update={"refresh_error": str(error)})
    return report


def last_day(moment: datetime, time_zone: str) -> date:
    """The last local day that is over at a moment."""
    return moment.astimezone(zone_of(time_zone)).date() - timedelta(days=1)

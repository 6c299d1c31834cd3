"""The task that exports a published window as Parquet."""

from __future__ import annotations

from prefect import task

from flows.runtime.connections import RunResources
from flows.runtime.retries import TASK_RETRY, result_of
from sku_velocity.errors import VelocityError
from sku_velocity.model.run import RunReport
from sku_velocity.steps.export import Destination, export_window


@task(task_run_name="export {report.label}", **TASK_RETRY)
async def export_published(connections: RunResources, report: RunReport, export_to: str) -> str:
    """Write a published window to a destination, unless its file is there already. Return the file's name."""
    async with connections.store() as store:
        return await export_window(
            store, Destination(export_to), report.source, report.warehouse, report.window
        )


async def export_if_requested(
    connections: RunResources, report: RunReport, export_to: str | None, retries: int
) -> RunReport:
    """Export a window if it is published and a destination is given. Return the updated report.

    A failed export is an error in the report: the window stays published.
    """
    if export_to is None or not report.published:
        return report
    try:
        exporting = export_published.with_options(retries=retries)
        name = await result_of(exporting.submit(connections, report, export_to))
    except VelocityError as error:
        return report.model_copy(update={"export_error": str(error)})
    return report.model_copy(update={"exported": name})

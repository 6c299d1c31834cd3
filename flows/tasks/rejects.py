"""The task that shows a window's rejects."""

from __future__ import annotations

from prefect import task

from flows.artifacts.markdown import escape
from flows.artifacts.rejects import publish_rejects
from flows.runtime.connections import RunResources
from flows.runtime.retries import TASK_RETRY, result_of
from sku_velocity.model.dead_letter import VALIDATION, DeadLetterFilter, DeadLetterState
from sku_velocity.model.run import RunReport


@task(task_run_name="show rejects {report.label}", **TASK_RETRY)
async def show_rejects(connections: RunResources, report: RunReport) -> None:
    """Show one window's rejects as an artifact."""
    async with connections.store() as store:
        title = f"rejects of {escape(report.label)} from {report.source}"
        criteria = DeadLetterFilter(run=report.run_id, stage=VALIDATION, state=DeadLetterState.OPEN)
        await publish_rejects(store, report.source, title, criteria)


async def publish_window_rejects(connections: RunResources, report: RunReport, retries: int) -> None:
    """Show a window's rejects, if there are any."""
    if report.rejected:
        await result_of(show_rejects.with_options(retries=retries).submit(connections, report))

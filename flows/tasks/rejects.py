"""The task that shows what was rejected of a window."""

from __future__ import annotations

from prefect import task

from flows.artifacts.markdown import escape
from flows.artifacts.rejects import publish_rejects
from flows.runtime.connections import Connections
from flows.runtime.retries import PATIENT, outcome
from sku_velocity.model.dead_letter import VALIDATION, LetterState, Selection
from sku_velocity.model.run import RunReport


@task(task_run_name="show rejects {report.label}", **PATIENT)
async def show_rejects(connections: Connections, report: RunReport) -> None:
    """Show what was rejected of one window."""
    async with connections.store() as store:
        title = f"rejects of {escape(report.label)} from {report.source}"
        wanted = Selection(run=report.flow_run_id, stage=VALIDATION, state=LetterState.OPEN)
        await publish_rejects(store, report.source, title, wanted)


async def publish_window_rejects(connections: Connections, report: RunReport, retries: int) -> None:
    """Show what was rejected of a window, where anything was."""
    if report.rejected:
        await outcome(show_rejects.with_options(retries=retries).submit(connections, report))

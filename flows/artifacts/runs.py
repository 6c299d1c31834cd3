"""The artifacts of what works on more than one window: a backfill, a fan-out, a prune."""

from __future__ import annotations

from typing import Any

from prefect.artifacts import acreate_markdown_artifact, acreate_table_artifact
from prefect.utilities.urls import url_for

from flows.artifacts.markdown import escape, ignoring_artifact_errors
from sku_velocity.model.reports import PruneReport, RunOutcome, RunsReport
from sku_velocity.model.window import Window
from sku_velocity.output.names import artifact_key
from sku_velocity.text import shorten

PRUNED_KEY = "sku-velocity-pruned"


def render_runs(report: RunsReport) -> list[dict[str, Any]]:
    """Render many runs as a table: one row per window, with a link to its flow run, if it has one."""
    return [
        {
            "warehouse": escape(run.warehouse),
            "window": str(Window(run.start, run.end)),
            "published": "yes" if run.published else "no",
            "verdict": run.verdict or "none",
            "state": run.state,
            "rows": run.loaded,
            "rejects": run.rejected,
            "seconds": run.seconds,
            "message": escape(shorten(run.message)),
            "run": _link_to(run),
        }
        for run in report.runs
    ]


def _link_to(run: RunOutcome) -> str:
    """Return a link to a flow run in the UI; the bare id of the run without one."""
    url = run.flow_run_id and url_for("flow-run", obj_id=run.flow_run_id)
    return f"[{run.flow_run_id}]({url})" if url else run.flow_run_id or run.run_id or ""


async def publish_runs(report: RunsReport) -> None:
    """Publish the table of many runs under their source's stable key."""
    left = f"{len(report.left)} of {len(report.runs)} windows are not published"
    with ignoring_artifact_errors():
        await acreate_table_artifact(
            render_runs(report), key=artifact_key("runs", report.source), description=left
        )


def render_pruned(report: PruneReport) -> str:
    """Render a prune as Markdown: the count of each kind."""
    lines = [f"# {'Would be pruned' if report.dry_run else 'Pruned'}", ""]
    lines += ["| Kind | Count |", "| --- | ---: |"]
    lines += [f"| {name} | {count:,} |" for name, count in report.by_kind]
    if report.free_space:
        lines += ["", report.free_space]
    return "\n".join(lines)


async def publish_pruned(report: PruneReport) -> None:
    """Publish what was pruned."""
    with ignoring_artifact_errors():
        await acreate_markdown_artifact(render_pruned(report), key=PRUNED_KEY, description="What was pruned")

"""The artifact of a recheck: the windows that were read again, and how late their rows came."""

from __future__ import annotations

from prefect.artifacts import acreate_markdown_artifact

from flows.artifacts.markdown import escape, ignoring_artifact_errors
from sku_velocity.model.recheck import Lateness, RecheckedWindow, RecheckReport
from sku_velocity.model.window import Window
from sku_velocity.output.names import artifact_key
from sku_velocity.text import shorten


def render_recheck(report: RecheckReport) -> str:
    """Render a recheck as Markdown: its counts, a row per window that was read again, and the late rows."""
    counts = [
        ("Windows compared", report.compared),
        ("Windows revised", len(report.revised)),
        ("Windows that may still differ", len(report.failed)),
        ("Windows not reached", report.not_reached),
        ("Rows added", report.total("added")),
        ("Rows changed", report.total("changed")),
        ("Rows removed", report.total("removed")),
        ("Changed records of unknown windows", report.unplaced),
        ("Requests", report.requests),
    ]
    lines = [f"# Recheck of {report.source}", "", "| | |", "| --- | ---: |"]
    lines += [f"| {name} | {count} |" for name, count in counts]
    if report.error:
        lines += ["", f"Stopped: {escape(shorten(report.error))}"]
    if report.lateness:
        lines += _render_lateness(report.lateness)
    if report.windows:
        lines += ["", "| Warehouse | Window | Why | Added | Changed | Removed | Publication | Result |"]
        lines += ["| --- | --- | --- | ---: | ---: | ---: | ---: | --- |", *map(_row, report.windows)]
    return "\n".join(lines)


def _render_lateness(late: Lateness) -> list[str]:
    figures = (("Half of them", late.p50), ("95%", late.p95), ("99%", late.p99), ("All", late.max))
    lines = ["", f"{late.rows} rows came after the end of their window and after it was read:", ""]
    lines += ["| Rows | At least | At most, in minutes |", "| --- | ---: | ---: |"]
    lines += [f"| {name} | {lag.at_least:.0f} | {lag.at_most:.0f} |" for name, lag in figures]
    return [*lines, "", f"`settle_minutes: {late.settle_minutes}` would have caught 99% of them."]


def _row(window: RecheckedWindow) -> str:
    cells = [
        escape(window.warehouse),
        str(Window(window.start, window.end)),
        escape(shorten(window.why)),
        window.added,
        window.changed,
        window.removed,
        "" if window.publication is None else window.publication,
        escape(shorten(window.message)),
    ]
    return f"| {' | '.join(map(str, cells))} |"


async def publish_recheck(report: RecheckReport) -> None:
    """Publish a recheck under the stable key of its source."""
    with ignoring_artifact_errors():
        await acreate_markdown_artifact(
            render_recheck(report),
            key=artifact_key("recheck", report.source),
            description=f"{len(report.revised)} of {report.compared} windows revised",
        )

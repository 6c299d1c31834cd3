"""The artifact of a velocity refresh: Markdown, one for each source and warehouse."""

from __future__ import annotations

import asyncio
from base64 import b64encode
from collections.abc import Mapping

from prefect.artifacts import acreate_markdown_artifact

from flows.artifacts.markdown import escape
from sku_velocity.model.velocity_report import ClassChange, Mover, VelocityReport, ranges_of_days
from sku_velocity.output.names import artifact_key
from sku_velocity.steps.refresh_velocity import RefreshResult
from sku_velocity.velocity.charts import as_png

TOP_MOVERS = 10
SHOWN_CHANGES = 20


def render_velocity(report: VelocityReport, pictures: Mapping[str, bytes]) -> str:
    """Render a refresh as Markdown: missing days, pictures, top movers, class changes and files."""
    lines = [
        f"# Velocity of {escape(report.warehouse)}, {report.as_of}",
        "",
        f"{report.skus:,} SKUs, {report.lines:,} lines, {report.units:,} units in {report.days} days "
        f"({escape(report.time_zone)}), from {escape(report.source)}: {escape(report.counted)}. "
        f"{report.coverage}",
        "",
        *(f"- {line}" for line in ranges_of_days(report.incomplete_days)),
        "",
        "\n\n".join(_picture(title, png) for title, png in pictures.items()),
        "",
        f"## Top {min(TOP_MOVERS, len(report.movers))} by units",
        "",
        "| SKU | Units, 91 days | Lines, 91 days | Units, 7 days | Trend | ABC lines, units | XYZ |",
        "| --- | ---: | ---: | ---: | ---: | --- | --- |",
        *(_mover_row(mover) for mover in report.movers[:TOP_MOVERS]),
        "",
        "## Class changes",
        "",
        *_changes(report),
        "",
        *(f"- {suffix}: {escape(path)}" for suffix, path in report.files.items()),
    ]
    return "\n".join(lines)


async def publish_velocity(result: RefreshResult) -> None:
    """Publish a refresh under the stable key of its source and warehouse."""
    report = result.report
    pictures = {title: await asyncio.to_thread(as_png, draw) for title, draw in result.pictures.items()}
    await acreate_markdown_artifact(
        render_velocity(report, pictures),
        key=artifact_key("velocity", report.source, report.warehouse),
        description=f"{escape(report.warehouse)}: velocity as of {report.as_of}",
    )


def _picture(title: str, png: bytes) -> str:
    # The only form that both of Prefect's UIs show: they drop SVG elements, and an image artifact shows its
    # whole data URL as text below the picture.
    return f"![{title}](data:image/png;base64,{b64encode(png).decode()})"


def _mover_row(mover: Mover) -> str:
    trend = "" if mover.trend is None else f"{mover.trend:.2f}"
    return (
        f"| {escape(mover.sku_id)} | {mover.units_91:,} | {mover.lines_91:,} | {mover.units_7:,} | {trend} "
        f"| {mover.abc_lines}, {mover.abc_units} | {mover.xyz} |"
    )


def _changes(report: VelocityReport) -> list[str]:
    if report.compared_with is None:
        return ["The first refresh: nothing to compare with."]
    summary = f"{report.changed} SKUs changed class since {report.compared_with}."
    if not report.changes:
        return [summary]
    rows = [_change_row(change) for change in report.changes[:SHOWN_CHANGES]]
    return [summary, "", "| SKU | Before | Now |", "| --- | --- | --- |", *rows]


def _change_row(change: ClassChange) -> str:
    return f"| {escape(change.sku_id)} | {change.before or 'new'} | {change.after or 'no more movements'} |"

"""What operators see of a refresh in the Prefect UI: one Markdown artifact for each source and warehouse."""

from __future__ import annotations

import asyncio
from base64 import b64encode
from collections.abc import Mapping

from prefect.artifacts import acreate_markdown_artifact

from flows.artifacts.markdown import escape
from sku_velocity.model.velocity_report import ClassChange, Mover, VelocityReport, ranges_of_days
from sku_velocity.steps.refresh_velocity import RefreshResult
from sku_velocity.velocity.charts import as_png
from sku_velocity.velocity.files import slug

TOP_MOVERS = 10
SHOWN_CHANGES = 20


def render_velocity(report: VelocityReport, pictures: Mapping[str, bytes]) -> str:
    """A refresh as Markdown: what is missing, the pictures, the top movers, the class changes, the files."""
    lines = [
        f"# Velocity of {escape(report.warehouse)}, {report.as_of}",
        "",
        f"{report.skus:,} SKUs, {report.lines:,} lines, {report.units:,} units in {report.days} days "
        f"({escape(report.time_zone)}), from {escape(report.source)}. {report.coverage}",
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


async def publish_velocity(outcome: RefreshResult) -> None:
    """Show a refresh under the stable key of its source and warehouse."""
    report = outcome.report
    words = (slug(word.lower(), "a-z0-9") for word in (report.source, report.warehouse))
    pictures = {title: await asyncio.to_thread(as_png, draw) for title, draw in outcome.pictures.items()}
    await acreate_markdown_artifact(
        render_velocity(report, pictures),
        key="-".join([*words, "velocity"]),
        description=f"{escape(report.warehouse)}: velocity as of {report.as_of}",
    )


def _picture(title: str, png: bytes) -> str:
    # The one form that both of Prefect's UIs show: they drop SVG elements, and an image artifact shows the
    # whole of its data URL as text below the picture.
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
    told = f"{report.changed} SKUs changed class since {report.compared_with}."
    if not report.changes:
        return [told]
    rows = [_change_row(change) for change in report.changes[:SHOWN_CHANGES]]
    return [told, "", "| SKU | Before | Now |", "| --- | --- | --- |", *rows]


def _change_row(change: ClassChange) -> str:
    return f"| {escape(change.sku_id)} | {change.before or 'new'} | {change.after or 'no more movements'} |"

"""The artifact of a velocity refresh: Markdown, one for each source and warehouse."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Mapping

from prefect.artifacts import acreate_markdown_artifact

from flows.artifacts.markdown import escape
from sku_velocity.model.velocity_report import Section, VelocityReport, cell_text, sections_of
from sku_velocity.output.names import artifact_key
from sku_velocity.steps.refresh_velocity import RefreshResult

SHOWN_ROWS = 20  # of a table; the page has all


def render_velocity(report: VelocityReport, charts: Mapping[str, str]) -> str:
    """Render a refresh as Markdown: charts, the sections of the report, and the files."""
    parts = [
        f"# Velocity of {escape(report.warehouse)} from {escape(report.source)}, {report.as_of}",
        f"{escape(report.summary)}. {escape(report.coverage)}",
        *(_picture(title, svg) for title, svg in charts.items()),
        *(part for section in sections_of(report) for part in _section(section)),
        "\n".join(f"- {suffix}: {escape(path)}" for suffix, path in report.files.items()),
    ]
    return "\n\n".join(parts)


async def publish_velocity(result: RefreshResult) -> None:
    """Publish a refresh under the stable key of its source and warehouse."""
    report = result.report
    await acreate_markdown_artifact(
        render_velocity(report, result.charts),
        key=artifact_key("velocity", report.source, report.warehouse),
        description=f"{escape(report.warehouse)}: velocity as of {report.as_of}",
    )


def _picture(title: str, svg: str) -> str:
    # The only form that both of Prefect's UIs show: they drop SVG elements, and an image artifact shows its
    # whole data URL as text below the picture.
    return f"![{title}](data:image/svg+xml;base64,{b64encode(svg.encode()).decode()})"


def _section(section: Section) -> list[str]:
    parts = [f"## {escape(section.title)}", *map(escape, section.lines)]
    if section.rows:
        sides = ["---:" if is_number else "---" for is_number in section.numeric]
        rows = [section.head, *section.rows[:SHOWN_ROWS]]
        lines = [f"| {' | '.join(escape(cell_text(cell)) for cell in row)} |" for row in rows]
        parts.append("\n".join([lines[0], f"| {' | '.join(sides)} |", *lines[1:]]))
    return parts

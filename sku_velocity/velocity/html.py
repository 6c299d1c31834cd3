"""A velocity report as one HTML page that needs no network."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from sku_velocity.model.velocity_report import VelocityReport, percent, ranges_of_days

STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; color: #1f2933; max-width: 76rem; margin: 2rem auto }
h1 { margin-bottom: 0 }
.sub { color: #52606d; margin-top: .2rem }
.warn { background: #fff3cd; padding: .5rem 1rem }
.pictures { display: flex; flex-wrap: wrap; gap: 1rem }
.pictures svg { width: 36rem; max-width: 100%; height: auto }
table { border-collapse: collapse; margin: 1rem 0 }
th, td { padding: .25rem .8rem; border-bottom: 1px solid #e4e7eb; text-align: left }
.n { text-align: right; font-variant-numeric: tabular-nums }
"""

Cell = str | int


def render_page(report: VelocityReport, pictures: Sequence[str]) -> str:
    """Render the page: summary, pictures (our SVG elements), top movers, class changes, unpublished days."""
    title = f"Velocity of {report.warehouse} from {report.source}"
    parts = [
        f"<h1>{escape(title)}</h1>",
        f'<p class="sub">{report.days} days to {report.as_of}, {escape(report.time_zone)}: '
        f"{report.skus:,} SKUs, {report.lines:,} lines, {report.units:,} units; "
        f"{escape(report.counted)}</p>",
        f'<p class="{"warn" if report.incomplete_days else "sub"}">{escape(report.coverage)}</p>',
        f'<div class="pictures">{"".join(pictures)}</div>',
        "<h2>Classes</h2>",
        _table(["", "X: steady", "Y", "Z: in bursts"], [_class_row(report, abc) for abc in "ABC"]),
        "<h2>Top movers by units</h2>",
        _movers(report),
        "<h2>Class changes</h2>",
        *_changes(report),
        "<h2>Completeness</h2>",
        *_days(report),
    ]
    head = f'<meta charset="utf-8"><title>{escape(title)}</title><style>{STYLE}</style>'
    body = "\n".join(parts)
    return f'<!doctype html>\n<html lang="en"><head>{head}</head><body>\n{body}\n</body></html>\n'


def _class_row(report: VelocityReport, abc: str) -> list[Cell]:
    return [f"{abc} by lines", *(report.classes.get(abc + xyz, 0) for xyz in "XYZ")]


def _movers(report: VelocityReport) -> str:
    head = ["SKU", "units, 91 days", "lines, 91 days", "units, 7 days", "trend", "days since", "ABC lines",
            "ABC units", "XYZ"]  # fmt: skip
    rows: list[list[Cell]] = [
        [
            mover.sku_id,
            mover.units_91,
            mover.lines_91,
            mover.units_7,
            "" if mover.trend is None else f"{mover.trend:.2f}",
            mover.days_since_last_movement,
            mover.abc_lines,
            mover.abc_units,
            mover.xyz,
        ]
        for mover in report.movers
    ]
    return _table(head, rows)


def _changes(report: VelocityReport) -> list[str]:
    if report.compared_with is None:
        return ["<p>This is the first refresh; there is nothing to compare with.</p>"]
    summary = f"<p>{report.changed} SKUs changed class since {report.compared_with}.</p>"
    rows: list[list[Cell]] = [
        [change.sku_id, change.before or "new", change.after or "no more movements"]
        for change in report.changes
    ]
    return [summary, _table(["SKU", "before", "now"], rows)] if rows else [summary]


def _days(report: VelocityReport) -> list[str]:
    shares: list[list[Cell]] = [
        [f"last {days} days", percent(share)] for days, share in report.completeness.items()
    ]
    days = [f"<li>{line}</li>" for line in ranges_of_days(report.incomplete_days)]
    return [_table(["", "published"], shares), f"<ul>{''.join(days)}</ul>" if days else ""]


def _table(head: Sequence[str], rows: Sequence[Sequence[Cell]]) -> str:
    """Render a table; a column is numeric if its first row holds a number."""
    numeric = [isinstance(value, int) for value in rows[0]] if rows else [False] * len(head)
    lines = [_row("th", head, numeric), *(_row("td", row, numeric) for row in rows)]
    return f"<table>{''.join(lines)}</table>"


def _row(tag: str, values: Sequence[Cell], numeric: Sequence[bool]) -> str:
    cells = (
        f"<{tag}{' class=n' if is_number else ''}>{escape(_text(value))}</{tag}>"
        for value, is_number in zip(values, numeric, strict=True)
    )
    return f"<tr>{''.join(cells)}</tr>"


def _text(value: Cell) -> str:
    return f"{value:,}" if isinstance(value, int) else value

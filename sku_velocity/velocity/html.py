"""A velocity report as one HTML page that needs no network: charts, sections, and a table of all SKUs."""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import cache
from html import escape
from importlib.resources import files
from typing import Any

from sku_velocity.model.velocity_fields import FIELDS, Kind
from sku_velocity.model.velocity_report import Cell, Section, VelocityReport, cell_text, sections_of
from sku_velocity.velocity.figures import Figures

# The columns of the table of all SKUs. The page filters by the second.
COLUMNS = {
    "sku_id": "SKU",
    "abc_lines": "ABC lines",
    "abc_units": "ABC units",
    "xyz": "XYZ",
    "provisional_abc_lines": "provisional",
    "demand_class": "demand",
    "lines_91": "lines",
    "units_91": "units",
    "orders_91": "orders",
    "units_7": "units, 7 days",
    "units_per_open_day": "units/open day",
    "p95_daily_units": "p95 of days",
    "trend": "trend",
    "coefficient_of_variation": "variation",
    "adi": "ADI",
    "cv2": "CV²",
    "cube_91": "cube",
    "cube_per_order": "cube/order",
    "seasonality": "seasonality",
    "days_since_last_movement": "days since",
    "age_days": "age, days",
}
KINDS: dict[str, Kind] = {"sku_id": "text", **{each.name: each.kind for each in FIELDS}}
DIGITS = 4  # of a number in the page


def render_page(report: VelocityReport, figures: Figures, charts: Sequence[str]) -> str:
    """Render the page: summary, charts (our SVG elements), sections, and a table of all SKUs."""
    title = f"Velocity of {report.warehouse} from {report.source}"
    parts = [
        f"<h1>{escape(title)}</h1>",
        f'<p class="sub">{escape(report.summary)}</p>',
        f'<p class="{"warn" if report.incomplete_days else "sub"}">{escape(report.coverage)}</p>',
        f'<div class="charts">{"".join(charts)}</div>',
        f'<div class="sections">{"".join(map(_section, sections_of(report)))}</div>',
        *_all_skus(figures),
    ]
    head = (
        '<meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(title)}</title><style>{_file('page.css')}</style>"
    )
    body = "\n".join(parts)
    return f'<!doctype html>\n<html lang="en"><head>{head}</head><body>\n{body}\n</body></html>\n'


@cache
def _file(name: str) -> str:
    return files("sku_velocity.velocity").joinpath(name).read_text(encoding="utf-8")


def _section(section: Section) -> str:
    lines = "".join(f"<p>{escape(line)}</p>" for line in section.lines)
    return f"<section><h2>{escape(section.title)}</h2>{lines}{_table(section)}</section>"


def _table(section: Section) -> str:
    if not section.rows:
        return ""
    head = _row("th", section.head, section.numeric)
    cells = "".join(f"<tr>{_row('td', row, section.numeric)}</tr>" for row in section.rows)
    return _scrolled(section.title, f"<table><thead><tr>{head}</tr></thead><tbody>{cells}</tbody></table>")


def _scrolled(label: str, table: str) -> str:
    """Put a table into an area that scrolls, also by keyboard."""
    return f'<div class="wide" role="region" tabindex="0" aria-label="{escape(label)}">{table}</div>'


def _row(tag: str, values: Sequence[Cell], numeric: Sequence[bool]) -> str:
    """Render the cells of a row; the first one may be a SKU, which can be long or from right to left."""
    first, *others = (escape(cell_text(value)) for value in values)
    return "".join(
        f"<{tag}{' class=n' if is_number else ''}>{text}</{tag}>"
        for text, is_number in zip((f"<bdi>{first}</bdi>", *others), numeric, strict=True)
    )


def _all_skus(figures: Figures) -> list[str]:
    """Render the table of all SKUs; the page's script fills it, as many rows at once as are looked at."""
    columns = [name for name in COLUMNS if figures[name].notna().any() or name in ("sku_id", "abc_lines")]
    kinds = [KINDS[name] for name in columns]
    data = {"kinds": kinds, "rows": [_values(figures[name]) for name in columns]}
    # Inside a script element only `<` has a meaning.
    text = json.dumps(data, ensure_ascii=True, separators=(",", ":")).replace("<", "\\u003c")
    heads = "".join(
        f'<th aria-sort="none"{" class=n" if kind != "text" else ""}><button>{COLUMNS[name]}</button></th>'
        for name, kind in zip(columns, kinds, strict=True)
    )
    options = "".join(f'<option value="{each}">{each}</option>' for each in "ABCND")
    return [
        '<section id="all"><h2>All SKUs</h2><div class="tools">'
        '<input id="search" type="search" placeholder="Search SKU" aria-label="Search SKU">'
        f'<select id="class" aria-label="ABC class by lines"><option value="">all classes</option>{options}'
        '</select><span id="count" role="status"></span></div>',
        _scrolled("All SKUs", f"<table><thead><tr>{heads}</tr></thead><tbody></tbody></table>"),
        '<button id="more" hidden>Show more</button></section>',
        f'<script type="application/json" id="data">{text}</script><script>{_file("page.js")}</script>',
    ]


def _values(column: Any) -> list[Any]:
    values = column.astype(object).where(column.notna(), None).tolist()
    return [round(value, DIGITS) if isinstance(value, float) else value for value in values]

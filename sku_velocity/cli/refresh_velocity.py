"""The command `refresh-velocity`."""

from __future__ import annotations

from typing import Annotated

from rich.console import Console
from rich.table import Table
from rich.text import Text

from sku_velocity.cli.terminal import FLAT, TEXT, Output, perform
from sku_velocity.model.velocity_report import Section, VelocityReports, cell_text, percent, sections_of
from sku_velocity.steps import velocity as steps
from sku_velocity.steps.outcome import Outcome
from sku_velocity.steps.requests import RefreshVelocityRequest
from sku_velocity.text import printable

DEFAULTS = RefreshVelocityRequest()
SHOWN_ROWS = 10  # of a table; the page has all


def refresh_velocity(
    *, request: Annotated[RefreshVelocityRequest, FLAT] = DEFAULTS, output: Output = TEXT
) -> int:
    """Compute velocity figures, ABC and XYZ classes from the published movements, and write the reports."""
    return perform(steps.refresh_velocity, request, show_reports, output)


def show_reports(outcome: Outcome[VelocityReports]) -> None:
    """Print a row per warehouse, or the sections of a single one, then the paths and the summary."""
    reports, console = outcome.report.root, Console()
    table = Table()
    for name in ("warehouse", "as of", "SKUs", *"ABCND", "changed", "published"):
        table.add_column(name)
    for report in reports:
        counts = map(report.count, "ABCND")
        share = percent(report.completeness[report.days])
        cells = [report.warehouse, report.as_of, report.skus, *counts, report.changed, share]
        table.add_row(*(Text(printable(str(cell))) for cell in cells))
    console.print(table)
    for section in sections_of(reports[0]) if len(reports) == 1 else ():
        _show_section(console, section)
    for report in reports:
        path = printable(report.files["html"])
        console.print(path, markup=False, highlight=False, emoji=False, soft_wrap=True)
    summary = Console(stderr=outcome.is_failed)
    summary.print(outcome.message, markup=False, highlight=False, soft_wrap=True)


def _show_section(console: Console, section: Section) -> None:
    console.print(Text(f"\n{printable(section.title)}", style="bold"))
    for line in section.lines:
        console.print(Text(printable(line)))
    if section.rows:
        table = Table(*section.head)
        for column, is_number in zip(table.columns, section.numeric, strict=True):
            column.justify = "right" if is_number else "left"
        for row in section.rows[:SHOWN_ROWS]:
            table.add_row(*(Text(printable(cell_text(cell))) for cell in row))
        console.print(table)

"""The command `prune`."""

from __future__ import annotations

from typing import Annotated

from rich.console import Console
from rich.table import Table

from sku_velocity.cli.terminal import FLAT, TEXT, Output, perform
from sku_velocity.model.reports import PruneReport
from sku_velocity.steps import prune as steps
from sku_velocity.steps.outcome import Outcome
from sku_velocity.steps.requests import PruneRequest

DEFAULTS = PruneRequest()


def prune(*, request: Annotated[PruneRequest, FLAT] = DEFAULTS, output: Output = TEXT) -> int:
    """Delete superseded and abandoned runs, and old velocity."""
    return perform(steps.prune, request, show_pruned, output)


def show_pruned(outcome: Outcome[PruneReport]) -> None:
    """Print a row per kind, then the summary."""
    report, console = outcome.report, Console()
    table = Table()
    table.add_column("would be pruned" if report.dry_run else "pruned")
    table.add_column("count", justify="right")
    for name, count in report.by_kind:
        table.add_row(name, f"{count:,}")
    console.print(table)
    for line in (outcome.message, report.free_space):
        if line:
            console.print(line, markup=False, highlight=False, soft_wrap=True)

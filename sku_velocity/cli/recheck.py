"""The command `recheck`."""

from __future__ import annotations

from typing import Annotated

from rich.console import Console

from sku_velocity.cli.terminal import FLAT, TEXT, Output, perform, show_message
from sku_velocity.model.recheck import RecheckReport
from sku_velocity.steps import recheck as steps
from sku_velocity.steps.outcome import Outcome
from sku_velocity.steps.requests import RecheckRequest
from sku_velocity.text import printable


def recheck(*, request: Annotated[RecheckRequest, FLAT], output: Output = TEXT) -> int:
    """Compare published windows with their source again, and publish those that have changed since."""
    return perform(steps.recheck, request, show_recheck, output)


def show_recheck(outcome: Outcome[RecheckReport]) -> None:
    """Print the windows that were read again, how late their rows came, and what the recheck did."""
    console, report = Console(), outcome.report
    for window in report.windows:
        line = f"{window} ({window.why})"
        console.print(printable(line), markup=False, highlight=False, soft_wrap=True)
    if late := report.lateness:
        line = f"late rows, after the end of their window: p50 {late.p50}, p95 {late.p95}, max {late.max}"
        console.print(line, markup=False, highlight=False, soft_wrap=True)
    show_message(outcome)

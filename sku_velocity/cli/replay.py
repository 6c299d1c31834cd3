"""The command `replay`."""

from __future__ import annotations

from typing import Annotated

from sku_velocity.cli.terminal import FLAT, TEXT, Output, perform
from sku_velocity.model.reports import ReplayReport
from sku_velocity.steps import replay as steps
from sku_velocity.steps.outcome import Outcome
from sku_velocity.steps.requests import ReplayRequest
from sku_velocity.text import one_line, shorten


def replay(*, request: Annotated[ReplayRequest, FLAT], output: Output = TEXT) -> int:
    """Revalidate open dead letters by the source's current spec, and publish those that are valid."""
    return perform(steps.replay, request, show_replay, output)


def show_replay(outcome: Outcome[ReplayReport]) -> None:
    """Print the result of a replay, and why dead letters stay open."""
    for run in outcome.report.runs:
        for reason, count in run.reasons.items():
            print(shorten(one_line(f"{count} stay open in {run.warehouse} {run.window}: {reason}")))
    print(one_line(outcome.message))

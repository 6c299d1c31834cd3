"""The command `backfill`."""

from __future__ import annotations

import json
from typing import Annotated, Any

from rich.console import Console

from sku_velocity.cli.executor import current, run
from sku_velocity.cli.terminal import DONE, FLAT, TEXT, Output, perform, reworded, show_message
from sku_velocity.model.reports import RunOutcome
from sku_velocity.steps import backfill as steps
from sku_velocity.steps.backfill import Reading
from sku_velocity.steps.display import Listener
from sku_velocity.steps.requests import BackfillRequest


def backfill(
    *, request: Annotated[BackfillRequest, FLAT], dry_run: bool = False, output: Output = TEXT
) -> int:
    """Read all windows between two instants that are not published whole.

    Parameters
    ----------
    dry_run
        List the windows to read without reading them.
    """
    if dry_run:
        return _show_plan(request, output)
    listener = Listener() if output.as_json else Listener(ended=print_outcome)
    return perform(steps.backfill, request, show_message, output, listener)


def print_outcome(outcome: RunOutcome) -> None:
    """Print how one of many runs ended, in one line."""
    Console().print(reworded(str(outcome)), markup=False, highlight=False, soft_wrap=True)


def _show_plan(request: BackfillRequest, output: Output) -> int:
    readings = run(steps.plan_readings(current().context(), request))
    if output.as_json:
        print(json.dumps([_reading_as_json(reading) for reading in readings]))
        return DONE
    for reading in readings:
        reader = reading.read_by and f"being read by run {reading.read_by}"
        resumed = reading.resume and f"resumes run {reading.resume}"
        print(f"{reading}: {reader or resumed or 'read in full'}")
    print(f"{len(readings)} windows are missing")
    return DONE


def _reading_as_json(reading: Reading) -> dict[str, Any]:
    return {
        "warehouse": reading.warehouse,
        "start": reading.window.start.isoformat(),
        "end": reading.window.end.isoformat(),
        "resume": reading.resume,
        "read_by": reading.read_by,
    }

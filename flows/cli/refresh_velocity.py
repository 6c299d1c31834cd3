"""The command `refresh-velocity` of `python -m flows`."""

from __future__ import annotations

import asyncio
from datetime import date
from typing import Annotated, Any

from cyclopts import Parameter
from prefect.client.schemas.objects import State
from rich.console import Console
from rich.table import Table
from rich.text import Text

from flows.cli.terminal import move_password_to_environment
from flows.refresh_velocity import refresh_velocity
from flows.runtime.prefect_internals import silence_prefect
from flows.tasks.refresh_velocity import DEFAULTS, REPORTS
from sku_velocity.model.velocity_report import VelocityReport, percent
from sku_velocity.text import printable

REFRESHED, NOT_REFRESHED = 0, 1


def refresh(
    *,
    warehouse: Annotated[list[str] | None, Parameter(negative="")] = None,
    source: str | None = None,
    as_of: date | None = None,
    time_zone: str = "UTC",
    store: str | None = None,
    reports: str = REPORTS,
    abc_a: float = DEFAULTS.a,
    abc_b: float = DEFAULTS.b,
    xyz_x: float = DEFAULTS.x,
    xyz_y: float = DEFAULTS.y,
    verbose: Annotated[bool, Parameter(negative="")] = False,
) -> int:
    """Run the flow `refresh-velocity` and print its result. Return the exit code.

    Parameters
    ----------
    warehouse
        A warehouse to refresh. Repeat the option for more. Default: all with published movements.
    source
        The name of the source that the warehouses were read from. Default: all sources.
    as_of
        The last day to include, such as 2026-03-01. Default: yesterday in the warehouses' time zone.
    time_zone
        The warehouses' time zone, such as Europe/Berlin.
    store
        A velocity-store block's name, or a URL. Default: $SKU_VELOCITY_STORE, or sqlite:///sku-velocity.db.
    reports
        The directory for the Parquet, CSV and HTML files.
    abc_a
        The cumulative share of lines and of units at which class A ends.
    abc_b
        The cumulative share at which class B ends.
    xyz_x
        The largest coefficient of variation of class X.
    xyz_y
        The largest coefficient of variation of class Y.
    verbose
        Also show Prefect's log.
    """
    if not verbose:
        silence_prefect()
    request = {
        "warehouses": warehouse,
        "source": source,
        "as_of": as_of,
        "time_zone": time_zone,
        "store": move_password_to_environment(store),
        "reports": reports,
        "abc_a": abc_a,
        "abc_b": abc_b,
        "xyz_x": xyz_x,
        "xyz_y": xyz_y,
    }
    state, outcome = asyncio.run(_run(request))
    if isinstance(outcome, BaseException):
        raise outcome
    print_reports(outcome, Console())
    Console(stderr=state.is_failed()).print(state.message, markup=False, highlight=False, soft_wrap=True)
    return REFRESHED if state.is_completed() else NOT_REFRESHED


async def _run(request: dict[str, Any]) -> tuple[State[Any], Any]:
    state: State[Any] = await refresh_velocity(**request, return_state=True)
    return state, await state.aresult(raise_on_failure=False)


def print_reports(reports: list[VelocityReport], console: Console) -> None:
    """Print a row per warehouse, then the paths of the reports."""
    table = Table()
    for name in ("warehouse", "as of", "SKUs", "A", "B", "C", "changed", "published"):
        table.add_column(name)
    for report in reports:
        counts = [sum(report.classes.get(abc + xyz, 0) for xyz in "XYZ") for abc in "ABC"]
        share = percent(report.completeness[report.days])
        cells = [report.warehouse, report.as_of, report.skus, *counts, report.changed, share]
        table.add_row(*(Text(printable(str(cell))) for cell in cells))
    console.print(table)
    for report in reports:
        path = printable(report.files["html"])
        console.print(path, markup=False, highlight=False, emoji=False, soft_wrap=True)

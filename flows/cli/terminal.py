"""What the commands share: exit codes, progress bar, report, and hiding of passwords."""

from __future__ import annotations

import asyncio
import json
import os
import signal
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Any

from prefect.client.schemas.objects import State
from prefect.exceptions import TerminationSignal
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from blocks.store import STORE_VARIABLE
from flows.runtime.progress import plan_listener, progress_listener
from sku_velocity.model.run import RunReport
from sku_velocity.store.database import holds_password
from sku_velocity.text import printable

PUBLISHED, NOT_PUBLISHED, WRONG_USAGE = 0, 1, 2
STOPS = (KeyboardInterrupt, TerminationSignal)  # Ctrl-C, and SIGTERM on shutdown
RECORD_COUNTS = ("fetched", "loaded", "rejected", "trimmed", "filtered")
COSTS = ("chunks", "requests", "retried", "throttled", "seconds")
PASSED = {True: "passed", False: "FAILED", None: "-"}

errors = Console(stderr=True)


def run_and_report(
    flow: Callable[..., Awaitable[Any]], request: dict[str, Any], label: str, *, as_json: bool
) -> int:
    """Run a flow with a progress bar and print its report. Return the exit code."""

    async def run() -> tuple[RunReport | BaseException, str]:
        state: State[Any] = await flow(**request, return_state=True)
        ended = await state.aresult(raise_on_failure=False)
        if isinstance(ended, RunReport | BaseException):
            return ended, state.message or ""
        return RuntimeError(f"the flow ended as {state.name}: {state.message}"), ""

    planned: list[str] = []
    plan_listener.set(planned.append)
    outcome: RunReport | BaseException
    message = ""
    try:
        with progress_bar(label):
            outcome, message = asyncio.run(run())
    except STOPS as stop:
        stop.add_note(f"resume with --resume {planned[0]}" if planned else "run it again")
        outcome = stop
    if isinstance(outcome, RunReport):
        print(outcome.model_dump_json()) if as_json else print_report(outcome, message)
        return PUBLISHED if outcome.is_delivered else NOT_PUBLISHED
    if as_json:
        error = stop_message(outcome) if isinstance(outcome, STOPS) else str(outcome)
        print(json.dumps({"verdict": "failed", "published": False, "error": error}))
    raise outcome


def stop_message(stop: BaseException) -> str:
    """Return what stopped the program, and what to do next."""
    advice = getattr(stop, "__notes__", [])
    return ": ".join([f"stopped by {signal.Signals(signal_of(stop)).name}", *advice])


def signal_of(stop: BaseException) -> int:
    """Return the number of the signal that stopped the program."""
    return int(stop.signal) if isinstance(stop, TerminationSignal) else signal.SIGINT


def move_password_to_environment(store: str | None) -> str | None:
    """Return the store as a flow parameter; a URL with a password goes into the environment instead."""
    if store and "://" in store and holds_password(store):
        os.environ[STORE_VARIABLE] = store
        return None
    return store


@contextmanager
def progress_bar(warehouse: str) -> Iterator[None]:
    """Show a bar of landed chunks on a terminal, and nothing elsewhere."""
    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=errors, disable=not errors.is_terminal, transient=True) as bar:
        chunks = bar.add_task(printable(warehouse), total=None)
        token = progress_listener.set(lambda done, total: bar.update(chunks, completed=done, total=total))
        yield
        progress_listener.reset(token)


def print_report(report: RunReport, message: str) -> None:
    """Print a run's report; if it was not fully delivered, also the message that says what to do."""
    console = Console()
    title = printable(f"{report.label} from {report.source}: {report.verdict}")
    console.print(title, style="bold", markup=False)
    for names in (RECORD_COUNTS, COSTS):
        table = Table()
        for name in names:
            table.add_column(name, justify="right", no_wrap=True)
        table.add_row(*(str(getattr(report, name)) for name in names))
        console.print(table)
    for check in report.checks:
        result = "GAP" if check.is_gap and check.passed is None else PASSED[check.passed]
        console.print(f"{result:6}  {check.name}: {check.detail}", markup=False)
    for warning in report.warnings:
        console.print(f"warning: {warning}", markup=False)
    if report.master is not None:
        by = f"{report.master.source}, version {report.master.version}"
        console.print(f"mapped by master {by}: {report.unknown_skus} unknown SKUs", markup=False)
    if target := report.export_error or report.exported:
        console.print(f"{'NOT ' if report.export_error else ''}exported: {printable(target)}", markup=False)
    if push := report.push:
        sums = f"accepted {push.accepted}, rejected {push.rejected}, {len(push.failed_chunks)} chunks failed"
        console.print(f"pushed to {push.engine}: {sums}", markup=False)
        for error in push.errors:
            console.print(printable(f"chunk {error}"), markup=False)
    if not report.is_delivered:
        console.print(printable(message), markup=False, highlight=False, soft_wrap=True)
    console.print(f"run {report.flow_run_id}", markup=False, highlight=False)

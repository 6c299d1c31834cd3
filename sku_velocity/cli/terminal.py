"""What the commands share: options, exit codes, progress bar and report."""

from __future__ import annotations

import json
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Annotated, Any, TypeVar

from cyclopts import Parameter
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from sku_velocity.cli.executor import Stopped, current, on_store, run
from sku_velocity.model.run import REJECTS, RunReport
from sku_velocity.steps.display import Listener
from sku_velocity.steps.outcome import Outcome
from sku_velocity.steps.requests import Request
from sku_velocity.steps.run_context import Operation
from sku_velocity.text import printable

Q = TypeVar("Q", bound=Request)
T = TypeVar("T")

DONE, NOT_DONE, WRONG_USAGE = 0, 1, 2
STOPS = (KeyboardInterrupt, Stopped)  # Ctrl-C, and SIGTERM on shutdown
SHOWN_REASONS = 3  # of a refused window's rejects
FLAT = Parameter(name="*")  # each field of a request is an option
RECORD_COUNTS = ("fetched", "loaded", "rejected", "trimmed", "filtered")
COSTS = ("chunks", "requests", "retried", "throttled", "seconds")
PASSED = {True: "passed", False: "FAILED", None: "-"}

errors = Console(stderr=True)


@FLAT
@dataclass(frozen=True)
class Output:
    """How a command prints what it did."""

    as_json: Annotated[bool, Parameter(name="--json")] = False
    """Print the report as JSON on the last line of standard output."""
    verbose: bool = False
    """Also show the log."""


TEXT = Output()


def perform(
    operation: Operation[Q, T],
    request: Q,
    show: Callable[[Outcome[T]], object],
    output: Output,
    listener: Listener | None = None,
) -> int:
    """Run an operation and print its outcome. Return the exit code. Raises what the operation raises."""
    return NOT_DONE if _perform(operation, request, show, output, listener or Listener()).is_failed else DONE


def _perform(
    operation: Operation[Q, T],
    request: Q,
    show: Callable[[Outcome[T]], object],
    output: Output,
    listener: Listener,
) -> Outcome[T]:
    current().show_log(output.verbose)
    outcome = run(current().execute(operation, request, listener))
    if output.as_json:
        report: Any = outcome.report
        print(report.model_dump_json())
    else:
        show(outcome)
    return outcome


def perform_run(operation: Operation[Q, RunReport], request: Q, label: str, output: Output) -> int:
    """Run a sync with a progress bar. If it is stopped, say how to resume it. Return the exit code.

    A run that a later one has superseded has not failed, but has published nothing either.
    """
    planned: list[str] = []
    try:
        with progress_bar(label) as progress:
            listener = Listener(planned=planned.append, progress=progress)
            outcome = _perform(operation, request, show_run, output, listener)
        if not output.as_json:
            _show_rejects(outcome.report, getattr(request, "store", None))
        return DONE if outcome.report.is_delivered else NOT_DONE
    except BaseException as error:
        if isinstance(error, STOPS):
            error.add_note(f"resume with --resume {planned[0]}" if planned else "run it again")
        if output.as_json:
            message = stop_message(error) if isinstance(error, STOPS) else str(error)
            print(json.dumps({"verdict": "failed", "published": False, "error": message}))
        raise


def _show_rejects(report: RunReport, store: str | None) -> None:
    """Print why most records of a refused window were rejected, with samples, and how to see all."""
    if not any(check.name == REJECTS and check.passed is False for check in report.checks):
        return
    # Imported here: few runs are refused.
    from sku_velocity.cli.dead_letters import print_groups
    from sku_velocity.model.dead_letter import DeadLetterFilter
    from sku_velocity.steps.command_line import command_line

    criteria = DeadLetterFilter(run=report.run_id)
    groups = on_store(store, lambda opened: opened.dead_letters.by_reason(criteria, SHOWN_REASONS))
    print_groups(groups, report.rejected)
    listing = command_line(
        f"{current().context().program} dead-letters list", {"run": report.run_id, "store": store}
    )
    Console().print(f"Next: {listing}", markup=False, highlight=False, soft_wrap=True)


def stop_message(stop: BaseException) -> str:
    """Return what stopped the program, and what to do next."""
    advice = getattr(stop, "__notes__", [])
    return ": ".join([f"stopped by {signal.Signals(signal_of(stop)).name}", *advice])


def signal_of(stop: BaseException) -> int:
    """Return the number of the signal that stopped the program."""
    return stop.signal if isinstance(stop, Stopped) else signal.SIGINT


@contextmanager
def progress_bar(label: str) -> Iterator[Callable[[int, int], object]]:
    """Show a bar of landed chunks on a terminal, and nothing elsewhere. Yield what moves it."""
    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=errors, disable=not errors.is_terminal, transient=True) as bar:
        chunks = bar.add_task(printable(label), total=None)
        yield lambda done, total: bar.update(chunks, completed=done, total=total)


def show_run(outcome: Outcome[RunReport]) -> None:
    """Print a run's report: counts, costs, checks, and what followed."""
    report, console = outcome.report, Console()
    title = printable(f"{report.label} from {report.source}: {report.verdict}")
    console.print(title, style="bold", markup=False)
    for names in (RECORD_COUNTS, COSTS):
        table = Table()
        for name in names:
            table.add_column(name, justify="right", no_wrap=True)
        table.add_row(*(str(getattr(report, name)) for name in names))
        console.print(table)
    for line in _lines(report):
        console.print(line, markup=False)
    if not report.is_delivered:
        console.print(reworded(outcome.message), markup=False, highlight=False, soft_wrap=True)
    console.print(f"run {report.run_id}", markup=False, highlight=False)
    if hint := current().hint:
        console.print(hint, markup=False, highlight=False, soft_wrap=True)


def _lines(report: RunReport) -> Iterator[str]:
    for check in report.checks:
        result = "GAP" if check.is_gap and check.passed is None else PASSED[check.passed]
        yield f"{result:6}  {check.name}: {check.detail}"
    yield from (f"warning: {warning}" for warning in report.warnings)
    if report.master is not None:
        by = f"{report.master.source}, version {report.master.version}"
        yield f"mapped by master {by}: {report.unknown_skus} unknown SKUs"
    if target := report.export_error or report.exported:
        yield f"{'NOT ' if report.export_error else ''}exported: {printable(target)}"
    if push := report.push:
        sums = f"accepted {push.accepted}, rejected {push.rejected}, {len(push.failed_chunks)} chunks failed"
        yield f"pushed to {push.engine}: {sums}"
        yield from (printable(f"chunk {error}") for error in push.errors)


def show_message(outcome: Outcome[Any]) -> None:
    """Print what an operation did, in one line."""
    Console().print(reworded(outcome.message), markup=False, highlight=False, soft_wrap=True)


def reworded(message: str) -> str:
    """Return a message of Prefect's UI, which names its Retry, as this command line says it."""
    for retry, instead in current().retry_words.items():
        message = message.replace(retry, instead)
    return printable(message)

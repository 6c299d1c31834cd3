"""`python -m flows prune`."""

from __future__ import annotations

import asyncio
from typing import Annotated, Any

from cyclopts import Parameter
from prefect.client.schemas.objects import State
from rich.console import Console
from rich.table import Table

from flows import prune as pruning
from flows.cli.terminal import move_password_to_environment
from flows.runtime.prefect_internals import silence_prefect
from sku_velocity.steps.prune import PruneReport


def prune(
    *,
    superseded_days: int = pruning.DEFAULTS.superseded_days,
    unpublished_days: int = pruning.DEFAULTS.unpublished_days,
    letter_days: int = pruning.DEFAULTS.letter_days,
    velocity_days: int = pruning.DEFAULTS.velocity_days,
    artifact_days: int = pruning.ARTIFACT_DAYS,
    store: str | None = None,
    dry_run: Annotated[bool, Parameter(negative="")] = False,
    report_as_json: Annotated[bool, Parameter(name="--json", negative="")] = False,
    verbose: Annotated[bool, Parameter(negative="")] = False,
) -> int:
    """Delete superseded and abandoned runs, old velocity and old artifacts.

    Exit code: 0 if all was deleted, 1 if interrupted (run it again), 2 for bad usage or configuration.

    Parameters
    ----------
    superseded_days
        Days to keep a run after a later run has superseded it.
    unpublished_days
        Days to keep a run that was never published and has stopped.
    letter_days
        Days to keep a replayed or discarded dead letter of a published run.
    velocity_days
        Days to keep velocity. The newest of each warehouse is always kept.
    artifact_days
        Days to keep artifacts of ended runs. The latest of each key is always kept.
    store
        A velocity-store block's name, or a URL. Default: $SKU_VELOCITY_STORE, or sqlite:///sku-velocity.db.
    dry_run
        Count what would be deleted without deleting it.
    report_as_json
        Print the report as JSON on the last line of standard output.
    verbose
        Also show Prefect's log.
    """
    if not verbose:
        silence_prefect()
    request = {
        "superseded_days": superseded_days,
        "unpublished_days": unpublished_days,
        "letter_days": letter_days,
        "velocity_days": velocity_days,
        "artifact_days": artifact_days,
        "store": move_password_to_environment(store),
        "dry_run": dry_run,
    }
    state, result = asyncio.run(_run(request))
    if isinstance(result, BaseException):
        raise result
    print(result.model_dump_json()) if report_as_json else print_pruned(result, state, Console())
    return 0


async def _run(request: dict[str, Any]) -> tuple[State[Any], PruneReport | BaseException]:
    state: State[Any] = await pruning.prune(**request, return_state=True)
    result = await state.aresult(raise_on_failure=False)
    if isinstance(result, PruneReport | BaseException):
        return state, result
    return state, RuntimeError(f"the flow ended as {state.name}: {state.message}")


def print_pruned(report: PruneReport, state: State[Any], console: Console) -> None:
    """Print a row per kind, then the summary."""
    table = Table()
    table.add_column("would be pruned" if report.dry_run else "pruned")
    table.add_column("count", justify="right")
    for name, count in pruning.count_by_kind(report):
        table.add_row(name, f"{count:,}")
    console.print(table)
    for line in (state.message, pruning.describe_free_space(report)):
        if line:
            console.print(line, markup=False, highlight=False, soft_wrap=True)

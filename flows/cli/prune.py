"""`python -m flows prune`."""

from __future__ import annotations

import asyncio
from typing import Annotated, Any

from cyclopts import Parameter
from prefect.client.schemas.objects import State
from rich.console import Console
from rich.table import Table

from flows import prune as pruning
from flows.cli.terminal import move_password_to_environment, silence_prefect
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
    """Let go of what nobody sees any more: superseded and abandoned runs, old velocity, old artifacts.

    Ends with 0 where all of it went, 1 where it broke off (run it again), 2 on bad usage or configuration.

    Parameters
    ----------
    superseded_days
        For how many days a run is kept after a later one has superseded it.
    unpublished_days
        For how many days a run is kept that was never published and has come to a stop.
    letter_days
        For how many days a replayed or discarded dead letter of a published run is kept.
    velocity_days
        For how many days velocity is kept; the newest of a warehouse always is.
    artifact_days
        For how many days artifacts of ended runs are kept; the latest of each key always is.
    store
        A velocity-store block's name, or a URL. Default: $SKU_VELOCITY_STORE, or sqlite:///sku-velocity.db.
    dry_run
        Count what would go, and let nothing go.
    report_as_json
        Print the report as JSON, in the last line of standard output.
    verbose
        Show Prefect's log as well.
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
    state, ended = asyncio.run(_run(request))
    if isinstance(ended, BaseException):
        raise ended
    print(ended.model_dump_json()) if report_as_json else print_pruned(ended, state, Console())
    return 0


async def _run(request: dict[str, Any]) -> tuple[State[Any], PruneReport | BaseException]:
    state: State[Any] = await pruning.prune(**request, return_state=True)
    ended = await state.aresult(raise_on_failure=False)
    if isinstance(ended, PruneReport | BaseException):
        return state, ended
    return state, RuntimeError(f"the flow ended {state.name}: {state.message}")


def print_pruned(report: PruneReport, state: State[Any], console: Console) -> None:
    """A row for each kind, and the sum."""
    table = Table()
    table.add_column("would be pruned" if report.dry_run else "pruned")
    table.add_column("count", justify="right")
    for name, count in pruning.counted(report):
        table.add_row(name, f"{count:,}")
    console.print(table)
    for told in (state.message, pruning.describe_free_space(report)):
        if told:
            console.print(told, markup=False, highlight=False, soft_wrap=True)

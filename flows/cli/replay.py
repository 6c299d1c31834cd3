"""`python -m flows replay`."""

from __future__ import annotations

import asyncio
import getpass
from datetime import datetime
from typing import Annotated, Any

from cyclopts import Parameter
from prefect.client.schemas.objects import State

from flows.cli.terminal import move_password_to_environment
from flows.replay_dead_letters import replay_dead_letters
from flows.runtime.prefect_internals import silence_prefect
from sku_velocity.steps.replay import ReplayReport
from sku_velocity.text import one_line, shorten

DONE, NOT_DONE = 0, 1


def replay(
    *,
    source: str,
    warehouse: str | None = None,
    start: datetime | None = None,
    end: datetime | None = None,
    reason: str | None = None,
    run: str | None = None,
    store: str | None = None,
    by: str | None = None,
    as_json: Annotated[bool, Parameter(name="--json", negative="")] = False,
    verbose: Annotated[bool, Parameter(negative="")] = False,
) -> int:
    """Revalidate open dead letters against the source's current spec, and publish those that are now valid.

    Exit code: 0, or 1 if a run could not be validated, 2 for bad usage or configuration.

    Parameters
    ----------
    source
        A wms-source block's name, or the path of a spec file (.yaml), with the corrected spec.
    warehouse
        Only dead letters of this warehouse. Omit for all.
    start
        Only windows that end after this, in ISO 8601 with a time zone. Omit for no limit.
    end
        Only windows that start before this. Omit for no limit.
    reason
        Only dead letters whose reasons contain this text, such as units_moved. Omit for all.
    run
        Only dead letters of the sync run with this id. Omit for all.
    store
        A velocity-store block's name, or a URL. Default: $SKU_VELOCITY_STORE, or sqlite:///sku-velocity.db.
    by
        The user who requests the replay. Default: the login name.
    as_json
        Print the report as JSON on the last line of standard output.
    verbose
        Also show Prefect's log.
    """
    if not verbose:
        silence_prefect()
    request = {
        "source": source,
        "warehouse": warehouse,
        "start": start,
        "end": end,
        "reason": reason,
        "run": run,
        "store": move_password_to_environment(store),  # Prefect stores parameters in plain text
        "by": by or getpass.getuser(),
    }

    async def run_flow() -> tuple[State[Any], Any]:
        state: State[Any] = await replay_dead_letters(**request, return_state=True)
        return state, await state.aresult(raise_on_failure=False)

    state, result = asyncio.run(run_flow())
    if not isinstance(result, ReplayReport):
        raise result
    if as_json:
        print(result.model_dump_json())
    else:
        print_replay(result, state.message or "")
    return DONE if state.is_completed() else NOT_DONE


def print_replay(report: ReplayReport, message: str) -> None:
    """Print the result of a replay, and why dead letters stay open."""
    for run in report.runs:
        for reason, count in run.reasons.items():
            print(shorten(one_line(f"{count} stay open in {run.warehouse} {run.window}: {reason}")))
    print(one_line(message))

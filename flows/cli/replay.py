"""`python -m flows replay`."""

from __future__ import annotations

import asyncio
import getpass
from datetime import datetime
from typing import Annotated, Any

from cyclopts import Parameter
from prefect.client.schemas.objects import State

from flows.cli.terminal import move_password_to_environment, silence_prefect
from flows.replay_dead_letters import replay_dead_letters
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
    """Judge open dead letters anew by the source's spec as it is now, and publish those that are valid.

    Ends with 0, or 1 where a run could not be validated, 2 on bad usage or configuration.

    Parameters
    ----------
    source
        A wms-source block's name, or the path of a spec file (.yaml): the one that was mended.
    warehouse
        Only this warehouse's letters.
    start
        Only of windows that end after this, in ISO 8601 with its zone.
    end
        Only of windows that start before this.
    reason
        Only letters whose reasons hold this text, such as units_moved.
    run
        Only letters of the sync run with this id.
    store
        A velocity-store block's name, or a URL. Default: $SKU_VELOCITY_STORE, or sqlite:///sku-velocity.db.
    by
        Who asks for it. Default: the login name.
    as_json
        Print the report as JSON, in the last line of standard output.
    verbose
        Show Prefect's log as well.
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
        "store": move_password_to_environment(store),  # Prefect keeps parameters in clear
        "by": by or getpass.getuser(),
    }

    async def run_flow() -> tuple[State[Any], Any]:
        state: State[Any] = await replay_dead_letters(**request, return_state=True)
        return state, await state.aresult(raise_on_failure=False)

    state, ended = asyncio.run(run_flow())
    if not isinstance(ended, ReplayReport):
        raise ended
    if as_json:
        print(ended.model_dump_json())
    else:
        print_replay(ended, state.message or "")
    return DONE if state.is_completed() else NOT_DONE


def print_replay(report: ReplayReport, message: str) -> None:
    """What a replay came to, and why letters stay open."""
    for run in report.runs:
        for reason, count in run.reasons.items():
            print(shorten(one_line(f"{count} stay open in {run.warehouse} {run.window}: {reason}")))
    print(one_line(message))

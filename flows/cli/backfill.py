"""The command `python -m flows backfill`."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime
from typing import Annotated, Any

from cyclopts import Parameter
from prefect.client.schemas.objects import State
from rich.console import Console

from blocks.store import find_store
from blocks.wms import find_source
from flows import backfill as backfilling
from flows.cli.terminal import NOT_PUBLISHED, PUBLISHED, move_password_to_environment, silence_prefect
from flows.runtime.progress import window_listener
from flows.tasks.window import MAX_REJECT_RATIO
from sku_velocity.model.run import UnknownSku
from sku_velocity.model.settle_lag import SETTLE_LAG
from sku_velocity.model.window import Window
from sku_velocity.steps.backfill import BackfillReport, Reading, WindowOutcome, check_backfill, in_order
from sku_velocity.steps.export import Destination


def backfill(
    *,
    source: str,
    warehouse: list[str],
    start: datetime | None = None,
    end: datetime | None = None,
    token_env: str | None = None,
    store: str | None = None,
    window_hours: int = 1,
    newest_first: Annotated[bool, Parameter(negative="")] = False,
    max_parallel: int = 1,
    max_reject_ratio: float = MAX_REJECT_RATIO,
    master: str | None = None,
    unknown_sku: UnknownSku = UnknownSku.REJECT,
    export_to: str | None = None,
    push: str | None = None,
    dry_run: Annotated[bool, Parameter(negative="")] = False,
    report_as_json: Annotated[bool, Parameter(name="--json", negative="")] = False,
    verbose: Annotated[bool, Parameter(negative="")] = False,
) -> int:
    """Read every window between two instants that is not published whole; go on where one fails.

    Ends with 0 where nothing is left, 1 where a window is, 2 on bad usage or configuration.

    Parameters
    ----------
    source
        A wms-source block's name, or the path of a spec file (.yaml).
    warehouse
        A warehouse, as the API names it; may be given more than once.
    start
        Since when, in ISO 8601 with its zone. Default: since the warehouse was first read.
    end
        Until when, not in it. Default, or where it is later: the last whole hour that has settled.
    token_env
        The environment variable that holds the source's token.
    store
        A velocity-store block's name, or a URL. Default: $SKU_VELOCITY_STORE, or sqlite:///sku-velocity.db.
    window_hours
        How long a window is; a gap that is shorter is read as it is.
    newest_first
        Read the newest windows first, rather than the oldest.
    max_parallel
        How many windows are read at once; more than one only where the source has pace.shared_limit.
    max_reject_ratio
        Publish nothing of a window where a larger share of its records is rejected.
    master
        The name of the master's source, by whose published items SKUs are mapped. Default: none.
    unknown_sku
        What becomes of a movement whose SKU the master does not know, or has retired.
    export_to
        A directory or a URL such as s3://bucket/path, for each window as Parquet. Default: none.
    push
        A slotting-engine block's name, or the path of an engine's file (.yaml), whose token is in
        $SKU_VELOCITY_ENGINE_TOKEN.
    dry_run
        List what would be read, and read nothing.
    report_as_json
        Print the report as JSON, in the last line of standard output.
    verbose
        Show Prefect's log as well.
    """
    if not verbose:
        silence_prefect()
    if export_to:
        Destination(export_to)  # before Prefect keeps it
    request = {
        "source": source,
        "warehouses": warehouse,
        "start": start,
        "end": end,
        "token_env": token_env,
        "store": move_password_to_environment(store),
        "window_hours": window_hours,
        "newest_first": newest_first,
        "max_parallel": max_parallel,
        "options": {
            "max_reject_ratio": max_reject_ratio,
            "master": master,
            "unknown_sku": unknown_sku,
            "export_to": export_to,
            "push": push,
        },
    }
    if dry_run:
        return _show_plan(backfilling.backfill.validate_parameters(request), as_json=report_as_json)
    if not report_as_json:
        window_listener.set(_print_window)
    state, ended = asyncio.run(_run(request))
    if isinstance(ended, BaseException):
        raise ended
    print(ended.model_dump_json() if report_as_json else state.message)
    return PUBLISHED if state.is_completed() else NOT_PUBLISHED


async def _run(request: dict[str, Any]) -> tuple[State[Any], BackfillReport | BaseException]:
    state: State[Any] = await backfilling.backfill(**request, return_state=True)
    ended = await state.aresult(raise_on_failure=False)
    if isinstance(ended, BackfillReport | BaseException):
        return state, ended
    return state, RuntimeError(f"the flow ended {state.name}: {state.message}")


def _print_window(outcome: WindowOutcome) -> None:
    Console().print(str(outcome), markup=False, highlight=False, soft_wrap=True)


def _show_plan(request: dict[str, Any], *, as_json: bool) -> int:
    async def plan() -> list[Reading]:
        spec = (await find_source(request["source"], request["token_env"])).spec
        check_backfill(spec, request["max_parallel"])
        settled = Window.last_hour(datetime.now(UTC), SETTLE_LAG).end
        mapping = backfilling.mapping_of(request["options"])
        span = (request["start"], request["end"], settled)
        async with (await find_store(request["store"])).get_store() as opened:
            found = await backfilling.plan(
                opened, spec.name, request["warehouses"], span, request["window_hours"], mapping
            )
        return in_order(found, request["newest_first"])

    readings = asyncio.run(plan())
    if as_json:
        print(json.dumps([_reading_as_json(reading) for reading in readings]))
        return 0
    for reading in readings:
        told = reading.read_by and f"run {reading.read_by} is reading it"
        resumed = reading.resume and f"the rest of run {reading.resume}"
        print(f"{reading}: {told or resumed or 'all of it'}")
    print(f"{len(readings)} windows are missing")
    return 0


def _reading_as_json(reading: Reading) -> dict[str, Any]:
    return {
        "warehouse": reading.warehouse,
        "start": reading.window.start.isoformat(),
        "end": reading.window.end.isoformat(),
        "resume": reading.resume,
        "read_by": reading.read_by,
    }

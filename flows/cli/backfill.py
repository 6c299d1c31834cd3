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
from flows.cli.terminal import NOT_PUBLISHED, PUBLISHED, move_password_to_environment
from flows.runtime.prefect_internals import silence_prefect
from flows.runtime.progress import window_listener
from flows.tasks.window import MAX_REJECT_RATIO
from sku_velocity.model.run import UnknownSku
from sku_velocity.model.settle_lag import SETTLE_LAG
from sku_velocity.model.window import Window
from sku_velocity.source.digest import mapping_digest
from sku_velocity.steps.backfill import BackfillReport, Reading, WindowOutcome, check_backfill, sort_readings
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
    older_spec: Annotated[bool, Parameter(negative="")] = False,
    max_parallel: int = 1,
    max_reject_ratio: float = MAX_REJECT_RATIO,
    accept_shrunk: Annotated[bool, Parameter(negative="")] = False,
    require_proof: Annotated[bool, Parameter(negative="")] = False,
    master: str | None = None,
    unknown_sku: UnknownSku = UnknownSku.REJECT,
    export_to: str | None = None,
    push: str | None = None,
    dry_run: Annotated[bool, Parameter(negative="")] = False,
    report_as_json: Annotated[bool, Parameter(name="--json", negative="")] = False,
    verbose: Annotated[bool, Parameter(negative="")] = False,
) -> int:
    """Read all windows between two instants that are not completely published. Continue after a failure.

    Exit code: 0 if no window is missing any more, 1 if one still is, 2 for bad usage or configuration.

    Parameters
    ----------
    source
        A wms-source block's name, or the path of a spec file (.yaml).
    warehouse
        A warehouse, as the API names it. Repeat the option for more.
    start
        The start, in ISO 8601 with a time zone. Default: the start of each warehouse's first run.
    end
        The end (exclusive). Default and upper limit: the end of the last full hour that has settled.
    token_env
        The environment variable that holds the source's token.
    store
        A velocity-store block's name, or a URL. Default: $SKU_VELOCITY_STORE, or sqlite:///sku-velocity.db.
    window_hours
        The length of a window in hours. A shorter gap is read as one window.
    newest_first
        Read the newest windows first. Default: the oldest first.
    older_spec
        Also read windows again that were read by another spec: other fields, filters or request.
    max_parallel
        Windows to read in parallel, at most. More than 1 requires pace.shared_limit in the source's spec.
    max_reject_ratio
        Do not publish a window if a larger share of its records is rejected. The limits in the spec go first.
    accept_shrunk
        Publish a window even if it loses more than half of the rows published there.
    require_proof
        Do not publish what cannot be proven whole: the verdict is then incomplete instead of unproven.
    master
        The name of the master's source, whose published items map the SKUs. Omit for no mapping.
    unknown_sku
        How to handle a movement whose SKU is unknown to the master, or retired.
    export_to
        A directory or a URL such as s3://bucket/path to export windows to, as Parquet. Omit for no export.
    push
        A slotting-engine block's name, or the path of an engine's file (.yaml), whose token is in
        $SKU_VELOCITY_ENGINE_TOKEN. Omit for no push.
    dry_run
        List the windows to read without reading them.
    report_as_json
        Print the report as JSON on the last line of standard output.
    verbose
        Also show Prefect's log.
    """
    if not verbose:
        silence_prefect()
    if export_to:
        Destination(export_to)  # checked before Prefect stores it
    request = {
        "source": source,
        "warehouses": warehouse,
        "start": start,
        "end": end,
        "token_env": token_env,
        "store": move_password_to_environment(store),
        "window_hours": window_hours,
        "newest_first": newest_first,
        "older_spec": older_spec,
        "max_parallel": max_parallel,
        "options": {
            "max_reject_ratio": max_reject_ratio,
            "accept_shrunk": accept_shrunk,
            "require_proof": require_proof,
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
    state, result = asyncio.run(_run(request))
    if isinstance(result, BaseException):
        raise result
    print(result.model_dump_json() if report_as_json else state.message)
    return PUBLISHED if state.is_completed() else NOT_PUBLISHED


async def _run(request: dict[str, Any]) -> tuple[State[Any], BackfillReport | BaseException]:
    state: State[Any] = await backfilling.backfill(**request, return_state=True)
    result = await state.aresult(raise_on_failure=False)
    if isinstance(result, BackfillReport | BaseException):
        return state, result
    return state, RuntimeError(f"the flow ended as {state.name}: {state.message}")


def _print_window(outcome: WindowOutcome) -> None:
    Console().print(str(outcome), markup=False, highlight=False, soft_wrap=True)


def _show_plan(request: dict[str, Any], *, as_json: bool) -> int:
    async def plan() -> list[Reading]:
        spec = (await find_source(request["source"], request["token_env"])).spec
        check_backfill(spec, request["max_parallel"])
        settled = Window.last_hour(datetime.now(UTC), SETTLE_LAG).end
        mapping = backfilling.mapping_of(request["options"])
        span = (request["start"], request["end"], settled)
        digest = mapping_digest(spec) if request["older_spec"] else None
        async with (await find_store(request["store"])).get_store() as opened:
            missing = await backfilling.plan(
                opened, spec.name, request["warehouses"], span, request["window_hours"], mapping, digest
            )
        return sort_readings(missing, request["newest_first"])

    readings = asyncio.run(plan())
    if as_json:
        print(json.dumps([_reading_as_json(reading) for reading in readings]))
        return 0
    for reading in readings:
        reader = reading.read_by and f"being read by run {reading.read_by}"
        resumed = reading.resume and f"resumes run {reading.resume}"
        print(f"{reading}: {reader or resumed or 'read in full'}")
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

"""The command `sync-warehouses` of `python -m flows`."""

from __future__ import annotations

import asyncio
from datetime import datetime
from typing import Annotated, Any

from cyclopts import Parameter
from prefect.client.schemas.objects import FlowRun, State
from rich.console import Console

from flows.cli.terminal import NOT_PUBLISHED, PUBLISHED, move_password_to_environment
from flows.runtime.prefect_internals import silence_prefect
from flows.runtime.progress import shard_listener
from flows.sync_warehouses import DEPLOYMENT, MAX_PARALLEL, sync_warehouses
from sku_velocity.model.run import UnknownSku
from sku_velocity.steps.export import Destination
from sku_velocity.steps.fan_out import FanOutReport, Shard


def sync_many(
    *,
    source: str,
    warehouse: Annotated[list[str] | None, Parameter(negative="")] = None,
    start: datetime | None = None,
    end: datetime | None = None,
    token_env: str | None = None,
    store: str | None = None,
    max_parallel: int = MAX_PARALLEL,
    window_hours: int | None = None,
    max_reject_ratio: float | None = None,
    accept_shrunk: Annotated[bool | None, Parameter(negative="")] = None,
    require_proof: Annotated[bool | None, Parameter(negative="")] = None,
    master: str | None = None,
    unknown_sku: UnknownSku | None = None,
    export_to: str | None = None,
    push: str | None = None,
    deployment: str = DEPLOYMENT,
    report_as_json: Annotated[bool, Parameter(name="--json", negative="")] = False,
    verbose: Annotated[bool, Parameter(negative="")] = False,
) -> int:
    """Read one window of many warehouses, each in a deployment run of its own on any worker.

    Exit code: 0 if all were published, 1 if one was not, 2 for bad usage or configuration. If this command
    is stopped, the runs that it started continue on their workers.

    Parameters
    ----------
    source
        A wms-source block's name, or the path of a spec file (.yaml) that every worker has.
    warehouse
        A warehouse, as the API names it. Repeat the option for more. Default: all that the source lists.
    start
        The window's start, in ISO 8601 with a time zone. Default: one hour before its end.
    end
        The window's end (exclusive). Default: the end of the last full hour that has settled.
    token_env
        The workers' environment variable that holds the source's token.
    store
        A velocity-store block's name, or a URL. Default: $SKU_VELOCITY_STORE, here and on the workers.
    max_parallel
        Runs in parallel, at most. More than 1 requires pace.shared_limit in the source's spec.
    window_hours
        Split the window into parts of at most this many hours, each a run of its own. Omit for no split.
    max_reject_ratio
        Do not publish a warehouse if a larger share is rejected. Default: the deployment's value.
    accept_shrunk
        Publish windows even if they lose more than half of the rows published there. Default: the
        deployment's value.
    require_proof
        Do not publish what cannot be proven whole. Default: the deployment's value.
    master
        The name of the master's source that maps the SKUs. Default: the deployment's value.
    unknown_sku
        How to handle a movement whose SKU is unknown to the master. Default: the deployment's value.
    export_to
        A directory or a URL to export each window to, as Parquet. Default: the deployment's value.
    push
        A slotting-engine block's name, or the path of its file. Default: the deployment's value.
    deployment
        The name of the sync-velocity deployment that creates the runs.
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
        "max_parallel": max_parallel,
        "window_hours": window_hours,
        "max_reject_ratio": max_reject_ratio,
        "accept_shrunk": accept_shrunk,
        "require_proof": require_proof,
        "master": master,
        "unknown_sku": unknown_sku,
        "export_to": export_to,
        "push": push,
        "deployment": deployment,
    }
    if not report_as_json:
        shard_listener.set(_print_shard)
    state, report = asyncio.run(_run(request))
    if isinstance(report, BaseException):
        raise report
    print(report.model_dump_json() if report_as_json else state.message)
    return PUBLISHED if state.is_completed() else NOT_PUBLISHED


async def _run(request: dict[str, Any]) -> tuple[State[Any], FanOutReport | BaseException]:
    state: State[Any] = await sync_warehouses(**request, return_state=True)
    report = await state.aresult(raise_on_failure=False)
    if isinstance(report, FanOutReport | BaseException):
        return state, report
    return state, RuntimeError(f"the flow ended as {state.name}: {state.message}")


def _print_shard(shard: Shard, run: FlowRun | None) -> None:
    result = f"{run.state.name}: {run.state.message}" if run and run.state else "its flow run was deleted"
    Console().print(f"{shard}: {result}", markup=False, highlight=False, soft_wrap=True)

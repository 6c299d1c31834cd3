"""The command `sync-warehouses` of `python -m flows`."""

from __future__ import annotations

import asyncio
from datetime import datetime
from typing import Annotated, Any

from cyclopts import Parameter
from prefect.client.schemas.objects import FlowRun, State
from rich.console import Console

from flows.cli.terminal import NOT_PUBLISHED, PUBLISHED, move_password_to_environment, silence_prefect
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
    master: str | None = None,
    unknown_sku: UnknownSku | None = None,
    export_to: str | None = None,
    push: str | None = None,
    deployment: str = DEPLOYMENT,
    report_as_json: Annotated[bool, Parameter(name="--json", negative="")] = False,
    verbose: Annotated[bool, Parameter(negative="")] = False,
) -> int:
    """Read one window of many warehouses, each by a deployment's run in whichever worker takes it.

    Ends with 0 where all were published, 1 where one was not, 2 on bad usage or configuration. Stopped, it
    leaves the runs that it has started to their workers.

    Parameters
    ----------
    source
        A wms-source block's name, or the path of a spec file (.yaml) that every worker has.
    warehouse
        A warehouse, as the API names it; may be given more than once. Default: all that the source lists.
    start
        The window's start in ISO 8601 with its zone. Default: an hour before its end.
    end
        The window's end, not in it. Default: the last whole hour that has settled.
    token_env
        The workers' environment variable that holds the source's token.
    store
        A velocity-store block's name, or a URL. Default: $SKU_VELOCITY_STORE, here as in the workers.
    max_parallel
        How many runs there are at once; more than one only where the source has pace.shared_limit.
    window_hours
        Cut the window into parts of at most so many hours, each a run of its own. Default: it stays whole.
    max_reject_ratio
        Publish nothing of a warehouse where a larger share is rejected. Default: as the deployment says.
    master
        The name of the master's source, by which SKUs are mapped. Default: as the deployment says.
    unknown_sku
        What becomes of a movement whose SKU the master lacks. Default: as the deployment says.
    export_to
        A directory or a URL, for each window as Parquet. Default: as the deployment says.
    push
        A slotting-engine block's name, or its file's path. Default: as the deployment says.
    deployment
        The name of the deployment of sync-velocity that the runs are made by.
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
        "max_parallel": max_parallel,
        "window_hours": window_hours,
        "max_reject_ratio": max_reject_ratio,
        "master": master,
        "unknown_sku": unknown_sku,
        "export_to": export_to,
        "push": push,
        "deployment": deployment,
    }
    if not report_as_json:
        shard_listener.set(_print_shard)
    state, ended = asyncio.run(_run(request))
    if isinstance(ended, BaseException):
        raise ended
    print(ended.model_dump_json() if report_as_json else state.message)
    return PUBLISHED if state.is_completed() else NOT_PUBLISHED


async def _run(request: dict[str, Any]) -> tuple[State[Any], FanOutReport | BaseException]:
    state: State[Any] = await sync_warehouses(**request, return_state=True)
    ended = await state.aresult(raise_on_failure=False)
    if isinstance(ended, FanOutReport | BaseException):
        return state, ended
    return state, RuntimeError(f"the flow ended {state.name}: {state.message}")


def _print_shard(shard: Shard, run: FlowRun | None) -> None:
    told = f"{run.state.name}: {run.state.message}" if run and run.state else "its flow run was deleted"
    Console().print(f"{shard}: {told}", markup=False, highlight=False, soft_wrap=True)

"""One warehouse, one window: plan, ingest chunks, prove, publish, report."""

from __future__ import annotations

import time
from datetime import timedelta
from typing import Annotated, Any

from prefect import flow
from pydantic import AwareDatetime, Field

from blocks.slotting import find_engine
from blocks.store import find_store
from blocks.wms import find_source
from flows.runtime.connections import PushResources, RunResources
from flows.runtime.final_state import final_state
from flows.runtime.progress import plan_listener
from flows.runtime.retries import TASK_RETRIES, result_of
from flows.runtime.task_runner import EventLoopTaskRunner
from flows.tasks.export import exported
from flows.tasks.push import push_published
from flows.tasks.refresh_velocity import refreshed
from flows.tasks.window import MAX_REJECT_RATIO, REPAIRS, choose_window, plan_window, sync_window
from sku_velocity.errors import ConfigurationError
from sku_velocity.model.calendar import zone_of
from sku_velocity.model.run import UnknownSku
from sku_velocity.model.settle_lag import SETTLE_MINUTES
from sku_velocity.steps.export import Destination


@flow(
    name="sync-velocity",
    flow_run_name="{warehouse} from {source}",
    task_runner=EventLoopTaskRunner(),
    persist_result=False,
)
async def sync_velocity(
    source: str,
    warehouse: Annotated[str, Field(min_length=1)],
    start: AwareDatetime | None = None,
    end: AwareDatetime | None = None,
    store: str | None = None,
    token_env: str | None = None,
    settle_minutes: Annotated[int, Field(ge=0)] = SETTLE_MINUTES,
    task_retries: Annotated[int, Field(ge=0)] = TASK_RETRIES,
    repairs: Annotated[int, Field(ge=0)] = REPAIRS,
    max_reject_ratio: Annotated[float, Field(ge=0, le=1)] = MAX_REJECT_RATIO,
    resume: str | None = None,
    master: str | None = None,
    unknown_sku: UnknownSku = UnknownSku.REJECT,
    export_to: str | None = None,
    push: str | None = None,
    velocity_zone: str | None = None,
) -> Any:
    """Read one window of one warehouse whole, prove it, and publish it in one step; then push it.

    A retry of the run, or another run with `resume`, reads only the chunks that have not landed, and pushes
    only those that the slotting engine has not answered for.

    Args:
        source: A wms-source block's name, or the path of a spec file (.yaml).
        warehouse: The warehouse, as the API names it.
        start: The window's start, with its zone. Empty: an hour before its end.
        end: The window's end, not in it. Empty: the last whole hour that has settled at the scheduled start.
        store: A velocity-store block's name, or a URL without password. Empty: $SKU_VELOCITY_STORE.
        token_env: The worker's environment variable that holds the token, where the block has none.
        settle_minutes: How long an hour is left to settle before it is read.
        task_retries: How often a task is run again whose other side was away.
        repairs: How often a window that is not proven whole is read again.
        max_reject_ratio: Publish nothing where a larger share of the records is rejected.
        resume: The id of an earlier run: read only what it has not landed.
        master: The name of the master's source, by whose published items SKUs are mapped. Empty: none.
        unknown_sku: Reject a movement whose SKU the master does not know or has retired, or let it pass.
        export_to: A directory or a URL such as s3://bucket/path, for the window as Parquet. Empty: none.
        push: A slotting-engine block's name, or the path of an engine's file. Empty: nothing is pushed.
        velocity_zone: The warehouse's time zone, such as Europe/Berlin: once the window is published, its
            velocity is worked out anew, as of the last local day that is over by then. Empty: it is not.
    """
    started = time.monotonic()
    if export_to:
        Destination(export_to)  # a wrong one is told before anything is read
    if velocity_zone:
        zone_of(velocity_zone)
    velocity_store = await find_store(store)
    connections = RunResources(await find_source(source, token_env), velocity_store)
    outlet = PushResources(await find_engine(push), velocity_store) if push else None
    spec = connections.source.spec
    if spec.items is not None:
        raise ConfigurationError(f"{spec.name} holds items, not movements: read it with sync-master")
    window = choose_window(spec, start, end, timedelta(minutes=settle_minutes))
    planning = plan_window.with_options(retries=task_retries).submit(
        connections, warehouse, window, resume, master, unknown_sku
    )
    plan = await result_of(planning)
    plan_listener.get()(plan.run.id)
    report, chunks = await sync_window(connections, plan, started, task_retries, repairs, max_reject_ratio)
    report = await exported(connections, report, export_to, task_retries)
    if outlet and report.published:
        report = report.model_copy(update={"push": await push_published(outlet, plan.run, task_retries)})
    report = await refreshed(connections, report, velocity_zone, outlet, task_retries)
    return final_state(report, chunks)

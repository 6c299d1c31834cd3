"""The sync-velocity flow: plan, ingest, prove and publish one window of one warehouse."""

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
from flows.runtime.ownership import SYNC
from flows.runtime.progress import plan_listener
from flows.runtime.retries import TASK_RETRIES, result_of
from flows.runtime.task_runner import EventLoopTaskRunner
from flows.tasks.export import export_if_requested
from flows.tasks.push import push_published
from flows.tasks.refresh_velocity import refresh_if_requested
from flows.tasks.window import MAX_REJECT_RATIO, REPAIRS, choose_window, plan_window, sync_window
from sku_velocity.errors import ConfigurationError
from sku_velocity.model.calendar import zone_of
from sku_velocity.model.run import UnknownSku
from sku_velocity.model.settle_lag import SETTLE_MINUTES
from sku_velocity.steps.export import Destination


@flow(
    name=SYNC,
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
    accept_shrunk: bool = False,
    require_proof: bool = False,
    resume: str | None = None,
    master: str | None = None,
    unknown_sku: UnknownSku = UnknownSku.REJECT,
    export_to: str | None = None,
    push: str | None = None,
    velocity_zone: str | None = None,
) -> Any:
    """Read one window of one warehouse whole, prove it, publish it in one step, then push it.

    A retry of the run, or another run with `resume`, reads only the chunks that have not landed, and pushes
    only those that the slotting engine has not yet answered.

    Args:
        source: A wms-source block's name, or the path of a spec file (.yaml).
        warehouse: The warehouse, as the API names it.
        start: The window's start, with its time zone. Omit for an hour before its end.
        end: The window's end, exclusive. Omit for the end of the last hour settled at the scheduled start.
        store: A velocity-store block's name, or a URL without password. Omit for $SKU_VELOCITY_STORE.
        token_env: The worker's environment variable that holds the token, if the block has none.
        settle_minutes: Minutes to wait after an hour ends before reading it, so that late records are in.
        task_retries: Retries per task after a temporary failure of the source or the store.
        repairs: How many times to reread a window that is not proven whole.
        max_reject_ratio: Publish nothing if a larger share of the records is rejected and they are more than
            limits.max_rejects of the spec. limits.max_reject_ratio of the spec takes precedence.
        accept_shrunk: Publish the window even if it loses more than half of the rows published there.
        require_proof: Publish nothing that cannot be proven whole. Also if limits.require_proof of the spec.
        resume: The id of an earlier run, to read only what it has not landed. Omit for a new run.
        master: The name of the source whose published items map the SKUs. Omit for no mapping.
        unknown_sku: Reject or pass a movement whose SKU is unknown to the master, or retired.
        export_to: A directory or URL such as s3://bucket/path, for the window as Parquet. Omit for no export.
        push: A slotting-engine block's name, or the path of an engine's file. Omit for no push.
        velocity_zone: The warehouse's time zone, such as Europe/Berlin. Once the window is published, its
            velocity is refreshed as of the last local day that ended by its end. Omit for no refresh.
    """
    started = time.monotonic()
    if export_to:
        Destination(export_to)  # reports a wrong one before anything is read
    if velocity_zone:
        zone_of(velocity_zone)
    velocity_store = await find_store(store)
    connections = RunResources(await find_source(source, token_env), velocity_store)
    target = PushResources(await find_engine(push), velocity_store) if push else None
    spec = connections.source.spec
    if spec.items is not None:
        raise ConfigurationError(f"{spec.name} holds items, not movements: read it with sync-master")
    window = choose_window(spec, start, end, timedelta(minutes=settle_minutes))
    planning = plan_window.with_options(retries=task_retries).submit(
        connections, warehouse, window, resume, master, unknown_sku
    )
    plan = await result_of(planning)
    plan_listener.get()(plan.run.id)
    report, chunks = await sync_window(
        connections, plan, started, task_retries, repairs, max_reject_ratio, accept_shrunk, require_proof
    )
    report = await export_if_requested(connections, report, export_to, task_retries)
    if target and report.published:
        report = report.model_copy(update={"push": await push_published(target, plan.run, task_retries)})
    report = await refresh_if_requested(connections, report, velocity_zone, target, task_retries)
    return final_state(report, chunks)

"""The sync-sku-master flow: read the ERP's items whole and publish them as one master version."""

from __future__ import annotations

import time
from typing import Annotated, Any

from prefect import flow, task
from pydantic import Field

from blocks.store import find_store
from blocks.wms import find_source
from flows.artifacts.master_drift import publish_master_drift
from flows.runtime.connections import RunResources
from flows.runtime.final_state import final_state
from flows.runtime.ownership import SYNC_MASTER
from flows.runtime.retries import TASK_RETRIES, TASK_RETRY, result_of
from flows.runtime.task_runner import EventLoopTaskRunner
from flows.tasks.window import MAX_REJECT_RATIO, REPAIRS, plan_window, sync_window
from sku_velocity.errors import ConfigurationError
from sku_velocity.model.master import MasterChanges, compare
from sku_velocity.model.run import NO_WAREHOUSE
from sku_velocity.model.window import Window


@task(task_run_name="compare with the previous version", **TASK_RETRY)
async def compare_versions(connections: RunResources, version: str) -> MasterChanges:
    """Return what a published version maps differently from the previous one: nothing for the first."""
    async with connections.store() as store:
        before = await store.masters.version_before(version)
        if before is None:
            return MasterChanges()
        return compare(await store.masters.names_of(before), await store.masters.names_of(version))


@flow(
    name=SYNC_MASTER,
    flow_run_name="items from {source}",
    task_runner=EventLoopTaskRunner(),
    persist_result=False,
)
async def sync_sku_master(
    source: str,
    store: str | None = None,
    token_env: str | None = None,
    task_retries: Annotated[int, Field(ge=0)] = TASK_RETRIES,
    repairs: Annotated[int, Field(ge=0)] = REPAIRS,
    max_reject_ratio: Annotated[float, Field(ge=0, le=1)] = MAX_REJECT_RATIO,
    accept_shrunk: bool = False,
    require_proof: bool = False,
    resume: str | None = None,
) -> Any:
    """Read all items of an ERP, prove that none is missing, and publish them as a new master version.

    Readers see one whole version, this one or the previous one. A retry of the run, or another run with
    `resume`, reads only the chunks that have not landed.

    Args:
        source: A wms-source block's name, or the path of a spec file (.yaml) with `items`.
        store: A velocity-store block's name, or a URL without password. Omit for $SKU_VELOCITY_STORE.
        token_env: The worker's environment variable that holds the token, if the block has none.
        task_retries: Retries per task after a temporary failure of the source or the store.
        repairs: How many times to reread a master that is not proven whole.
        max_reject_ratio: Publish nothing if a larger share of the items is rejected and they are more than
            limits.max_rejects of the spec. limits.max_reject_ratio of the spec takes precedence.
        accept_shrunk: Publish the version even if it loses more than half of the published items.
        require_proof: Publish nothing that cannot be proven whole. Also if limits.require_proof of the spec.
        resume: The id of an earlier run, to read only what it has not landed. Omit for a new run.
    """
    started = time.monotonic()
    connections = RunResources(await find_source(source, token_env), await find_store(store))
    spec = connections.source.spec
    if spec.items is None:
        raise ConfigurationError(f"{spec.name} holds movements, not items: its spec needs `items`")
    planning = plan_window.with_options(retries=task_retries, task_run_name="plan items").submit(
        connections, NO_WAREHOUSE, Window.everything(), resume
    )
    plan = await result_of(planning)
    report, chunks = await sync_window(
        connections, plan, started, task_retries, repairs, max_reject_ratio, accept_shrunk, require_proof
    )
    if report.published:
        comparing = compare_versions.with_options(retries=task_retries)
        changes = await result_of(comparing.submit(connections, report.run_id))
        await publish_master_drift(spec.name, report.run_id, changes)
    return final_state(report, chunks)

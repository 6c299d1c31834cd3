"""The sync-velocity flow: plan, ingest, prove and publish one window of one warehouse."""

from __future__ import annotations

from typing import Any

from prefect import flow

from flows.runtime.ownership import SYNC
from flows.runtime.prefect_context import perform, takes
from flows.runtime.task_runner import EventLoopTaskRunner
from sku_velocity.steps import sync as steps
from sku_velocity.steps.requests import SyncRequest


@flow(
    name=SYNC,
    flow_run_name="{warehouse} from {source}",
    task_runner=EventLoopTaskRunner(),
    persist_result=False,
)
@takes(SyncRequest)
async def sync_velocity(request: SyncRequest) -> Any:
    return await perform(steps.sync, request)

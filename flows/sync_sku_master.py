"""The sync-sku-master flow: read the ERP's items whole and publish them as one master version."""

from __future__ import annotations

from typing import Any

from prefect import flow

from flows.runtime.ownership import SYNC_MASTER
from flows.runtime.prefect_context import perform, takes
from flows.runtime.task_runner import EventLoopTaskRunner
from sku_velocity.steps import sync as steps
from sku_velocity.steps.requests import SyncMasterRequest


@flow(
    name=SYNC_MASTER,
    flow_run_name="items from {source}",
    task_runner=EventLoopTaskRunner(),
    persist_result=False,
)
@takes(SyncMasterRequest)
async def sync_sku_master(request: SyncMasterRequest) -> Any:
    return await perform(steps.sync_master, request)

"""The sync-group flow: one window of some warehouses, within one run."""

from __future__ import annotations

from typing import Any

from prefect import flow, runtime

from flows.runtime.ownership import SYNC_GROUP
from flows.runtime.prefect_context import perform, takes
from flows.runtime.task_runner import EventLoopTaskRunner
from sku_velocity.steps import group
from sku_velocity.steps.fan_out import name_warehouses
from sku_velocity.steps.requests import SyncGroupRequest


def _name() -> str:
    parameters = runtime.flow_run.parameters
    return f"{name_warehouses(parameters['warehouses'])} from {parameters['source']}"


@flow(name=SYNC_GROUP, flow_run_name=_name, task_runner=EventLoopTaskRunner(), persist_result=False)
@takes(SyncGroupRequest)
async def sync_group(request: SyncGroupRequest) -> Any:
    return await perform(group.sync_group, request)

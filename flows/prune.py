"""The prune flow: delete expired rows from the store and old artifacts from Prefect."""

from __future__ import annotations

from typing import Any

from prefect import flow

from flows.runtime.ownership import PRUNE
from flows.runtime.prefect_context import perform, takes
from flows.runtime.task_runner import EventLoopTaskRunner
from sku_velocity.steps import prune as steps
from sku_velocity.steps.requests import PruneRequest


@flow(
    name=PRUNE,
    task_runner=EventLoopTaskRunner(),
    persist_result=False,
)
@takes(PruneRequest)
async def prune(request: PruneRequest) -> Any:
    return await perform(steps.prune, request)

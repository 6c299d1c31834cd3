"""The recheck flow: compare published windows with their source again, and publish what has changed."""

from __future__ import annotations

from typing import Any

from prefect import flow

from flows.runtime.ownership import RECHECK
from flows.runtime.prefect_context import perform, takes
from flows.runtime.task_runner import EventLoopTaskRunner
from sku_velocity.steps import recheck as steps
from sku_velocity.steps.requests import RecheckRequest


@flow(
    name=RECHECK,
    flow_run_name="recheck of {source}",
    task_runner=EventLoopTaskRunner(),
    persist_result=False,
)
@takes(RecheckRequest)
async def recheck(request: RecheckRequest) -> Any:
    return await perform(steps.recheck, request)

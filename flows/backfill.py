"""The backfill flow: read every missing window between two instants, several at a time."""

from __future__ import annotations

from typing import Any

from prefect import flow

from flows.runtime.ownership import BACKFILL
from flows.runtime.prefect_context import perform, takes
from flows.runtime.task_runner import EventLoopTaskRunner
from flows.sync_velocity import sync_velocity
from sku_velocity.steps import backfill as steps
from sku_velocity.steps.requests import BackfillRequest
from sku_velocity.steps.sync import sync


@flow(
    name=BACKFILL,
    flow_run_name="backfill from {source}",
    task_runner=EventLoopTaskRunner(),
    persist_result=False,
)
@takes(BackfillRequest)
async def backfill(request: BackfillRequest) -> Any:
    return await perform(steps.backfill, request, {sync: sync_velocity})

"""The compact flow: join the exported files of each closed date into one."""

from __future__ import annotations

from typing import Any

from prefect import flow

from flows.runtime.ownership import COMPACT
from flows.runtime.prefect_context import perform, takes
from flows.runtime.task_runner import EventLoopTaskRunner
from sku_velocity.steps import compact as steps
from sku_velocity.steps.requests import CompactRequest


@flow(
    name=COMPACT,
    task_runner=EventLoopTaskRunner(),
    persist_result=False,
)
@takes(CompactRequest)
async def compact(request: CompactRequest) -> Any:
    return await perform(steps.compact, request)

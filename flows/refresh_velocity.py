"""The refresh-velocity flow: compute, store, export and show each published warehouse's velocity."""

from __future__ import annotations

from typing import Any

from prefect import flow, runtime

from flows.runtime.ownership import REFRESH
from flows.runtime.prefect_context import perform, takes
from flows.runtime.task_runner import EventLoopTaskRunner
from sku_velocity.steps import velocity as steps
from sku_velocity.steps.requests import RefreshVelocityRequest


def run_name() -> str:
    """Return the name of a run in the UI."""
    return f"velocity as of {runtime.flow_run.parameters.get('as_of') or 'the day before'}"


@flow(
    name=REFRESH,
    flow_run_name=run_name,
    task_runner=EventLoopTaskRunner(),
    persist_result=False,
)
@takes(RefreshVelocityRequest)
async def refresh_velocity(request: RefreshVelocityRequest) -> Any:
    return await perform(steps.refresh_velocity, request)

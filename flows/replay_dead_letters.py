"""The replay flow: revalidate dead letters by a fixed spec, and publish the valid ones in their windows."""

from __future__ import annotations

from typing import Any

from prefect import flow

from flows.runtime.ownership import REPLAY
from flows.runtime.prefect_context import perform, takes
from flows.runtime.task_runner import EventLoopTaskRunner
from sku_velocity.steps import replay as steps
from sku_velocity.steps.requests import ReplayRequest


@flow(
    name=REPLAY,
    flow_run_name="dead letters of {source}",
    task_runner=EventLoopTaskRunner(),
    persist_result=False,
)
@takes(ReplayRequest)
async def replay_dead_letters(request: ReplayRequest) -> Any:
    return await perform(steps.replay, request)

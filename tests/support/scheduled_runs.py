"""Scheduling flow runs and executing them as a worker does."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID

from prefect.client.orchestration import get_client
from prefect.states import Scheduled

from flows.runtime.prefect_internals import run_flow
from flows.sync_velocity import sync_velocity


async def schedule(due: datetime, parameters: dict[str, Any]) -> UUID:
    async with get_client() as client:
        state = Scheduled(scheduled_time=due)
        return (await client.create_flow_run(sync_velocity, parameters=parameters, state=state)).id


async def execute(run: UUID) -> Any:
    """Execute a flow run as a worker does. Return its result: a report or an exception."""
    async with get_client() as client:
        flow_run = await client.read_flow_run(run)
    state = await run_flow(sync_velocity, flow_run=flow_run, return_type="state")
    return await state.aresult(raise_on_failure=False)

"""The task runs of a flow run, as the Prefect server knows them."""

from __future__ import annotations

import asyncio
from uuid import UUID

from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterId


async def names_of_task_runs(flow_run: UUID) -> list[str]:
    """Return the names of an ended flow run's task runs, once the server has recorded all their ends."""
    of_run = FlowRunFilter(id=FlowRunFilterId(any_=[flow_run]))
    async with get_client() as api:
        while True:
            found = await api.read_task_runs(flow_run_filter=of_run)
            if found and all(run.state and run.state.is_final() for run in found):
                return sorted(run.name for run in found)
            await asyncio.sleep(0.2)

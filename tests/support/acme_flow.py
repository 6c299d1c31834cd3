"""Running the sync flow against Acme's WMS."""

from __future__ import annotations

import asyncio
from typing import Any

from flows.sync_velocity import sync_velocity


def sync(source: str, store: str, **parameters: Any) -> Any:
    """Run the flow. Return its state and its result: a report or an exception."""

    async def run() -> Any:
        request = {"warehouse": "WH-01", "task_retries": 0, "token_env": "WMS_TOKEN"} | parameters
        state = await sync_velocity(source=source, store=store, **request, return_state=True)
        return state, await state.aresult(raise_on_failure=False)

    return asyncio.run(run())

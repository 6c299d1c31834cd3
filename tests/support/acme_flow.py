"""A sync of Acme's WMS by the flow."""

from __future__ import annotations

import asyncio
from typing import Any

from flows.sync_velocity import sync_velocity


def sync(source: str, store: str, **parameters: Any) -> Any:
    """Run the flow; give its state and what it ended with: a report or an exception."""

    async def run() -> Any:
        request = {"warehouse": "WH-01", "task_retries": 0, "token_env": "WMS_TOKEN"} | parameters
        state = await sync_velocity(source=source, store=store, **request, return_state=True)
        return state, await state.aresult(raise_on_failure=False)

    return asyncio.run(run())

"""Request a source's first page repeatedly at the pace it allows: one process of `pace`.

The last line holds the share of a core used, the lag of the event loop (ms, 99th percentile), and the times
at which requests were sent (seconds on the monotonic clock).
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from contextlib import AsyncExitStack
from typing import Any

from blocks.wms import WmsSource
from sku_velocity.http.pacing import Pacer
from sku_velocity.model.chunk import Page
from sku_velocity.model.window import Window
from sku_velocity.process.garbage import frozen_objects, relaxed_collection
from sku_velocity.process.loop_lag import LoopLagSampler
from sku_velocity.source.spec import parse_spec
from sku_velocity.source.window import WindowReader
from sku_velocity.steps.shared_pace import shared_pace
from sku_velocity.store import Store

PAGE = 100  # records
SPEC = {
    "name": "pace",
    "request": {"params": {"warehouse": "{warehouse}"}},
    "records": {"path": "records"},
    "total": {"from": "body", "path": "total"},
    "order": {"stable": True},
    "auth": {"kind": "none"},
}


async def ask(
    url: str, seconds: float, rate: float, in_flight: int, store_url: str | None = None
) -> dict[str, float | list[float]]:
    """Send requests for `seconds` from `in_flight` tasks, at a pace shared through a store, if any."""
    pace: dict[str, Any] = {"requests_per_second": rate, "max_concurrency": in_flight}
    if store_url:
        pace["shared_limit"] = "pace"
    spec = parse_spec({**SPEC, "base_url": url, "pace": pace, "paging": {"page_size": PAGE}}, "pace")
    async with AsyncExitStack() as stack:
        client = await stack.enter_async_context(WmsSource(spec=spec).get_client())
        watch = await stack.enter_async_context(LoopLagSampler.open())
        if store_url:
            store = await stack.enter_async_context(Store.open(store_url))
            await stack.enter_async_context(shared_pace(store, spec.pace, client.pacer))
        sent = record_sent(client.pacer)
        reader = WindowReader.of(client, "WH-01", Window.everything())
        cpu, end = time.process_time(), time.monotonic() + seconds

        async def keep_asking() -> None:
            while time.monotonic() < end:
                await reader.read(Page(0, PAGE))

        with relaxed_collection(), frozen_objects():  # as in a run
            async with asyncio.TaskGroup() as group:
                for _ in range(in_flight):
                    group.create_task(keep_asking())
        cores = (time.process_time() - cpu) / seconds
        return {"cores": cores, "lag_ms": watch.health.lag_p99_ms, "sent": sent}


def record_sent(pacer: Pacer) -> list[float]:
    """Record when requests have been written. Returns the list that it fills."""
    sent: list[float] = []
    after_send = pacer.after_send

    def recorded() -> None:
        sent.append(time.monotonic())
        after_send()

    pacer.after_send = recorded  # type: ignore[method-assign]
    return sent


if __name__ == "__main__":
    url, seconds, rate, in_flight, *shared = sys.argv[1:]
    print(json.dumps(asyncio.run(ask(url, float(seconds), float(rate), int(in_flight), *shared))))

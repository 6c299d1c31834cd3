"""Running all steps of a window without Prefect, so that it can be interrupted anywhere and resumed."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from sku_velocity.model.run import Verdict
from sku_velocity.model.window import Window
from sku_velocity.source.client import SourceClient
from sku_velocity.source.spec import parse_spec
from sku_velocity.source.window import WindowReader
from sku_velocity.store import Store
from tests.support.steps_driver import no_sleep, read_whole

TIMEOUT = 120.0  # seconds


@dataclass(frozen=True)
class WindowRun:
    """A run of everything that a source has of one warehouse. `parts` are added to the source's spec."""

    source_url: str
    store_url: str
    id: str
    parts: tuple[tuple[str, Any], ...] = ()

    def resume(self) -> Verdict:
        """Start or resume the window and run it to its end. Raises the error that prevents it."""
        return asyncio.run(self.read())

    async def read(self) -> Verdict:
        spec = {
            "name": "acme",
            "base_url": self.source_url,
            "request": {"params": {"warehouse": "{warehouse}"}},
            "records": {"path": "records"},
            "total": {"from": "body", "path": "total"},
            "order": {"stable": True},
            "pace": {"requests_per_second": 10_000},
            "paging": {"page_size": 51},
            "fields": {"movement_id": "movement_id"},
            "auth": {"kind": "none"},
            **dict(self.parts),
        }
        async with (
            SourceClient.open(parse_spec(spec, "test"), None, sleep=no_sleep) as client,
            Store.open(self.store_url) as store,
        ):
            return await read_whole(
                WindowReader.of(client, "WH-01", Window.everything()), store, self.id, repairs=2
            )

    def resume_and_wait(self) -> None:
        """The body of a process that gets killed: at its end it reports nothing and waits to be killed."""
        self.resume()
        threading.Event().wait()


def wait_until(condition: Callable[[], object]) -> None:
    """Poll a condition with almost no pause, to hit the exact moment. Raises AssertionError on timeout."""
    deadline = time.monotonic() + TIMEOUT
    while not condition():
        assert time.monotonic() < deadline, f"{condition} did not hold within {TIMEOUT:g} s"
        time.sleep(0.001)

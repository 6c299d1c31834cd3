"""The progress of a run, for the UI and for the command line."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextvars import ContextVar
from uuid import UUID

from prefect.artifacts import (
    acreate_progress_artifact,
    aupdate_progress_artifact,
)
from prefect.client.schemas.objects import FlowRun

from flows.artifacts.markdown import escape, ignoring_artifact_errors
from sku_velocity.output.names import artifact_key
from sku_velocity.steps.backfill import (
    WindowOutcome,
)
from sku_velocity.steps.fan_out import Shard

SECONDS_BETWEEN_UPDATES = 1.0


# Called with the number of landed chunks and their total: the command line's progress bar.
progress_listener: ContextVar[Callable[[int, int], object]] = ContextVar(
    "progress_listener", default=lambda done, total: None
)


# Called with the id of a run once its plan is stored: from then on the run can be resumed.
plan_listener: ContextVar[Callable[[str], object]] = ContextVar("plan_listener", default=lambda run: None)


class Progress:
    """A live progress bar under the stable key of its source and warehouse, updated at most once a second.

    `progress_listener` is called for every chunk.
    """

    def __init__(self, artifact_id: UUID | None) -> None:
        self._artifact_id = artifact_id
        self._updated_at = time.monotonic()

    @classmethod
    async def start(cls, source: str, warehouse: str, done: int, total: int) -> Progress:
        """Show the bar with `done` of `total` chunks landed."""
        artifact_id: UUID | None = None
        with ignoring_artifact_errors():
            artifact_id = await acreate_progress_artifact(
                _percent(done, total),
                key=artifact_key("progress", source, warehouse),
                description=f"{escape(warehouse)}: chunks landed",
            )
        return cls(artifact_id)

    async def move(self, done: int, total: int) -> None:
        """Update the bar, unless it was updated less than a second ago."""
        progress_listener.get()(done, total)
        if time.monotonic() - self._updated_at >= SECONDS_BETWEEN_UPDATES:
            await self.finish(done, total)

    async def finish(self, done: int, total: int) -> None:
        """Update the bar, no matter when it was last updated."""
        self._updated_at = time.monotonic()
        if self._artifact_id is not None:
            with ignoring_artifact_errors():
                await aupdate_progress_artifact(self._artifact_id, _percent(done, total))


def _percent(done: int, total: int) -> float:
    return 100.0 * done / total if total else 100.0


# Called with every window as it ends: the command line's output lines.
window_listener: ContextVar[Callable[[WindowOutcome], object]] = ContextVar(
    "window_listener", default=lambda outcome: None
)


# Called with every shard as its run ends: the command line's output lines.
shard_listener: ContextVar[Callable[[Shard, FlowRun | None], object]] = ContextVar(
    "shard_listener", default=lambda shard, run: None
)

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
from sku_velocity.steps.backfill import (
    WindowOutcome,
)
from sku_velocity.steps.fan_out import Shard

SECONDS_BETWEEN_UPDATES = 1.0


# Told how many chunks have landed, of how many: the bar of the command line.
progress_listener: ContextVar[Callable[[int, int], object]] = ContextVar(
    "progress_listener", default=lambda done, total: None
)


# Told the id of a run once its plan stands in the store: from then on it can be gone on with.
plan_listener: ContextVar[Callable[[str], object]] = ContextVar("plan_listener", default=lambda run: None)


class Progress:
    """A live bar under its source's stable key; it moves at most once a second.

    Whoever set `progress_listener` is told of every chunk.
    """

    def __init__(self, artifact_id: UUID | None) -> None:
        self._artifact_id = artifact_id
        self._moved = time.monotonic()

    @classmethod
    async def start(cls, source: str, warehouse: str, done: int, total: int) -> Progress:
        """Show the bar with `done` of `total` chunks landed."""
        artifact_id: UUID | None = None
        with ignoring_artifact_errors():
            artifact_id = await acreate_progress_artifact(
                _percent(done, total),
                key=f"{source}-progress",
                description=f"{escape(warehouse)}: chunks landed",
            )
        return cls(artifact_id)

    async def move(self, done: int, total: int) -> None:
        """Move the bar, unless it moved less than a second ago."""
        progress_listener.get()(done, total)
        if time.monotonic() - self._moved >= SECONDS_BETWEEN_UPDATES:
            await self.finish(done, total)

    async def finish(self, done: int, total: int) -> None:
        """Move the bar, whenever it moved last."""
        self._moved = time.monotonic()
        if self._artifact_id is not None:
            with ignoring_artifact_errors():
                await aupdate_progress_artifact(self._artifact_id, _percent(done, total))


def _percent(done: int, total: int) -> float:
    return 100.0 * done / total if total else 100.0


# Told of every window as it ends: the lines of the command line.
window_listener: ContextVar[Callable[[WindowOutcome], object]] = ContextVar(
    "window_listener", default=lambda outcome: None
)


# Told of every shard as its run ends: the lines of the command line.
shard_listener: ContextVar[Callable[[Shard, FlowRun | None], object]] = ContextVar(
    "shard_listener", default=lambda shard, run: None
)

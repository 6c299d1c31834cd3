"""Prefect's display of a run: artifacts on its page, and events for automations."""

from __future__ import annotations

import time
from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING
from uuid import UUID

from prefect import runtime
from prefect.artifacts import acreate_progress_artifact, aupdate_progress_artifact
from prefect.client.orchestration import get_client

from flows.artifacts.events import SHOWN_NAME, emit_class_changes, emit_late, emit_window_events
from flows.artifacts.markdown import escape, ignoring_artifact_errors
from flows.artifacts.master_drift import publish_master_drift, publish_window_drift
from flows.artifacts.recheck import publish_recheck
from flows.artifacts.rejects import publish_open_rejects, publish_window_rejects
from flows.artifacts.runs import publish_pruned, publish_runs
from flows.artifacts.sync_run import publish_chunk, publish_push, publish_run
from sku_velocity.model.chunk import ChunkProgress
from sku_velocity.model.master import MasterChanges
from sku_velocity.model.movement import DeadLetter
from sku_velocity.model.recheck import RecheckReport
from sku_velocity.model.reports import PruneReport, RunsReport
from sku_velocity.model.run import PushReport, RunReport, SyncRun
from sku_velocity.model.status import Freshness
from sku_velocity.model.window import short_label
from sku_velocity.output.names import artifact_key
from sku_velocity.steps.display import Display
from sku_velocity.store import Store
from sku_velocity.text import one_line, shorten

if TYPE_CHECKING:
    from sku_velocity.steps.refresh_velocity import RefreshResult

SECONDS_BETWEEN_UPDATES = 1.0


class PrefectDisplay(Display):
    """Publishes what happens in a flow run. An artifact that Prefect does not accept is left out."""

    def __init__(self, is_alone: bool = True) -> None:
        self._is_alone = is_alone  # the only window of the flow run
        self._progress: UUID | None = None
        self._updated_at = 0.0

    def for_window(self) -> PrefectDisplay:
        return PrefectDisplay(is_alone=False)

    async def show_plan(self, run: SyncRun) -> None:
        """Name the flow run after its warehouse and window, and tag it with its source and warehouse."""
        if not runtime.flow_run.id or not self._is_alone:
            return
        label = shorten(one_line(run.label), SHOWN_NAME)
        name = f"{label} {short_label(run.window)}"
        tags = {*runtime.flow_run.tags, run.source, *([label] if run.warehouse else [])}
        with ignoring_artifact_errors():
            async with get_client() as client:
                await client.update_flow_run(UUID(str(runtime.flow_run.id)), name=name, tags=sorted(tags))

    async def show_progress(self, run: SyncRun, done: int, total: int, *, is_last: bool = False) -> None:
        """Show a live bar under the stable key of the source and warehouse, updated at most once a second.

        A run of many windows has none: its ended windows show how far it is.
        """
        now = time.monotonic()
        if not self._is_alone:
            return
        if not is_last and now - self._updated_at < SECONDS_BETWEEN_UPDATES:
            return
        self._updated_at = now
        percent = 100.0 * done / total if total else 100.0
        with ignoring_artifact_errors():
            if self._progress is not None:
                await aupdate_progress_artifact(self._progress, percent)
                return
            self._progress = await acreate_progress_artifact(
                percent,
                key=artifact_key("progress", run.source, run.label),
                description=f"{escape(run.label)}: chunks landed",
            )

    async def show_chunk(self, progress: ChunkProgress, rejects: Sequence[DeadLetter]) -> None:
        await publish_chunk(progress, rejects)

    async def show_window(self, report: RunReport, chunks: Sequence[ChunkProgress]) -> None:
        await publish_run(report, chunks)
        await publish_window_drift(report, chunks)
        emit_window_events(report)

    async def show_rejects(self, store: Store, report: RunReport) -> None:
        await publish_window_rejects(store, report)

    async def show_push(self, run: SyncRun, report: PushReport) -> None:
        await publish_push(run, report)

    async def show_master(self, source: str, version: str, changes: MasterChanges) -> None:
        await publish_master_drift(source, version, changes)

    async def show_velocity(self, result: RefreshResult) -> None:
        from flows.artifacts.velocity import publish_velocity  # it draws, and other runs do not

        await publish_velocity(result)
        with ignoring_artifact_errors():
            await emit_class_changes(result.report)

    async def show_late(self, late: Sequence[Freshness], now: datetime) -> None:
        with ignoring_artifact_errors():
            await emit_late(late, now)

    async def show_open_rejects(self, store: Store, source: str) -> None:
        await publish_open_rejects(store, source)

    async def show_runs(self, report: RunsReport) -> None:
        await publish_runs(report)

    async def show_recheck(self, report: RecheckReport) -> None:
        await publish_recheck(report)

    async def show_pruned(self, report: PruneReport) -> None:
        await publish_pruned(report)

"""What a run shows while it works and when it ends: nothing here; Prefect's display publishes artifacts."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from sku_velocity.model.chunk import ChunkProgress
from sku_velocity.model.master import MasterChanges
from sku_velocity.model.movement import DeadLetter
from sku_velocity.model.recheck import RecheckReport
from sku_velocity.model.reports import PruneReport, RunOutcome, RunsReport
from sku_velocity.model.run import PushReport, RunReport, SyncRun
from sku_velocity.model.status import Freshness

if TYPE_CHECKING:  # they import pandas and SQLAlchemy
    from sku_velocity.steps.refresh_velocity import RefreshResult
    from sku_velocity.store import Store


def _ignore(*what: object) -> None:
    pass


@dataclass(frozen=True)
class Listener:
    """What the caller of a run gets while it runs.

    `planned` gets the id of the run once it can be resumed, `progress` the number of landed chunks and of
    all chunks, `ended` each outcome of a run of many, as it ends.
    """

    planned: Callable[[str], object] = _ignore
    progress: Callable[[int, int], object] = _ignore
    ended: Callable[[RunOutcome], object] = _ignore


class Display:
    """Shows what happens in a run, if there is a place for it."""

    def for_window(self) -> Display:
        """Return the display of one of several windows that a run reads."""
        return self

    async def show_plan(self, run: SyncRun) -> None:
        """Show which window a run reads, once it is known."""

    async def show_progress(self, run: SyncRun, done: int, total: int, *, is_last: bool = False) -> None:
        """Show how many chunks of a run have landed."""

    async def show_chunk(self, progress: ChunkProgress, rejects: Sequence[DeadLetter]) -> None:
        """Show a chunk that has landed, within its step."""

    async def show_window(self, report: RunReport, chunks: Sequence[ChunkProgress]) -> None:
        """Show a window that was published or refused."""

    async def show_rejects(self, store: Store, report: RunReport) -> None:
        """Show the rejects of a window, within a step."""

    async def show_push(self, run: SyncRun, report: PushReport) -> None:
        """Show the push of a window, within its last step."""

    async def show_master(self, source: str, version: str, changes: MasterChanges) -> None:
        """Show what a new version of a master maps differently from the previous one."""

    async def show_velocity(self, result: RefreshResult) -> None:
        """Show a warehouse's velocity, within its step."""

    async def show_open_rejects(self, store: Store, source: str) -> None:
        """Show the dead letters of a source that are still to be handled, within a step."""

    async def show_late(self, late: Sequence[Freshness], now: datetime) -> None:
        """Show the warehouses of a source whose next window is overdue, at least one."""

    async def show_runs(self, report: RunsReport) -> None:
        """Show a run of many runs: a backfill, or the sync of many warehouses."""

    async def show_recheck(self, report: RecheckReport) -> None:
        """Show what a recheck found."""

    async def show_pruned(self, report: PruneReport) -> None:
        """Show what was pruned."""

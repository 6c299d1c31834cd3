"""The status of a warehouse in the store: what is published, what is missing, and which runs are open."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from sku_velocity.model.coverage import gaps
from sku_velocity.model.run import REJECTS, Origin, RunState, UnknownSku, Verdict
from sku_velocity.model.window import Window
from sku_velocity.model.window_grid import HOURS, WindowGrid

STALLED_AFTER = timedelta(hours=1)  # without a landed chunk
LATE_AFTER = timedelta(hours=2)  # or twice the newest window, if that is longer


GROWTH_DAYS = 7  # the last ones, by which the growth of the store is measured


class Place(NamedTuple):
    """A warehouse of a source."""

    source: str
    warehouse: str


class SkuMapping(NamedTuple):
    """How a run maps its SKUs: the source of the master, and the policy for SKUs that it does not know."""

    master: str
    unknown_sku: UnknownSku


SkuMappingPolicy = SkuMapping | None  # None: SKUs are not mapped


@dataclass(frozen=True)
class PublishedRange:
    """A stretch of time in which a run is published. `run_key` increases from run to run.

    `mapping_digest` is that of the spec by which the run was read; `is_unproven` is True if it could not be
    proven whole; `grid` is that of the windows that the run was asked for. `is_archived` is True if its
    movements are archived: then it is final.
    """

    window: Window
    run_key: int
    mapping_digest: str | None = None
    is_unproven: bool = False
    grid: WindowGrid | None = None
    is_archived: bool = False


@dataclass(frozen=True)
class Freshness:
    """How far a warehouse is published: its newest range, and when that was planned to be read."""

    source: str
    warehouse: str
    newest: PublishedRange
    read_at: datetime

    @property
    def grid(self) -> WindowGrid:
        """The grid of the newest range, by which the next windows are due."""
        return self.newest.grid or HOURS

    @property
    def complete_until(self) -> datetime:
        """When the published movements end; a window read before its end counts up to the read."""
        return min(self.newest.window.end, self.read_at)

    def lag(self, now: datetime) -> timedelta:
        """Return how far behind `now` the published movements end."""
        return now - self.complete_until

    def is_late(self, now: datetime) -> bool:
        """Return True if the next window is overdue, judging by the length of the newest one."""
        window = self.newest.window
        if window.end >= now:  # it reaches beyond now
            return False
        return self.lag(now) > max(LATE_AFTER, 2 * (window.end - window.start), 2 * self.grid.step)


@dataclass(frozen=True)
class OpenRun:
    """A run that has not published its window: it is being read, was interrupted, or was refused.

    `active_at` is when it was planned or a chunk of it last landed; `error` is that of its first failed
    chunk; `broken` holds the failed checks of the proof as (name, what was found); `grid` is that of the
    windows that it was asked for.
    """

    key: int
    id: str
    window: Window
    state: RunState
    active_at: datetime
    chunks: int
    landed: int
    error: str | None = None
    broken: tuple[tuple[str, str], ...] = ()
    mapping: SkuMappingPolicy = None
    grid: WindowGrid | None = None

    def is_being_read(self, now: datetime) -> bool:
        """Return True if the run seems active: it is running, and a chunk landed within the last hour."""
        return self.state is RunState.RUNNING and now - self.active_at < STALLED_AFTER

    @property
    def is_resumable(self) -> bool:
        """True if resuming costs less than reading its window again, and may end differently than before."""
        return 0 < self.landed < self.chunks

    @property
    def has_many_rejects(self) -> bool:
        """True if its window was refused because too many records were rejected."""
        return any(name == REJECTS for name, _ in self.broken)

    @property
    def blames_the_source(self) -> bool:
        """True if nothing could be read, or too many records were rejected."""
        nothing = self.error is not None and not self.landed
        return nothing or self.has_many_rejects

    @property
    def reason(self) -> str | None:
        """Why it has not published, for display."""
        return self.error or "; ".join(f"{name}: {found}" for name, found in self.broken) or None

    def is_settled_by(self, published: Sequence[PublishedRange]) -> bool:
        """Return True if later runs have published all of its window, so nothing is missing."""
        return not gaps(self.window, (each.window for each in published if each.run_key > self.key))


@dataclass(frozen=True)
class Coverage:
    """What is published of a warehouse, in order of time, and the open runs that no later run replaced."""

    source: str
    warehouse: str
    published: list[PublishedRange]
    open_runs: list[OpenRun]

    @property
    def label(self) -> str:
        """What is read, for display: the warehouse, or the master's items."""
        return self.warehouse or "items"

    @property
    def start(self) -> datetime | None:
        """The start of the earliest window ever requested; None if there is none."""
        starts = [each.window.start for each in self.published[:1]]
        return min(starts + [run.window.start for run in self.open_runs], default=None)

    def by_spec(self, mapping_digest: str) -> Coverage:
        """Return what is published by the spec with this digest, or final: the rest counts as missing."""
        kept = [each for each in self.published if each.is_archived or each.mapping_digest == mapping_digest]
        return replace(self, published=kept)

    def gaps(self, span: Window) -> list[Window]:
        """Return the parts of a span of time that are not published."""
        return gaps(span, (each.window for each in self.published))


@dataclass(frozen=True)
class LastRun:
    """The latest run of a warehouse; `verdict` is None until it has ended, `origin` how it was asked for.

    `report` is the `RunReport` as JSON; empty until it has ended.
    """

    id: str
    window: Window
    state: RunState
    verdict: Verdict | None
    began_at: datetime
    mapping: SkuMappingPolicy = None
    mapping_digest: str | None = None
    origin: Origin | None = None
    report: Mapping[str, Any] = field(default_factory=dict)


class Revisions(NamedTuple):
    """How many windows of a warehouse were revised because the source had changed, and the rows in them."""

    windows: int = 0
    added: int = 0
    changed: int = 0
    removed: int = 0


class Archived(NamedTuple):
    """The archived movements of a warehouse: how many, where the newest are, and when their window ends."""

    rows: int
    to: str
    until: datetime


@dataclass(frozen=True)
class WarehouseStatus:
    """The status of a warehouse of a source. `rows` and `rejects` count the published records.

    `rows` are those in the store, without archived ones.
    `read_at` is when the newest window was planned, None if nothing is published; `rechecked_at` is when a
    recheck last looked at a window.
    """

    coverage: Coverage
    last_run: LastRun
    rows: int
    rejects: int
    read_at: datetime | None
    rechecked_at: datetime | None = None
    revisions: Revisions = Revisions()
    archived: Archived | None = None

    @property
    def span(self) -> Window | None:
        """From the start of the first published window to the end of the newest."""
        ranges = self.coverage.published
        return Window(ranges[0].window.start, ranges[-1].window.end) if ranges else None

    @property
    def freshness(self) -> Freshness | None:
        """How far it is published; None if nothing is."""
        ranges, place = self.coverage.published, (self.coverage.source, self.coverage.warehouse)
        return Freshness(*place, ranges[-1], self.read_at) if ranges and self.read_at else None

    @property
    def grid(self) -> WindowGrid:
        """The grid of the newest published window, by which the next ones are due."""
        return self.freshness.grid if self.freshness else HOURS

    @property
    def gaps(self) -> list[Window]:
        """The stretches up to the newest published window that none covers: missed schedules, and runs
        before the first published window that have not published theirs.
        """
        if self.span is None:
            return []
        begun = (run.window.start for run in self.coverage.open_runs if not run.window.is_everything)
        return self.coverage.gaps(Window(min([self.span.start, *begun]), self.span.end))

    @property
    def older_spec(self) -> list[Window]:
        """The published stretches that were read by another spec than the last run's and are not final."""
        digest, ranges = self.last_run.mapping_digest, self.coverage.published
        return [
            each.window
            for each in ranges
            if not each.is_archived and digest not in (None, each.mapping_digest)
        ]

    @property
    def unproven(self) -> list[Window]:
        """The published stretches that are not proven whole."""
        return [each.window for each in self.coverage.published if each.is_unproven]

    @property
    def complete_until(self) -> datetime | None:
        """When the published movements end; None if nothing is published."""
        return self.freshness.complete_until if self.freshness else None

    def lag(self, now: datetime) -> timedelta | None:
        """Return how far behind `now` the published movements end; None if nothing is published."""
        return self.freshness.lag(now) if self.freshness else None

    def is_late(self, now: datetime) -> bool:
        """Return True if the next window is overdue, judging by the length of the newest one."""
        return bool(self.freshness and self.freshness.is_late(now))


class StoreSize(NamedTuple):
    """The size of the store in bytes, with indexes; `tables` by name, the largest first.

    `free` is the part of a SQLite file that new rows reuse, None on PostgreSQL. `tables` is None if they were
    not measured. `days` sums up the time of each warehouse whose movements the store holds, in days, and
    `recent_days` the part of it in the last `GROWTH_DAYS`.
    """

    bytes: int
    free: int | None
    tables: dict[str, int] | None
    days: float
    recent_days: float

    @property
    def bytes_per_day(self) -> int | None:
        """The bytes that a published day of a warehouse takes, on average; None if there is none."""
        return round((self.bytes - (self.free or 0)) / self.days) if self.days else None

    @property
    def growth_per_day(self) -> int | None:
        """The bytes by which the store grows a day, if as much is published as in the last days."""
        if self.bytes_per_day is None:
            return None
        return round(self.bytes_per_day * self.recent_days / GROWTH_DAYS)

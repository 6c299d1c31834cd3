"""How a warehouse stands in the store: what of it is published, what is missing, and which runs are open."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sku_velocity.model.coverage import gaps
from sku_velocity.model.run import REJECTS, RunState, UnknownSku, Verdict
from sku_velocity.model.window import Window

STALLED_AFTER = timedelta(hours=1)  # without a chunk that lands
LATE_AFTER = timedelta(hours=2)  # or twice the newest window, where that is longer


# The source of a master, and what becomes of SKUs that it does not know; None: SKUs are not mapped.
SkuMappingPolicy = tuple[str, UnknownSku] | None


@dataclass(frozen=True)
class PublishedRange:
    """A stretch of time in which a run shows. `run_key` grows from run to run."""

    window: Window
    run_key: int


@dataclass(frozen=True)
class OpenRun:
    """A run that has not published its window: it is being read, broke off, or was refused.

    `active_at` is when it was planned or a chunk of it last landed; `error` is what its first failed chunk
    ran into; `broken` tells, by the name of the check, where the proof broke.
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

    def is_being_read(self, now: datetime) -> bool:
        """Whether somebody seems to be at it: it runs, and a chunk has landed within the last hour."""
        return self.state is RunState.RUNNING and now - self.active_at < STALLED_AFTER

    @property
    def is_resumable(self) -> bool:
        """Whether to resume it costs less than to read its window anew, and can end otherwise than before."""
        return 0 < self.landed < self.chunks

    @property
    def blames_the_source(self) -> bool:
        """Whether nothing could be read, or too much of it was rejected."""
        nothing = self.error is not None and not self.landed
        return nothing or any(name == REJECTS for name, _ in self.broken)

    @property
    def reason(self) -> str | None:
        """Why it has not published, for people."""
        return self.error or "; ".join(f"{name}: {found}" for name, found in self.broken) or None

    def is_settled_by(self, published: Sequence[PublishedRange]) -> bool:
        """Whether later runs have published all of its window, so that nobody misses it."""
        return not gaps(self.window, (each.window for each in published if each.run_key > self.key))


@dataclass(frozen=True)
class Coverage:
    """What of a warehouse is published, in order of time, and which runs nobody has made up for."""

    source: str
    warehouse: str
    published: list[PublishedRange]
    open_runs: list[OpenRun]

    @property
    def label(self) -> str:
        """What is read, for people: the warehouse, or the master's items."""
        return self.warehouse or "items"

    @property
    def start(self) -> datetime | None:
        """Since when anything was asked of the source; None where nothing ever was."""
        starts = [each.window.start for each in self.published[:1]]
        return min(starts + [run.window.start for run in self.open_runs], default=None)

    def gaps(self, span: Window) -> list[Window]:
        """What of a span of time is not published."""
        return gaps(span, (each.window for each in self.published))


@dataclass(frozen=True)
class LastRun:
    """The latest run of a warehouse; `verdict` is None until it has ended."""

    id: str
    window: Window
    state: RunState
    verdict: Verdict | None
    began_at: datetime
    mapping: SkuMappingPolicy = None


@dataclass(frozen=True)
class WarehouseStatus:
    """How a warehouse of a source stands. `rows` and `rejects` count the records of what is published.

    `read_at` is when the newest window was planned, None where nothing is published.
    """

    coverage: Coverage
    last_run: LastRun
    rows: int
    rejects: int
    read_at: datetime | None

    @property
    def span(self) -> Window | None:
        """From the start of the first published window to the end of the newest."""
        ranges = self.coverage.published
        return Window(ranges[0].window.start, ranges[-1].window.end) if ranges else None

    @property
    def gaps(self) -> list[Window]:
        """The stretches within the span that no published window covers: schedules that were missed."""
        return self.coverage.gaps(self.span) if self.span else []

    @property
    def complete_until(self) -> datetime | None:
        """Up to when movements are published; a window that was read before its end counts until then."""
        return min(self.span.end, self.read_at) if self.span and self.read_at else None

    def lag(self, now: datetime) -> timedelta | None:
        """How far behind `now` the newest published window ends; None where nothing is published."""
        return now - self.complete_until if self.complete_until else None

    def is_late(self, now: datetime) -> bool:
        """Whether the next window is overdue, to go by the length of the newest one."""
        lag, ranges = self.lag(now), self.coverage.published
        if lag is None or ranges[-1].window.end >= now:  # all there was, whenever somebody asked
            return False
        newest = ranges[-1].window
        return lag > max(LATE_AFTER, 2 * (newest.end - newest.start))

"""What a backfill reads: each missing window once, none that is published, none that somebody is reading."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from pydantic import BaseModel, ConfigDict

from sku_velocity.errors import ConfigurationError
from sku_velocity.model.coverage import cut
from sku_velocity.model.status import Coverage, SkuMappingPolicy
from sku_velocity.model.window import Window, iso
from sku_velocity.source.spec import SourceSpec

MAX_WINDOWS = 10_000  # each is a flow run: over a year of hours


@dataclass(frozen=True)
class Reading:
    """A window to read, with the run to resume where one has landed a part of it already.

    `read_by` is the run of somebody else who is at it.
    """

    warehouse: str
    window: Window
    resume: str | None = None
    read_by: str | None = None

    def __str__(self) -> str:
        return f"{self.warehouse} {self.window}"


class WindowOutcome(BaseModel):
    """What became of one window. `flow_run_id` is None where no run was begun or it broke off early.

    `failed` is true where its run failed, though what it has read may be published.
    """

    model_config = ConfigDict(frozen=True)

    warehouse: str
    start: datetime
    end: datetime
    published: bool
    failed: bool
    message: str
    flow_run_id: str | None = None

    def __str__(self) -> str:
        return f"{self.warehouse} {Window(self.start, self.end)}: {self.message}"


class BackfillReport(BaseModel):
    """What a backfill came to: every window that was missing, in the order of reading."""

    model_config = ConfigDict(frozen=True)

    source: str
    windows: list[WindowOutcome]

    @property
    def left(self) -> list[WindowOutcome]:
        """The windows that are still missing."""
        return [window for window in self.windows if not window.published]


def check_backfill(spec: SourceSpec, concurrency: int) -> None:
    """See that a source can be read window by window, so many at once.

    Raises ConfigurationError where it cannot be asked for a window, and where several windows at once would
    each keep the whole pace for themselves.
    """
    if not spec.has_window:
        raise ConfigurationError(
            f"source {spec.name} cannot be asked for a window, so there is none to backfill: set "
            "window.params in its spec where the API can, or read all it has with `python -m flows sync`"
        )
    if concurrency > 1 and spec.pace.shared_limit is None:
        raise ConfigurationError(
            f"source {spec.name}: {concurrency} windows at once would go at {concurrency} times its pace: "
            "set pace.shared_limit in its spec, so that they share it, or read one window at a time"
        )


def plan_backfill(
    coverage: Coverage, start: datetime | None, end: datetime | None, settled: datetime, size: timedelta
) -> list[Window]:
    """The windows that are missing between two instants, none of them open after `settled`, oldest first.

    Without a start it is where the first run of the warehouse began, without an end `settled`. Raises
    ConfigurationError where they do not make a span, or one of too many windows.
    """
    place = f"backfill of {coverage.warehouse} from {coverage.source}"
    if start is None and coverage.start is None:
        raise ConfigurationError(f"{place}: nothing of it has ever been read, so a start is needed: --start")
    start = start or coverage.start or settled
    if end is not None and end <= start:
        raise ConfigurationError(f"{place}: its end {iso(end)} must be after its start {iso(start)}")
    end = min(end or settled, settled)
    stretches = coverage.gaps(Window(start, end)) if start < end else []
    count = sum(-(-(stretch.end - stretch.start) // size) for stretch in stretches)
    if count > MAX_WINDOWS:
        raise ConfigurationError(
            f"{place}: {count} windows are missing since {iso(start)}, and at most {MAX_WINDOWS} are read "
            "at a time: begin later, end earlier, or read longer windows (window_hours)"
        )
    return [window for stretch in stretches for window in cut(stretch, size)]


def reading_of(
    coverage: Coverage, window: Window, now: datetime, mapping: SkuMappingPolicy = None
) -> Reading:
    """How a window is read, by what stands in the store now; only a run of the same mapping is resumed."""
    at_it = [run.id for run in coverage.open_runs if run.is_being_read(now) and run.window.overlaps(window)]
    begun = [
        run.id
        for run in coverage.open_runs
        if run.is_resumable and (run.window, run.mapping) == (window, mapping)
    ]
    return Reading(
        coverage.warehouse, window, begun[-1] if begun else None, read_by=at_it[-1] if at_it else None
    )


def in_order(readings: Iterable[Reading], newest_first: bool) -> list[Reading]:
    """Readings of several warehouses by time, and at the same time by warehouse."""
    by_warehouse = sorted(readings, key=lambda each: each.warehouse)
    return sorted(by_warehouse, key=lambda each: each.window.start, reverse=newest_first)

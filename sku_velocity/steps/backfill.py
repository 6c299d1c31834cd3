"""Plan a backfill: read each missing window once, and none that is published or being read."""

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
    """A window to read, and the run to resume if one has landed a part of it.

    `read_by` is another run that is reading it now.
    """

    warehouse: str
    window: Window
    resume: str | None = None
    read_by: str | None = None

    def __str__(self) -> str:
        return f"{self.warehouse} {self.window}"


class WindowOutcome(BaseModel):
    """The result of one window. `run_id` is None if no run was started or if it broke off early.

    `failed` is true if its run failed; what it read may still be published. `unproven` is true if it is
    published although the source allows no proof.
    """

    model_config = ConfigDict(frozen=True)

    warehouse: str
    start: datetime
    end: datetime
    published: bool
    failed: bool
    message: str
    run_id: str | None = None
    unproven: bool = False

    def __str__(self) -> str:
        return f"{self.warehouse} {Window(self.start, self.end)}: {self.message}"


class BackfillReport(BaseModel):
    """The result of a backfill: every window that was missing, in the order of reading."""

    model_config = ConfigDict(frozen=True)

    source: str
    windows: list[WindowOutcome]

    @property
    def left(self) -> list[WindowOutcome]:
        """Return the windows that are still missing."""
        return [window for window in self.windows if not window.published]


def check_backfill(spec: SourceSpec, max_parallel: int) -> None:
    """Check that a source can be read window by window, at most `max_parallel` in parallel.

    Raises ConfigurationError if its API has no window parameters, or if parallel windows would each use the
    whole pace.
    """
    if not spec.has_window:
        raise ConfigurationError(
            f"source {spec.name} cannot be asked for a window, so it cannot be backfilled: set window.params "
            "in its spec if the API supports it, or read everything with `python -m flows sync`"
        )
    if max_parallel > 1 and spec.pace.shared_limit is None:
        raise ConfigurationError(
            f"source {spec.name}: {max_parallel} parallel windows would run at {max_parallel} times its "
            "pace: set pace.shared_limit in its spec so that they share it, or set max_parallel to 1"
        )


def plan_backfill(
    coverage: Coverage, start: datetime | None, end: datetime | None, settled: datetime, size: timedelta
) -> list[Window]:
    """Return the missing windows between two instants, oldest first; none ends after `settled`.

    `start` defaults to the start of the warehouse's first run, `end` to `settled`. Raises ConfigurationError
    if they are not a valid range, or if too many windows are missing.
    """
    place = f"backfill of {coverage.warehouse} from {coverage.source}"
    if start is None and coverage.start is None:
        raise ConfigurationError(f"{place}: nothing was read before, so a start is needed: set --start")
    start = start or coverage.start or settled
    if end is not None and end <= start:
        raise ConfigurationError(f"{place}: end {iso(end)} must be after its start {iso(start)}")
    end = min(end or settled, settled)
    stretches = coverage.gaps(Window(start, end)) if start < end else []
    count = sum(-(-(stretch.end - stretch.start) // size) for stretch in stretches)
    if count > MAX_WINDOWS:
        raise ConfigurationError(
            f"{place}: {count} windows are missing since {iso(start)}, at most {MAX_WINDOWS} are allowed: "
            "use a later start, an earlier end, or longer windows (window_hours)"
        )
    return [window for stretch in stretches for window in cut(stretch, size)]


def plan_reading(
    coverage: Coverage, window: Window, now: datetime, mapping: SkuMappingPolicy = None
) -> Reading:
    """Plan how to read a window, given the store's state. Resume only a run with the same SKU mapping."""
    active = [run.id for run in coverage.open_runs if run.is_being_read(now) and run.window.overlaps(window)]
    resumable = [
        run.id
        for run in coverage.open_runs
        if run.is_resumable and (run.window, run.mapping) == (window, mapping)
    ]
    return Reading(
        coverage.warehouse, window, resumable[-1] if resumable else None, active[-1] if active else None
    )


def sort_readings(readings: Iterable[Reading], newest_first: bool) -> list[Reading]:
    """Sort readings of several warehouses by time, then by warehouse."""
    by_warehouse = sorted(readings, key=lambda each: each.warehouse)
    return sorted(by_warehouse, key=lambda each: each.window.start, reverse=newest_first)

"""Which window a run reads: the one asked for, or the last complete one; none finer than the timestamps."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from typing import Any, Protocol

from sku_velocity.errors import ConfigurationError
from sku_velocity.model.movement import EARLIEST, LATEST
from sku_velocity.model.settle_lag import SETTLE_MINUTES
from sku_velocity.model.window import Window, iso
from sku_velocity.model.window_grid import DAY_MINUTES, WindowGrid
from sku_velocity.source.spec import SourceSpec
from sku_velocity.steps.command_line import command_line

DEFAULT_MINUTES = 60
BORDERS = {"second": "at whole seconds", "minute": "at whole minutes", "day": "at midnight in {zone}"}


class AskedGrid(Protocol):
    """What a request says of the length of windows and of where they start."""

    @property
    def window_minutes(self) -> int | None: ...
    @property
    def window_zone(self) -> str | None: ...


class Asked(AskedGrid, Protocol):
    """What a request says of windows. Omitted bounds and windows follow from the source and the clock."""

    @property
    def start(self) -> datetime | None: ...
    @property
    def end(self) -> datetime | None: ...
    @property
    def settle_minutes(self) -> int: ...


@dataclass(frozen=True)
class Bounds:
    """A request for the window between two instants, either of which may be omitted."""

    start: datetime | None = None
    end: datetime | None = None
    window_minutes: int | None = None
    window_zone: str | None = None
    settle_minutes: int = SETTLE_MINUTES


class WindowChoice:
    """The windows of a source that a request asks for, by the instant at which it was due.

    `command` and `options` are the request as a command, for the advice in an error. Raises
    ConfigurationError if a bound is so early or so late that a change of its zone would overflow.
    """

    def __init__(
        self, spec: SourceSpec, asked: Asked, due: datetime, command: str, options: Mapping[str, Any]
    ) -> None:
        for name, bound in {"start": asked.start, "end": asked.end}.items():
            if bound and bound.tzinfo and not EARLIEST <= bound <= LATEST:
                raise ConfigurationError(
                    f"{name} {bound.isoformat()}: give an instant from {iso(EARLIEST)} to {iso(LATEST)}, or "
                    f"omit {name}"
                )
        self._spec = spec
        self._asked = asked
        self._command: Callable[..., str] = partial(command_line, command, options)
        self.grid = grid_of(spec, asked)
        self.settled = due - timedelta(minutes=asked.settle_minutes)

    @property
    def last(self) -> Window:
        """The last complete window that has settled."""
        return self.grid.window_before(self.settled)

    def window(self) -> Window:
        """Return the given window, or the last complete one that had settled when the run was due.

        An omitted start is the last border before the end. Return everything if neither bound is given and
        the source cannot be asked for a window. Raises ConfigurationError if the end is not after the start,
        or if the window is finer than the source's timestamps.
        """
        start, end = self._asked.start, self._asked.end
        if start is None and end is None and not self._spec.has_window:
            return Window.everything()
        try:
            window = Window.between(start, end or self.last.end)
            if start is None:
                window = Window(self.grid.window_before(self.grid.ceil(window.end)).start, window.end)
        except (ValueError, OverflowError) as error:
            raise ConfigurationError(str(error)) from error
        self.check([window])
        return window

    def check(self, windows: Iterable[Window], **changes: Any) -> None:
        """Check that no window is finer than the source's timestamps, which would miss rows.

        Raises ConfigurationError, with the command that reads whole units of them; `changes` are options that
        it has as well.
        """
        self._check((bound for window in windows for bound in window.bounds), **changes)

    def check_bounds(self) -> None:
        """Check that neither the given bounds nor the windows are finer than the source's timestamps."""
        self._check([self._asked.start, self._asked.end, *self.last.bounds])

    def _check(self, bounds: Iterable[datetime | None], **changes: Any) -> None:
        grain, name = self._spec.grain, self._spec.window.grain
        if wrong := next((bound for bound in bounds if bound and not grain.holds(bound)), None):
            raise ConfigurationError(
                f"source {self._spec.name}: the grain of its timestamps is a {name} (window.grain), so a "
                f"window must start and end {BORDERS[name].format(zone=grain.zone)}, not at {iso(wrong)}: "
                f"run {self._command(**changes, **self._whole())}"
            )

    def _whole(self) -> dict[str, Any]:
        """Return the options of windows, where needed, such that they are not finer than the timestamps."""
        grain, start, end = self._spec.grain, self._asked.start, self._asked.end
        changes: dict[str, Any] = {}
        if not all(map(grain.holds, (self.last.start, self.last.end))):
            changes = dict.fromkeys(("window_minutes", "window_zone"))
        settled = grain.floor(self.settled)
        if end:
            changes["end"] = settled = min(grain.ceil(end), settled)
        if start:
            changes["start"] = min(grain.floor(start), grain.window_before(settled).start)
        return changes


def grid_of(spec: SourceSpec, asked: AskedGrid) -> WindowGrid:
    """Return the windows that a request asks for. By default: hours in UTC, or days if the grain is a day."""
    is_day = spec.window.grain == "day"
    minutes = asked.window_minutes or (DAY_MINUTES if is_day else DEFAULT_MINUTES)
    return WindowGrid.of(minutes, asked.window_zone or (spec.grain.zone.key if is_day else "UTC"))

"""Windows: half-open stretches of time."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Self

from sku_velocity.model.movement import EARLIEST, LATEST


@dataclass(frozen=True)
class Window:
    """A half-open stretch of time, `[start, end)`, in UTC.

    Raises ValueError if a bound has no time zone or the end is not after the start.
    """

    start: datetime
    end: datetime

    def __post_init__(self) -> None:
        if self.start.tzinfo is None or self.end.tzinfo is None:
            raise ValueError("a window's start and end need a time zone, such as 2026-03-01T00:00:00Z")
        object.__setattr__(self, "start", self.start.astimezone(UTC))
        object.__setattr__(self, "end", self.end.astimezone(UTC))
        if self.end <= self.start:
            raise ValueError(f"a window's end must be after its start: {self}")

    @classmethod
    def everything(cls) -> Self:
        """Return the window of all possible movements: for a source that cannot be queried by time."""
        return cls.between(None, None)

    @classmethod
    def between(cls, start: datetime | None, end: datetime | None) -> Self:
        """Return the window between two instants; None stands for the first or the last possible one."""
        return cls(start or EARLIEST, end or LATEST)

    @property
    def is_everything(self) -> bool:
        return (self.start, self.end) == (EARLIEST, LATEST)

    @property
    def bounds(self) -> tuple[datetime, datetime] | tuple[None, None]:
        """The start and the end, or None for both if the window is everything; `between` is the inverse."""
        return (None, None) if self.is_everything else (self.start, self.end)

    def __contains__(self, instant: datetime) -> bool:
        return self.start <= instant < self.end

    def overlaps(self, other: Window) -> bool:
        """Return True if the two share an instant."""
        return self.start < other.end and other.start < self.end

    def __str__(self) -> str:
        if self.is_everything:
            return "everything"
        return f"{iso(self.start)}/{iso(self.end)}"


def cut_out(whole: Window, hole: Window) -> list[Window]:
    """Return the parts of `whole` outside `hole`: all of it, one or two segments, or nothing."""
    left = (whole.start, min(whole.end, hole.start))
    right = (max(whole.start, hole.end), whole.end)
    return [Window(start, end) for start, end in dict.fromkeys((left, right)) if start < end]


def short_label(window: Window) -> str:
    """Format a window for a name: its start to the minute and its length, as in `2026-11-23T02:00Z +1h`."""
    if window.is_everything:
        return "everything"
    start, length = window.start, window.end - window.start
    minutes, seconds = divmod(length.seconds, 60)
    parts = {"d": length.days, "h": minutes // 60, "m": minutes % 60, "s": seconds}
    shown = "".join(f"{number}{unit}" for unit, number in parts.items() if number)
    precision = "auto" if start.second or start.microsecond else "minutes"
    return f"{start.isoformat(timespec=precision).replace('+00:00', 'Z')} +{shown or '0s'}"


def iso(instant: datetime) -> str:
    """Format an instant as ISO 8601 in UTC, ending in Z, without a fraction if it has none."""
    return instant.astimezone(UTC).isoformat().replace("+00:00", "Z")


@dataclass(frozen=True)
class PublishedSegment:
    """A stretch of time in which one run is published, and the publication that last changed its rows.

    `archived_to` is the directory or URL of the files that hold its movements instead of the store, or None.
    """

    run_key: int
    run_id: str
    window: Window
    publication: int
    published_at: datetime
    archived_to: str | None = None

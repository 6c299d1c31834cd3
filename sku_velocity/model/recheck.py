"""A recheck: published windows that are compared with their source again, and what differs by now."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from hashlib import blake2b
from itertools import accumulate

from pydantic import BaseModel, ConfigDict

from sku_velocity.model.publication import Cause
from sku_velocity.model.run import SyncRun, Verdict
from sku_velocity.model.window import Window

MINUTE = timedelta(minutes=1)
NEVER = datetime.min.replace(tzinfo=UTC)


@dataclass(frozen=True)
class PublishedWindow:
    """A published run, and the ranges in which it is published.

    `read_at` is when it was planned, `looked_at` when a recheck last looked at it, `unchanged_at` when one
    last found it to be as in the source, and `changed_at` when the source last reported changed records.
    """

    run: SyncRun
    ranges: tuple[Window, ...]
    read_at: datetime
    looked_at: datetime | None = None
    unchanged_at: datetime | None = None
    changed_at: datetime | None = None

    @property
    def known_at(self) -> datetime:
        """The last time at which the source had what is published, as far as a recheck sees it."""
        return self.unchanged_at or self.read_at

    def __str__(self) -> str:
        return f"{self.run.warehouse} {self.run.window}"


def sort_windows(windows: Iterable[PublishedWindow]) -> list[PublishedWindow]:
    """Sort windows by urgency: those with reported changes, then those that were not looked at for longest.

    Of the windows that no recheck has looked at, the newest come first. Windows of the same time are in a
    different order for each time, so that a small budget does not always miss the same warehouse.
    """

    def urgency(window: PublishedWindow) -> tuple[bool, datetime, float, bytes]:
        run = window.run
        place = f"{run.warehouse} {run.window}".encode("utf-8", "replace")
        newest_first = -(run.window.end - NEVER).total_seconds()
        is_reported = window.changed_at is not None
        return not is_reported, window.looked_at or NEVER, newest_first, blake2b(place).digest()

    return sorted(windows, key=urgency)


class RecheckedWindow(BaseModel):
    """A published window that was read again: why, and what its run found.

    `added`, `changed` and `removed` count the rows that differ from those published before, `publication` is
    the number of the revision; None if nothing was published. `known_at` is when the window was last known to
    be as published before, `seen_at` when the difference was seen. `is_revised` is False if only the spec or
    nothing differs. `failed` is true if the window may still differ from the source.
    """

    model_config = ConfigDict(frozen=True)

    warehouse: str
    start: datetime
    end: datetime
    why: str
    run_id: str | None = None
    verdict: Verdict | None = None
    published: bool = False
    failed: bool = False
    message: str = ""
    publication: int | None = None
    cause: Cause | None = None
    added: int = 0
    changed: int = 0
    removed: int = 0
    known_at: datetime
    seen_at: datetime

    @property
    def is_revised(self) -> bool:
        """True if rows were replaced because the source has changed."""
        return self.cause is Cause.REVISION and self.added + self.changed + self.removed > 0

    def __str__(self) -> str:
        return f"{self.warehouse} {Window(self.start, self.end)}: {self.message}"


class Lag(BaseModel):
    """How late rows came after the end of their window, in minutes: between two looks at the source."""

    model_config = ConfigDict(frozen=True)

    at_least: float
    at_most: float

    def __str__(self) -> str:
        return f"{self.at_least:.0f} to {self.at_most:.0f} min"


class Lateness(BaseModel):
    """How late the rows came that rechecks have added.

    A row came after the last look that did not find it and before the one that did, so each figure is a
    range. A settle lag of `settle_minutes` would certainly have caught 99% of them. Without record ids, a
    changed row counts as an added one.
    """

    model_config = ConfigDict(frozen=True)

    rows: int
    p50: Lag
    p95: Lag
    p99: Lag
    max: Lag

    @property
    def settle_minutes(self) -> int:
        return math.ceil(self.p99.at_most)


def lateness_of(windows: Iterable[RecheckedWindow]) -> Lateness | None:
    """Return how late the added rows of revised windows came; None if there are none."""
    late = [each for each in windows if each.is_revised and each.added]
    late = [each for each in late if not Window(each.start, each.end).is_everything]
    if not late:
        return None

    def quantile(share: float) -> Lag:
        return Lag(
            at_least=_quantile(late, share, lambda each: each.known_at),
            at_most=_quantile(late, share, lambda each: each.seen_at),
        )

    return Lateness(
        rows=sum(each.added for each in late),
        p50=quantile(0.5),
        p95=quantile(0.95),
        p99=quantile(0.99),
        max=quantile(1),
    )


def _quantile(
    windows: Sequence[RecheckedWindow], share: float, instant: Callable[[RecheckedWindow], datetime]
) -> float:
    """Return the smallest number of minutes after the window's end that covers this share of the rows."""
    lags = sorted((max(0.0, (instant(each) - each.end) / MINUTE), each.added) for each in windows)
    counts = list(accumulate(rows for _, rows in lags))
    return next(
        round(lag, 1) for (lag, _), count in zip(lags, counts, strict=True) if count >= share * counts[-1]
    )


class RecheckReport(BaseModel):
    """The result of a recheck.

    `compared` counts the windows that were compared or read again, `windows` holds those that were read again
    because something differs or may differ, and `not_reached` counts those that the budget of requests left
    for the next recheck. `unplaced` counts changed records without a valid time. `error` says why
    the recheck stopped early.
    """

    model_config = ConfigDict(frozen=True)

    source: str
    full: bool
    compared: int
    not_reached: int
    requests: int
    unplaced: int = 0
    windows: list[RecheckedWindow]
    lateness: Lateness | None = None
    error: str | None = None

    @property
    def revised(self) -> list[RecheckedWindow]:
        """The windows whose rows were replaced."""
        return [each for each in self.windows if each.is_revised]

    @property
    def failed(self) -> list[RecheckedWindow]:
        """The windows that may still differ from the source."""
        return [each for each in self.windows if each.failed]

    def total(self, count: str) -> int:
        """Return the sum of `added`, `changed` or `removed` over all revised windows."""
        return sum(getattr(each, count) for each in self.revised)

"""Dead letters with their standing: where each stands, who closed it, and which of them are meant."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from sku_velocity.model.movement import DeadLetter, MovementRow, Reason
from sku_velocity.model.run import RunState
from sku_velocity.model.window import Window

VALIDATION, PUSH = (
    "validation",
    "push",
)  # the stages: a record that may not pass, a row that an engine refused


class DeadLetterState(StrEnum):
    """Where a dead letter stands.

    A replayed one has found its place by a later spec: its movement is in the window, or it is trimmed or
    filtered, as its note says. A discarded one was given up by somebody.
    """

    OPEN = "open"
    REPLAYED = "replayed"
    DISCARDED = "discarded"


@dataclass(frozen=True)
class Change:
    """The last change of a letter's state: by whom, when, and why."""

    by: str
    at: datetime
    note: str


@dataclass(frozen=True)
class StoredDeadLetter:
    """A dead letter as the store keeps it, with its place: source, warehouse, window, run, position.

    `is_published` is whether its run shows somewhere: only then is an open letter work to do, for else a
    later run has read its record again, or its window is still to be published.
    """

    run: str
    source: str
    warehouse: str
    window: Window
    run_state: RunState
    is_published: bool
    stage: str
    letter: DeadLetter
    created_at: datetime
    state: DeadLetterState
    change: Change | None

    @property
    def reasons(self) -> str:
        """All reasons on one line, as people read them."""
        return "; ".join(map(str, self.letter.reasons))


@dataclass(frozen=True)
class DeadLetterFilter:
    """Which letters are meant: those that fit all that is given.

    `reason` is a text within the reasons, as they are shown, in any case; `window` meets the run's window;
    `is_published` is whether the run shows.
    """

    source: str | None = None
    warehouse: str | None = None
    run: str | None = None
    reason: str | None = None
    state: DeadLetterState | None = None
    stage: str | None = None
    position: int | None = None
    window: Window | None = None
    is_published: bool | None = None


@dataclass(frozen=True)
class RejectGroup:
    """The letters that were refused for the same reasons: how many, and a sample of them."""

    count: int
    sample: StoredDeadLetter


class ReplayOutcome(StrEnum):
    """What becomes of a record; the words are those of the ledger's counts."""

    LOADED = "loaded"
    TRIMMED = "trimmed"
    FILTERED = "filtered"
    REJECTED = "rejected"


@dataclass(frozen=True)
class RevalidatedRecord:
    """A letter's position and fate: with its row where it is loaded, its reasons where it is rejected."""

    position: int
    fate: ReplayOutcome
    row: MovementRow | None = None
    reasons: tuple[Reason, ...] = ()

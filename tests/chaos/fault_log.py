"""The results of each fault: the number of trials, lost and duplicated rows, and the recovery time."""

from __future__ import annotations

from dataclasses import dataclass

from tests.chaos.truth import Content

COLUMNS = ("fault", "tried", "rows lost", "rows doubled", "seconds to recover")


@dataclass(frozen=True)
class Trial:
    """One fault: the rows lost and duplicated after the rerun, and the seconds that the rerun took."""

    fault: str
    lost: int
    doubled: int
    seconds: float


class FaultLog:
    """The trials of a test session."""

    def __init__(self) -> None:
        self._trials: list[Trial] = []
        self._notes: list[str] = []

    def note(self, line: str) -> None:
        """Add a line below the table."""
        self._notes.append(line)

    def record(self, fault: str, truth: Content, seen: Content, seconds: float) -> None:
        """Record a trial. Raises AssertionError if a row or a dead letter is lost or duplicated."""
        trial = Trial(fault, (truth - seen).total(), (seen - truth).total(), seconds)
        self._trials.append(trial)
        assert (trial.lost, trial.doubled) == (0, 0), trial

    def table(self) -> list[str]:
        """Return the trials by fault as lines of text, with a heading."""
        rows = [COLUMNS, *(self._row(fault) for fault in dict.fromkeys(each.fault for each in self._trials))]
        width = max(len(row[0]) for row in rows)
        lines = [row[0].ljust(width) + "".join(cell.rjust(20) for cell in row[1:]) for row in rows]
        return [*lines, *self._notes]

    def _row(self, fault: str) -> tuple[str, ...]:
        trials = [trial for trial in self._trials if trial.fault == fault]
        lost, doubled = sum(trial.lost for trial in trials), sum(trial.doubled for trial in trials)
        longest = max(trial.seconds for trial in trials)
        return fault, str(len(trials)), str(lost), str(doubled), f"{longest:.1f}"

    def __bool__(self) -> bool:
        return bool(self._trials)

"""The outcome of an operation: its report, and the name and message of the state that a run ends in."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar

from sku_velocity.completeness import REQUIRE_PROOF, SCOPE, SHRUNK, needs_rereading
from sku_velocity.model.chunk import ChunkProgress
from sku_velocity.model.push import PushKind
from sku_velocity.model.reports import RunOutcome, RunsReport
from sku_velocity.model.run import REJECTS, PushReport, RunReport, Verdict
from sku_velocity.model.window import Window

T = TypeVar("T")

ADVICE = {
    REJECTS: "A Retry is refused again: look at the dead letters. If the spec is wrong, fix it, and Retry "
    "reads the window again; if the records are wrong, fix them in the source and start a new run, or raise "
    "max_reject_ratio (limits.max_reject_ratio in the spec takes precedence) or limits.max_rejects.",
    SCOPE: "Check the named keys of the spec: filter values, the format and time zone of the timestamp, and "
    "the name of the warehouse. If they are right, set limits.empty_is_normal in the spec.",
    REQUIRE_PROOF: "Change the named keys of the spec, or start a new run without require_proof, which "
    "publishes the window as unproven.",
    SHRUNK: "Retry reads the window again, and publishes it if it finds as many rows; to publish it without "
    "a second reading, start a new run with accept_shrunk.",
}
WITHHELD = "another spec has changed its rows since: set push_spec_changes to send the changes"
INCOMPLETE = "Incomplete"  # the state of many runs of which some have not published
NAMED_CHUNKS = 5  # whose errors a message quotes in full
NAMED_RUNS = 5  # in a message; the table has all of them


@dataclass(frozen=True)
class Outcome(Generic[T]):
    """What an operation did: `name` and `message` are those of the run's final state in Prefect's UI."""

    name: str
    message: str
    report: T
    is_failed: bool = False


def outcome_of(report: RunReport, chunks: Sequence[ChunkProgress]) -> Outcome[RunReport]:
    """Return a sync run's outcome. It says what was published, or what prevents it."""
    if report.published:
        return _of_published(report)
    if report.verdict is not Verdict.INCOMPLETE:
        return Outcome(report.verdict.capitalize(), "A later run has superseded this one.", report)
    return Outcome("Incomplete", _why_refused(report, chunks), report, is_failed=True)


def _why_refused(report: RunReport, chunks: Sequence[ChunkProgress]) -> str:
    if report.failed_chunks:
        failed = [f"{b.chunk.index} ({b.chunk.label}): {b.error}" for b in chunks if b.error]
        return (
            f"{len(report.failed_chunks)} of {report.chunks} chunks failed, nothing published; "
            f"Retry reads only those, and no page that has landed. {' | '.join(failed[:NAMED_CHUNKS])}"
        )
    broken = "; ".join(f"{check.name}: {check.detail}" for check in report.checks if check.passed is False)
    advice = (
        "Retry reads the window again."
        if needs_rereading(report.checks)
        else " ".join(text for name, text in ADVICE.items() if name in broken)
    )
    if report.unknown_skus:
        advice += " Sync the master, then start a new run: Retry keeps the master's version."
    return f"Nothing published: {broken}. {advice}"


def _of_published(report: RunReport) -> Outcome[RunReport]:
    """Return the outcome of a published run: failed if its export, push or refresh failed."""
    push, what = report.push, f"{report.loaded} {report.what} published"
    failures = {}
    if report.export_error:
        failures["NotExported"] = f"not exported; Retry repeats only the export. {report.export_error}"
    if push and push.failed_chunks:
        failures["PushFailed"] = (
            f"not all pushed to {push.engine}: {len(push.failed_chunks)} of {push.chunks} chunks failed; "
            f"Retry pushes only what is left. {' | '.join(push.errors[:NAMED_CHUNKS])}"
        )
    if report.refresh_error:
        failures["NotRefreshed"] = f"its velocity was not refreshed. {report.refresh_error}"
    if failures:
        message = " ".join(f"{what}, but {failure}" for failure in failures.values())
        return Outcome(next(iter(failures)), message, report, is_failed=True)
    pushed = f" {_pushed(push)}" if push else ""
    unproven = f" Not proven whole: {report.why_unproven}." if report.why_unproven else ""
    message = f"{what}, {report.rejected} rejected.{unproven}{pushed}"
    return Outcome(report.verdict.capitalize(), message, report)


def _pushed(push: PushReport) -> str:
    if push.kind is PushKind.WITHHELD:
        return f"Not pushed to {push.engine}: {WITHHELD}."
    removed = f", removed {push.removed}" if push.removed else ""
    return f"{push.engine} accepted {push.accepted}, rejected {push.rejected}{removed}."


class WarehouseWindow(Protocol):
    """A window of a warehouse that is to be read."""

    @property
    def warehouse(self) -> str: ...
    @property
    def window(self) -> Window: ...


def outcome_of_window(place: WarehouseWindow, **result: Any) -> RunOutcome:
    """Return the outcome of a window of many. By default it has failed and is still missing."""
    window = place.window
    return RunOutcome(warehouse=place.warehouse, start=window.start, end=window.end, **result)


def outcome_of_sync(place: WarehouseWindow, ended: Outcome[RunReport]) -> RunOutcome:
    """Return a window's outcome by its sync's: failed if it is still missing or not fully delivered."""
    report = ended.report
    return outcome_of_window(
        place,
        message=ended.message,
        published=report.published,
        failed=ended.is_failed or not report.published,
        verdict=report.verdict,
        loaded=report.loaded,
        rejected=report.rejected,
        seconds=report.seconds,
        run_id=report.run_id,
    )


def outcome_of_runs(report: RunsReport, *, retry: str, deliver: str) -> Outcome[RunsReport]:
    """Return the outcome of many runs: how many are published, and the first of those that failed.

    `retry` says what reads the windows that are left, `deliver` what hands on those that are published.
    """
    published = [run for run in report.runs if run.published]
    rows = sum(run.loaded for run in published)
    summary = f"{len(published)} of {len(report.runs)} windows published, {rows} movements"
    if report.unproven:
        summary += f", {len(report.unproven)} not proven whole"
    if not report.failed:
        return Outcome("Complete", f"{summary}.", report)
    named = " | ".join(map(str, report.failed[:NAMED_RUNS]))
    if report.left:
        message = f"{summary}, {len(report.left)} left; {retry}. {named}"
        return Outcome(INCOMPLETE, message, report, is_failed=True)
    message = f"{summary}, {len(report.failed)} not fully delivered; {deliver}. {named}"
    return Outcome("NotHandedOn", message, report, is_failed=True)

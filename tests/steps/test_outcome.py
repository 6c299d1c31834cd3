"""The outcome of a run that could not be proven whole, and of many runs."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

from sku_velocity.completeness import Limits, prove
from sku_velocity.model.chunk import Chunk, ChunkProgress, ChunkState
from sku_velocity.model.reports import RunOutcome, RunsReport
from sku_velocity.model.run import FinalCheck, RunReport, SyncRun
from sku_velocity.model.window import Window
from sku_velocity.steps.outcome import Outcome, outcome_of, outcome_of_runs
from sku_velocity.steps.report import build_report
from sku_velocity.steps.window import Cost, Proof
from tests.support.reports import LEFT, run_outcome

HOUR = timedelta(hours=1)
RUN = SyncRun("r1", "acme", "WH-01", Window.everything(), total=10_000)
CHUNK = Chunk(0, 0, 10_000, 10_000)
LANDED = replace(ChunkProgress(CHUNK, ChunkState.LANDED, 10_000), fetched=10_000, loaded=10_000)
UNPROVEN = FinalCheck(10_000, True, why_unproven="set paging.stable if it is a keyset")


def report(require_proof: bool = False) -> RunReport:
    checks = prove(RUN, [LANDED], UNPROVEN, Limits(0.05, require_proof=require_proof))
    return build_report(RUN, Proof([LANDED], checks), Cost(), 1.0)


def test_an_unproven_window_is_completed_and_names_the_key_to_set() -> None:
    outcome = outcome_of(report(), [LANDED])
    assert not outcome.is_failed and outcome.name == "Unproven" and report().is_delivered
    assert "Not proven whole: set paging.stable" in outcome.message


def test_a_required_proof_makes_it_incomplete_with_the_reason() -> None:
    outcome = outcome_of(report(require_proof=True), [LANDED])
    assert outcome.is_failed and outcome.name == "Incomplete"
    assert "set paging.stable if it is a keyset (require_proof)" in outcome.message
    assert "without require_proof" in outcome.message


def test_a_doubtful_window_has_a_warning() -> None:
    def warnings_of(window: Window, *, fetched: int, has_rows: bool) -> str:
        chunks = [replace(LANDED, fetched=fetched)]
        run = replace(RUN, window=window, total=fetched)
        return " ".join(build_report(run, Proof(chunks, [], None, has_rows), Cost(), 1.0).warnings)

    now = datetime.now(UTC)
    past, future = Window(now - HOUR, now), Window(now, now + HOUR)
    assert warnings_of(past, fetched=0, has_rows=True) == warnings_of(past, fetched=7, has_rows=False) == ""
    assert "none of this warehouse was ever published" in warnings_of(past, fetched=0, has_rows=False)
    assert "the window ends in the future" in warnings_of(future, fetched=7, has_rows=True)


def ended(*runs: RunOutcome) -> Outcome[RunsReport]:
    report = RunsReport(source="acme", runs=list(runs))
    return outcome_of_runs(report, retry="Retry resumes only those", deliver="Retry does only that")


def test_the_outcome_of_many_runs_names_those_that_failed() -> None:
    whole = ended(run_outcome("A"), run_outcome("B"))
    assert (whole.name, whole.is_failed) == ("Complete", False)
    assert whole.message == "2 of 2 windows published, 20 movements."
    partly = ended(run_outcome("A"), run_outcome("B", **LEFT))
    assert (partly.name, partly.is_failed) == ("Incomplete", True)
    assert "1 of 2 windows published" in partly.message and "1 left; Retry resumes only" in partly.message
    assert "B 2026-03-01T00:00:00Z/2026-03-02" in partly.message and "A 2026" not in partly.message


def test_a_published_window_that_was_not_fully_delivered_fails_the_run_of_many() -> None:
    not_pushed = run_outcome("A", failed=True, state="PushFailed")
    only = ended(not_pushed, run_outcome("B"))
    assert (only.name, only.is_failed) == ("NotHandedOn", True) and "Retry does only that" in only.message
    assert ended(not_pushed, run_outcome("B", **LEFT)).name == "Incomplete"

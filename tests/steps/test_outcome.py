"""The outcome of a run that could not be proven whole."""

from __future__ import annotations

from dataclasses import replace

from sku_velocity.completeness import Limits, prove
from sku_velocity.model.chunk import Chunk, ChunkProgress, ChunkState
from sku_velocity.model.run import FinalCheck, RunReport, SyncRun
from sku_velocity.model.window import Window
from sku_velocity.steps.outcome import outcome_of
from sku_velocity.steps.report import build_report
from sku_velocity.steps.window import Cost

RUN = SyncRun("r1", "acme", "WH-01", Window.everything(), total=10_000)
CHUNK = Chunk(0, 0, 10_000, 10_000)
LANDED = replace(ChunkProgress(CHUNK, ChunkState.LANDED, 10_000), fetched=10_000, loaded=10_000)
UNPROVEN = FinalCheck(10_000, True, why_unproven="set paging.stable if it is a keyset")


def report(require_proof: bool = False) -> RunReport:
    checks = prove(RUN, [LANDED], UNPROVEN, Limits(0.05, require_proof=require_proof))
    return build_report(RUN, [LANDED], checks, Cost(), 1.0)


def test_an_unproven_window_is_completed_and_names_the_key_to_set() -> None:
    outcome = outcome_of(report(), [LANDED])
    assert not outcome.is_failed and outcome.name == "Unproven" and report().is_delivered
    assert "Not proven whole: set paging.stable" in outcome.message


def test_a_required_proof_makes_it_incomplete_with_the_reason() -> None:
    outcome = outcome_of(report(require_proof=True), [LANDED])
    assert outcome.is_failed and outcome.name == "Incomplete"
    assert "set paging.stable if it is a keyset (require_proof)" in outcome.message
    assert "without require_proof" in outcome.message

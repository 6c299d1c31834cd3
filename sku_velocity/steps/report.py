"""The report of a sync run."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime

from sku_velocity.completeness import SHRUNK, verdict_of, warnings_of
from sku_velocity.model.chunk import OTHER_FIELDS, ChunkState, sum_extra_fields
from sku_velocity.model.run import NO_WAREHOUSE, RunReport, RunState, SyncRun, Verdict, unknown_skus
from sku_velocity.steps.window import Cost, Proof


def build_report(run: SyncRun, proof: Proof, cost: Cost, seconds: float) -> RunReport:
    """Build the report from the ledger; `cost` and `seconds` are those of this attempt."""
    chunks, checks = proof.chunks, proof.checks
    extra_fields = sum_extra_fields(progress.extra_fields for progress in chunks)
    verdict = verdict_of(checks, run.repairs)
    start, end = run.window.bounds
    return RunReport(
        run_id=run.id,
        flow_run_id=run.flow_run_id,
        source=run.source,
        warehouse=run.warehouse,
        start=start,
        end=end,
        verdict=verdict,
        published=verdict is not Verdict.INCOMPLETE and run.state is not RunState.SUPERSEDED,
        total=run.total,
        fetched=sum(progress.fetched for progress in chunks),
        loaded=sum(progress.loaded for progress in chunks),
        rejected=sum(progress.rejected for progress in chunks),
        trimmed=sum(progress.trimmed for progress in chunks),
        filtered=sum(progress.filtered for progress in chunks),
        repairs=run.repairs,
        chunks=len(chunks),
        failed_chunks=[
            progress.chunk.index for progress in chunks if progress.state is not ChunkState.LANDED
        ],
        requests=cost.tally.requests,
        retried=cost.tally.retried,
        throttled=cost.tally.throttled,
        seconds=round(seconds, 3),
        loop_lag_p99_ms=cost.loop.lag_p99_ms,
        most_tasks=cost.loop.most_tasks,
        allowed_rate=cost.allowed_rate,
        extra_fields=extra_fields,
        new_fields=_new_fields(extra_fields, proof),
        checks=checks,
        master=run.master,
        unknown_skus=len(unknown_skus(chunks)),
        warnings=[*warnings_of(run.total), *_warnings_of_window(run, proof)],
    )


def _warnings_of_window(run: SyncRun, proof: Proof) -> list[str]:
    """Return what makes a window doubtful that was read whole."""
    warnings, end = [], run.window.bounds[1]
    fetched = sum(progress.fetched for progress in proof.chunks)
    if run.warehouse != NO_WAREHOUSE and not (fetched or proof.has_rows):
        warnings.append(
            "the source has no records of the window, and none of this warehouse was ever published: check "
            "the warehouse's name and the window, with check-source"
        )
    if end is not None and end > datetime.now(UTC):
        warnings.append(
            "the window ends in the future: what is booked in it from now on is missing until it is read "
            "again"
        )
    return warnings


def held_rows(report: RunReport) -> int | None:
    """Return the number of rows of a window that is held only because it would shrink, or None."""
    failed = [check.name for check in report.checks if check.passed is False]
    return report.loaded if failed == [SHRUNK] else None


def _new_fields(extra_fields: Mapping[str, int], proof: Proof) -> list[str]:
    if proof.known_fields is None:
        return []
    return sorted(extra_fields.keys() - {OTHER_FIELDS, *proof.known_fields})

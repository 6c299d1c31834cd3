"""What a run has come to: its report, and the state that it ends in."""

from __future__ import annotations

from collections.abc import Sequence

from prefect.client.schemas.objects import State
from prefect.states import Completed, Failed

from sku_velocity import steps
from sku_velocity.completeness import calls_for_rereading, verdict_of
from sku_velocity.model.chunk import BatchResult, ChunkState, sum_extra_fields
from sku_velocity.model.run import Check, RunReport, RunState, SyncRun, Verdict, unknown_skus

NAMED_CHUNKS = 5  # whose errors a state's message tells in full


def build_report(
    run: SyncRun, batches: Sequence[BatchResult], checks: list[Check], cost: steps.Cost, seconds: float
) -> RunReport:
    """Add up the ledger; `cost` and `seconds` are this attempt's."""
    verdict = verdict_of(checks, run.repairs)
    bounds = (None, None) if run.window.is_everything else (run.window.start, run.window.end)
    return RunReport(
        flow_run_id=run.id,
        source=run.source,
        warehouse=run.warehouse,
        start=bounds[0],
        end=bounds[1],
        verdict=verdict,
        published=verdict is not Verdict.INCOMPLETE and run.state is not RunState.SUPERSEDED,
        total=run.total,
        fetched=sum(batch.fetched for batch in batches),
        loaded=sum(batch.loaded for batch in batches),
        rejected=sum(batch.rejected for batch in batches),
        trimmed=sum(batch.trimmed for batch in batches),
        filtered=sum(batch.filtered for batch in batches),
        repairs=run.repairs,
        chunks=len(batches),
        failed_chunks=[batch.chunk.index for batch in batches if batch.state is not ChunkState.LANDED],
        requests=cost.tally.requests,
        retried=cost.tally.retried,
        throttled=cost.tally.throttled,
        seconds=round(seconds, 3),
        loop_lag_p99_ms=cost.loop.lag_p99_ms,
        most_tasks=cost.loop.most_tasks,
        extra_fields=sum_extra_fields(batch.extra_fields for batch in batches),
        checks=checks,
        master=run.master,
        unknown_skus=len(unknown_skus(batches)),
    )


def final_state(report: RunReport, batches: Sequence[BatchResult]) -> State[RunReport]:
    """The run's last state: it is named, and it says what was published or what stands in the way."""
    if report.published:
        return published_state(report)
    if report.verdict is not Verdict.INCOMPLETE:
        return Completed(
            name=report.verdict.capitalize(), message="A later run has superseded this one.", data=report
        )
    if report.failed_chunks:
        failed = [f"{b.chunk.index} ({b.chunk.label}): {b.error}" for b in batches if b.error]
        return Failed(
            name="Incomplete",
            message=f"{len(report.failed_chunks)} of {report.chunks} chunks failed, nothing published; "
            f"Retry reads only those. {' | '.join(failed[:NAMED_CHUNKS])}",
            data=report,
        )
    broken = "; ".join(f"{check.name}: {check.found}" for check in report.checks if check.held is False)
    advice = (
        "Retry reads the window again."
        if calls_for_rereading(report.checks)
        else "Look at the dead letters, mend the source or raise max_reject_ratio."
    )
    if report.unknown_skus:
        advice += " Sync the master, then start a new run: a Retry keeps the master's version."
    return Failed(name="Incomplete", message=f"Nothing published: {broken}. {advice}", data=report)


def published_state(report: RunReport) -> State[RunReport]:
    """The last state of a run whose window shows: whether it went wherever else it should."""
    push, what = report.push, f"{report.loaded} {report.what} published"
    failures = []
    if report.export_error:
        failures.append(f"{what}, but not exported; Retry does that alone. {report.export_error}")
    if push and push.failed_chunks:
        failures.append(
            f"{what}, but not all pushed to {push.engine}: {len(push.failed_chunks)} of {push.chunks} chunks "
            f"failed; Retry pushes only what is left. {' | '.join(push.errors[:NAMED_CHUNKS])}"
        )
    if report.refresh_error:
        failures.append(f"{what}, but its velocity is not worked out anew. {report.refresh_error}")
    if failures:
        return Failed(name=_name_of_failure(report), message=" ".join(failures), data=report)
    told = f" {push.engine} accepted {push.accepted}, rejected {push.rejected}." if push else ""
    return Completed(
        name=report.verdict.capitalize(), message=f"{what}, {report.rejected} rejected.{told}", data=report
    )


def _name_of_failure(report: RunReport) -> str:
    if report.export_error:
        return "NotExported"
    return "PushFailed" if report.push and report.push.failed_chunks else "NotRefreshed"

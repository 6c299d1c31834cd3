"""The report of a sync run."""

from __future__ import annotations

from collections.abc import Sequence

from sku_velocity.completeness import verdict_of
from sku_velocity.model.chunk import BatchResult, ChunkState, sum_extra_fields
from sku_velocity.model.run import Check, RunReport, RunState, SyncRun, Verdict, unknown_skus
from sku_velocity.steps import sync as steps


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

"""What a run has come to: its report, and the state that it ends in."""

from __future__ import annotations

from collections.abc import Sequence

from prefect.client.schemas.objects import State
from prefect.states import Completed, Failed

from sku_velocity.completeness import needs_rereading
from sku_velocity.model.chunk import ChunkProgress
from sku_velocity.model.run import RunReport, Verdict

NAMED_CHUNKS = 5  # whose errors a state's message tells in full


def final_state(report: RunReport, chunks: Sequence[ChunkProgress]) -> State[RunReport]:
    """The run's last state: it is named, and it says what was published or what stands in the way."""
    if report.published:
        return published_state(report)
    if report.verdict is not Verdict.INCOMPLETE:
        return Completed(
            name=report.verdict.capitalize(), message="A later run has superseded this one.", data=report
        )
    if report.failed_chunks:
        failed = [f"{b.chunk.index} ({b.chunk.label}): {b.error}" for b in chunks if b.error]
        return Failed(
            name="Incomplete",
            message=f"{len(report.failed_chunks)} of {report.chunks} chunks failed, nothing published; "
            f"Retry reads only those. {' | '.join(failed[:NAMED_CHUNKS])}",
            data=report,
        )
    broken = "; ".join(f"{check.name}: {check.detail}" for check in report.checks if check.passed is False)
    advice = (
        "Retry reads the window again."
        if needs_rereading(report.checks)
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

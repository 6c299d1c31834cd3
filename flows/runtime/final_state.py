"""The final state of a run, made from its report."""

from __future__ import annotations

from collections.abc import Sequence

from prefect.client.schemas.objects import State
from prefect.states import Completed, Failed

from sku_velocity.completeness import REQUIRE_PROOF, SCOPE, SHRUNK, needs_rereading
from sku_velocity.model.chunk import ChunkProgress
from sku_velocity.model.run import REJECTS, RunReport, Verdict

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
NAMED_CHUNKS = 5  # whose errors a state's message quotes in full


def final_state(report: RunReport, chunks: Sequence[ChunkProgress]) -> State[RunReport]:
    """Return the run's final state. Its name and message say what was published, or what prevents it."""
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
        else " ".join(text for name, text in ADVICE.items() if name in broken)
    )
    if report.unknown_skus:
        advice += " Sync the master, then start a new run: Retry keeps the master's version."
    return Failed(name="Incomplete", message=f"Nothing published: {broken}. {advice}", data=report)


def published_state(report: RunReport) -> State[RunReport]:
    """Return the final state of a published run: Failed if its export, push or refresh failed."""
    push, what = report.push, f"{report.loaded} {report.what} published"
    failures = []
    if report.export_error:
        failures.append(f"{what}, but not exported; Retry repeats only the export. {report.export_error}")
    if push and push.failed_chunks:
        failures.append(
            f"{what}, but not all pushed to {push.engine}: {len(push.failed_chunks)} of {push.chunks} chunks "
            f"failed; Retry pushes only what is left. {' | '.join(push.errors[:NAMED_CHUNKS])}"
        )
    if report.refresh_error:
        failures.append(f"{what}, but its velocity was not refreshed. {report.refresh_error}")
    if failures:
        return Failed(name=_name_of_failure(report), message=" ".join(failures), data=report)
    pushed = f" {push.engine} accepted {push.accepted}, rejected {push.rejected}." if push else ""
    unproven = f" Not proven whole: {report.why_unproven}." if report.why_unproven else ""
    message = f"{what}, {report.rejected} rejected.{unproven}{pushed}"
    return Completed(name=report.verdict.capitalize(), message=message, data=report)


def _name_of_failure(report: RunReport) -> str:
    if report.export_error:
        return "NotExported"
    return "PushFailed" if report.push and report.push.failed_chunks else "NotRefreshed"

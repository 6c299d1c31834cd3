"""The artifacts of a sync and of a push: pure rendering, and the calls that publish them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from prefect.artifacts import (
    acreate_markdown_artifact,
    acreate_table_artifact,
)

from flows.artifacts.markdown import escape, ignoring_artifact_errors
from sku_velocity.model.chunk import ChunkProgress, ChunkState
from sku_velocity.model.movement import DeadLetter
from sku_velocity.model.push import PushKind
from sku_velocity.model.run import Check, PushReport, RunReport, SyncRun
from sku_velocity.output.names import artifact_key
from sku_velocity.steps.outcome import WITHHELD, outcome_of
from sku_velocity.text import shorten

PASSED = {True: "yes", False: "**no**", None: "not checked"}
GAP = "**not provable**"
SHOWN_REJECTS = 5  # on a chunk's artifact; the store has all of them
SHOWN_ERRORS = 20  # of failed pushes


def render_chunk(progress: ChunkProgress, rejects: Sequence[DeadLetter]) -> str:
    """Render a chunk as Markdown: its counts and its first rejects, with positions and reasons."""
    counts = [
        ("Positions", progress.chunk.label),
        ("Fetched", progress.fetched),
        ("Loaded", progress.loaded),
        ("Rejected", progress.rejected),
        ("Trimmed", progress.trimmed),
        ("Filtered", progress.filtered),
        ("Seconds", f"{progress.seconds:.2f}"),
        ("Task attempts", progress.attempts),
        ("Requests", progress.requests),
        ("Retried", progress.retried),
        ("Throttled", progress.throttled),
    ]
    lines = ["| Chunk | |", "| --- | ---: |", *(f"| {name} | {value} |" for name, value in counts)]
    if rejects:
        lines += ["", f"**First {len(rejects)} of {progress.rejected} rejects**", ""]
        lines += ["| Position | Reasons | Record |", "| ---: | --- | --- |"]
        lines += [_reject_row(letter) for letter in rejects]
    return "\n".join(lines)


def _reject_row(letter: DeadLetter) -> str:
    reasons = escape("; ".join(map(str, letter.reasons)))
    return f"| {letter.position} | {reasons} | {escape(shorten(letter.record_json))} |"


def render_table(chunks: Iterable[ChunkProgress]) -> list[dict[str, Any]]:
    """Render a run as a table with a row per chunk: first those that have not landed, in order."""
    return [
        {
            "chunk": progress.chunk.index,
            "positions": progress.chunk.label,
            "state": str(progress.state),
            "error": escape(shorten(progress.error)) if progress.error else "",
            "fetched": progress.fetched,
            "loaded": progress.loaded,
            "rejected": progress.rejected,
            "trimmed": progress.trimmed,
            "filtered": progress.filtered,
            "attempts": progress.attempts,
            "requests": progress.requests,
            "throttled": progress.throttled,
            "seconds": round(progress.seconds, 3),
        }
        for progress in sorted(chunks, key=lambda progress: progress.state is ChunkState.LANDED)
    ]


def render_report(report: RunReport, chunks: Sequence[ChunkProgress] = ()) -> str:
    """Render a run as Markdown: the verdict, the counts, and each check of the proof with its detail.

    If it failed, what failed and what to do next comes first.
    """
    outcome = "published" if report.published else "nothing published"
    lines = [
        f"# {escape(report.label)} from {report.source}: {report.verdict}, {outcome}",
        "",
        f"Window {report.window}, run `{report.run_id}`{_mapped_by(report)}",
        "",
        *_what_failed(report, chunks),
        "| Records | | Requests | |",
        "| --- | ---: | --- | ---: |",
        f"| Reported by the source | {report.total} | Sent | {report.requests} |",
        f"| Fetched | {report.fetched} | Retried | {report.retried} |",
        f"| Loaded | {report.loaded} | Throttled | {report.throttled} |",
        f"| Rejected | {report.rejected} | Chunks | {report.chunks} |",
        f"| Trimmed | {report.trimmed} | Seconds | {report.seconds:.1f} |",
        f"| Filtered | {report.filtered} | Loop lag p99, ms | {report.loop_lag_p99_ms} |",
        "",
        "| Check | Passed | Detail |",
        "| --- | --- | --- |",
        *(f"| {check.name} | {_result_of(check)} | {escape(check.detail)} |" for check in report.checks),
    ]
    lines += [line for warning in report.warnings for line in ("", f"Warning: {escape(warning)}")]
    if report.new_fields:
        lines += [
            "",
            "Fields that the spec does not map, new since the last published window:",
            "",
        ]
        lines += [f"- {escape(shorten(name))}: {report.extra_fields[name]}" for name in report.new_fields]
    return "\n".join(lines)


def _what_failed(report: RunReport, chunks: Sequence[ChunkProgress]) -> list[str]:
    """Return what an operator needs first: what failed, and the next step."""
    outcome = outcome_of(report, ())  # the errors of chunks follow in a table
    if not outcome.is_failed:
        return []
    lines = ["## What failed", "", escape(outcome.message.strip()), ""]
    if failed := [each for each in chunks if each.error and each.state is not ChunkState.LANDED]:
        lines += ["| Chunk | Positions | Error |", "| ---: | --- | --- |"]
        lines += [f"| {each.chunk.index} | {each.chunk.label} | {escape(shorten(each.error or ''))} |"
                  for each in failed[:SHOWN_ERRORS]]  # fmt: skip
        lines += [f"| | {len(failed) - SHOWN_ERRORS} more | |"] if len(failed) > SHOWN_ERRORS else []
        lines += [""]
    return [*lines, "## Next step", "", *_next_step(report), ""]


def _next_step(report: RunReport) -> list[str]:
    """Return the commands that continue a failed run."""
    again = f"`python -m flows sync`, with the options of this run and `--resume {report.run_id}`"
    if report.flow_run_id is None:
        return [f"- {again}"]
    return [
        f"- of a deployment: Retry in the UI, or `prefect flow-run retry {report.flow_run_id}`",
        f"- of the command line: {again}",
    ]


def _result_of(check: Check) -> str:
    return GAP if check.is_gap and check.passed is None else PASSED[check.passed]


def _mapped_by(report: RunReport) -> str:
    if report.master is None:
        return ""
    by = f"{report.master.source}, version `{report.master.version}`"
    return f", SKUs mapped by the master {by}: {report.unknown_skus} unknown to it"


def render_push(run: SyncRun, report: PushReport) -> str:
    """Render a push as Markdown: what the engine accepted, and why chunks failed."""
    pushed = report.chunks - len(report.failed_chunks)
    lines = [
        f"# {escape(run.warehouse)} from {run.source} to {report.engine}: {pushed} of {report.chunks} chunks",
        "",
        f"Window {run.window}, run `{run.id}`",
        "",
        "| Records | |",
        "| --- | ---: |",
        f"| Accepted | {report.accepted} |",
        f"| Rejected: dead letters of stage `push` | {report.rejected} |",
        f"| Removed | {report.removed} |",
    ]
    if report.kind is PushKind.WITHHELD:
        lines += ["", f"Nothing was sent: {WITHHELD}."]
    if report.errors:
        lines += ["", "Failed chunks; Retry pushes only what is left:", ""]
        lines += [f"- {escape(shorten(error))}" for error in report.errors[:SHOWN_ERRORS]]
    return "\n".join(lines)


async def publish_push(run: SyncRun, report: PushReport) -> None:
    """Publish an artifact of a push under the stable key of its source and warehouse."""
    with ignoring_artifact_errors():
        await acreate_markdown_artifact(
            render_push(run, report),
            key=artifact_key("push", run.source, run.warehouse),
            description=f"{escape(run.warehouse)}: the push",
        )


async def publish_chunk(progress: ChunkProgress, rejects: Sequence[DeadLetter]) -> None:
    """Publish a chunk on its own task run, unkeyed: a key per chunk would fill the Artifacts page forever."""
    with ignoring_artifact_errors():
        await acreate_markdown_artifact(
            render_chunk(progress, rejects[:SHOWN_REJECTS]), description=f"Chunk {progress.chunk.label}"
        )


async def publish_run(report: RunReport, chunks: Sequence[ChunkProgress]) -> None:
    """Publish a table with a row per chunk and a summary, under the keys of the source and warehouse."""
    with ignoring_artifact_errors():
        await acreate_table_artifact(
            render_table(chunks),
            key=artifact_key("chunks", report.source, report.warehouse),
            description=f"{escape(report.label)}: a row per chunk",
        )
    with ignoring_artifact_errors():
        await acreate_markdown_artifact(
            render_report(report, chunks),
            key=artifact_key("summary", report.source, report.warehouse),
            description=f"{escape(report.label)}",
        )

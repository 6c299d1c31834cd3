"""What operators see in the Prefect UI: pure rendering of results, and the calls that publish them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from prefect.artifacts import (
    acreate_markdown_artifact,
    acreate_table_artifact,
)

from flows.artifacts.markdown import escape, ignoring_artifact_errors
from sku_velocity.model.chunk import ChunkProgress
from sku_velocity.model.movement import DeadLetter
from sku_velocity.model.run import PushReport, RunReport, SyncRun
from sku_velocity.model.window import Window
from sku_velocity.steps.backfill import BackfillReport
from sku_velocity.text import shorten

PASSED = {True: "yes", False: "**no**", None: "not checked"}
SHOWN_REJECTS = 5  # on a chunk's artifact; all of them stand in the store
SHOWN_ERRORS = 20  # of failed pushes


def render_chunk(progress: ChunkProgress, rejects: Sequence[DeadLetter]) -> str:
    """A chunk as Markdown: its counts and its first rejects, each with its place and its reasons."""
    counts = [
        ("Positions", progress.chunk.label),
        ("Fetched", progress.fetched),
        ("Loaded", progress.loaded),
        ("Rejected", progress.rejected),
        ("Trimmed", progress.trimmed),
        ("Seconds", f"{progress.seconds:.2f}"),
        ("Task attempts", progress.attempts),
        ("Requests", progress.requests),
        ("Sent again", progress.retried),
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
    """A run as a table: one row per chunk, in the order of the window."""
    return [
        {
            "chunk": progress.chunk.index,
            "positions": progress.chunk.label,
            "state": str(progress.state),
            "fetched": progress.fetched,
            "loaded": progress.loaded,
            "rejected": progress.rejected,
            "trimmed": progress.trimmed,
            "attempts": progress.attempts,
            "requests": progress.requests,
            "throttled": progress.throttled,
            "seconds": round(progress.seconds, 3),
            "error": escape(shorten(progress.error)) if progress.error else "",
        }
        for progress in chunks
    ]


def render_report(report: RunReport) -> str:
    """A run as Markdown: the verdict, the counts, and each check of the proof with what it found."""
    window = _window_of(report)
    outcome = "published" if report.published else "nothing published"
    lines = [
        f"# {escape(report.label)} from {report.source}: {report.verdict}, {outcome}",
        "",
        f"Window {window}, run `{report.flow_run_id}`{_mapped_by(report)}",
        "",
        "| Records | | Requests | |",
        "| --- | ---: | --- | ---: |",
        f"| Promised by the source | {report.total} | Sent | {report.requests} |",
        f"| Fetched | {report.fetched} | Sent again | {report.retried} |",
        f"| Loaded | {report.loaded} | Throttled | {report.throttled} |",
        f"| Rejected | {report.rejected} | Chunks | {report.chunks} |",
        f"| Trimmed | {report.trimmed} | Seconds | {report.seconds:.1f} |",
        f"| Filtered | {report.filtered} | Loop lag p99, ms | {report.loop_lag_p99_ms} |",
        "",
        "| Check | Passed | Detail |",
        "| --- | --- | --- |",
        *(f"| {check.name} | {PASSED[check.passed]} | {check.detail} |" for check in report.checks),
    ]
    if report.extra_fields:
        lines += ["", "Fields that the spec does not map (schema drift):", ""]
        lines += [f"- {escape(shorten(name))}: {count}" for name, count in report.extra_fields.items()]
    return "\n".join(lines)


def _mapped_by(report: RunReport) -> str:
    if report.master is None:
        return ""
    by = f"{report.master.source}, version `{report.master.version}`"
    return f", SKUs mapped by the master {by}: {report.unknown_skus} unknown to it"


def _window_of(report: RunReport) -> str:
    if report.start is None or report.end is None:
        return "everything"
    return str(Window(report.start, report.end))


def render_push(run: SyncRun, report: PushReport) -> str:
    """A push as Markdown: what the engine took, and of each failed chunk why."""
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
    ]
    if report.errors:
        lines += ["", "Failed chunks; Retry pushes only what is left:", ""]
        lines += [f"- {escape(shorten(error))}" for error in report.errors[:SHOWN_ERRORS]]
    return "\n".join(lines)


async def publish_push(run: SyncRun, report: PushReport) -> None:
    """Show a push under its source's stable key."""
    with ignoring_artifact_errors():
        await acreate_markdown_artifact(
            render_push(run, report),
            key=f"{run.source}-push",
            description=f"{escape(run.warehouse)}: the push",
        )


async def publish_chunk(progress: ChunkProgress, rejects: Sequence[DeadLetter]) -> None:
    """Show a chunk on its own task run, unkeyed: a key a chunk would fill the Artifacts page for ever."""
    with ignoring_artifact_errors():
        await acreate_markdown_artifact(
            render_chunk(progress, rejects[:SHOWN_REJECTS]), description=f"Chunk {progress.chunk.label}"
        )


async def publish_run(report: RunReport, chunks: Sequence[ChunkProgress]) -> None:
    """Show a run under its source's stable keys: a table with a row per chunk, and a summary."""
    with ignoring_artifact_errors():
        await acreate_table_artifact(
            render_table(chunks),
            key=f"{report.source}-chunks",
            description=f"{escape(report.label)}: a row per chunk",
        )
    with ignoring_artifact_errors():
        await acreate_markdown_artifact(
            render_report(report), key=f"{report.source}-summary", description=f"{escape(report.label)}"
        )


def render_backfill(report: BackfillReport) -> list[dict[str, Any]]:
    """A backfill as a table: one row per window, in the order of reading."""
    return [
        {
            "warehouse": escape(outcome.warehouse),
            "window": str(Window(outcome.start, outcome.end)),
            "published": "yes" if outcome.published else "no",
            "message": escape(shorten(outcome.message)),
            "run": outcome.flow_run_id or "",
        }
        for outcome in report.windows
    ]


async def publish_backfill(report: BackfillReport) -> None:
    """Show a backfill under its source's stable key: a table with a row per window."""
    left = f"{len(report.left)} of {len(report.windows)} windows are left"
    with ignoring_artifact_errors():
        await acreate_table_artifact(
            render_backfill(report), key=f"{report.source}-backfill", description=left
        )

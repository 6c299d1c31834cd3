"""The artifact of rejects by reason, each with a sample and its location."""

from __future__ import annotations

from collections.abc import Sequence

from prefect.artifacts import acreate_markdown_artifact

from flows.artifacts.markdown import escape
from sku_velocity.model.dead_letter import VALIDATION, DeadLetterFilter, DeadLetterState, RejectGroup
from sku_velocity.model.run import RunReport
from sku_velocity.output.names import artifact_key
from sku_velocity.store import Store
from sku_velocity.text import shorten

SHOWN_GROUPS = 20
SHOWN_NAME = 80  # characters of a warehouse's name


def render_rejects(title: str, total: int, groups: Sequence[RejectGroup]) -> str:
    """Render rejects by reason as Markdown, most records first. Each record counts once."""
    lines = [
        f"# {total} {title}",
        "",
        "`sku-velocity dead-letters` lists, exports and discards them; `sku-velocity replay` publishes "
        "those that are valid under a fixed spec.",
        "",
        "| Records | Reasons | Sample | Location |",
        "| ---: | --- | --- | --- |",
        *map(_row, groups),
    ]
    if rest := total - sum(each.count for each in groups):
        lines += ["", f"and {rest} for other reasons"]
    return "\n".join(lines)


def _row(group: RejectGroup) -> str:
    sample = group.sample
    place = f"{escape(shorten(sample.warehouse, SHOWN_NAME))} from {escape(sample.source)}, {sample.window}, "
    place += f"position {sample.letter.position}, run `{sample.run}`"
    reasons, record = escape(shorten(sample.reasons)), escape(shorten(sample.letter.record_json))
    return f"| {group.count} | {reasons} | {record} | {place} |"


async def publish_rejects(store: Store, source: str, title: str, criteria: DeadLetterFilter) -> None:
    """Publish an artifact of the matching letters under their source's stable key."""
    groups, total = (
        await store.dead_letters.by_reason(criteria, SHOWN_GROUPS),
        await store.dead_letters.count(criteria),
    )
    await acreate_markdown_artifact(
        render_rejects(title, total, groups),
        key=artifact_key("rejects", source),
        description="Rejects by reason",
    )


async def publish_window_rejects(store: Store, report: RunReport) -> None:
    """Publish an artifact of the rejects of one window."""
    title = f"rejects of {escape(report.label)} from {report.source}"
    criteria = DeadLetterFilter(run=report.run_id, stage=VALIDATION, state=DeadLetterState.OPEN)
    await publish_rejects(store, report.source, title, criteria)


async def publish_open_rejects(store: Store, source: str) -> None:
    """Publish an artifact of the work left for a source: the open letters of published windows."""
    criteria = DeadLetterFilter(
        source=source, stage=VALIDATION, state=DeadLetterState.OPEN, is_published=True
    )
    await publish_rejects(store, source, f"open dead letters of {source}", criteria)

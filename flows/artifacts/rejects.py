"""The artifact of rejects by reason, each with a sample and its place."""

from __future__ import annotations

from collections.abc import Sequence

from prefect.artifacts import acreate_markdown_artifact

from flows.artifacts.markdown import escape
from sku_velocity.model.dead_letter import VALIDATION, DeadLetterFilter, DeadLetterState, RejectGroup
from sku_velocity.store import Store
from sku_velocity.text import shorten

SHOWN_GROUPS = 20
SHOWN_NAME = 80  # characters of a warehouse's name


def render_rejects(title: str, total: int, groups: Sequence[RejectGroup]) -> str:
    """Rejects by reason as Markdown, those with most records first; each record counts once."""
    lines = [
        f"# {total} {title}",
        "",
        "`python -m flows dead-letters` lists, exports and discards them; `python -m flows replay` publishes "
        "those that a mended spec lets pass.",
        "",
        "| Records | Reasons | A sample | Its place |",
        "| ---: | --- | --- | --- |",
        *map(_row, groups),
    ]
    if rest := total - sum(each.count for each in groups):
        lines += ["", f"and {rest} for other reasons"]
    return "\n".join(lines)


def _row(group: RejectGroup) -> str:
    kept = group.sample
    place = f"{escape(shorten(kept.warehouse, SHOWN_NAME))} from {escape(kept.source)}, {kept.window}, "
    place += f"position {kept.letter.position}, run `{kept.run}`"
    reasons, record = escape(shorten(kept.reasons)), escape(shorten(kept.letter.record_json))
    return f"| {group.count} | {reasons} | {record} | {place} |"


async def publish_rejects(store: Store, source: str, title: str, wanted: DeadLetterFilter) -> None:
    """Show these letters under their source's stable key."""
    groups, total = await store.letters.by_reason(wanted, SHOWN_GROUPS), await store.letters.count(wanted)
    await acreate_markdown_artifact(
        render_rejects(title, total, groups), key=f"{source}-rejects", description="Rejects by reason"
    )


async def publish_open_rejects(store: Store, source: str) -> None:
    """Show what is left to do of a source: the open letters of what shows."""
    wanted = DeadLetterFilter(source=source, stage=VALIDATION, state=DeadLetterState.OPEN, is_published=True)
    await publish_rejects(store, source, f"open dead letters of {source}", wanted)

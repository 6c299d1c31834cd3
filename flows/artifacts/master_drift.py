"""Where a master and the movements drift apart: pure rendering, and the artifact and event that tell it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

from prefect.artifacts import acreate_markdown_artifact
from prefect.events import emit_event

from flows.artifacts.markdown import escape
from sku_velocity.model.chunk import ChunkProgress
from sku_velocity.model.master import MasterChanges
from sku_velocity.model.run import RunReport, unknown_skus
from sku_velocity.text import shorten

DRIFT_EVENT = "sku-velocity.master.drift"
SHOWN = 50  # rows of a kind on an artifact
TOLD = 20  # names of a kind in an event
SHOWN_CHARACTERS = 80  # of a name, which came from outside and may be a megabyte


def render_unknown(report: RunReport, unknown: Counter[str]) -> str:
    """The SKUs of a window that its master does not know, those with most movements first, as Markdown."""
    assert report.master is not None
    fate = "rejected" if report.master.unknown_sku == "reject" else "let pass"
    lines = [
        f"# {len(unknown)} SKUs of {escape(report.label)} are not in the master {report.master.source}",
        "",
        f"Run `{report.flow_run_id}`, master version `{report.master.version}`. "
        f"Their {unknown.total()} movements were {fate}.",
        "",
        "| SKU | Movements |",
        "| --- | ---: |",
    ]
    lines += [f"| {_name(sku)} | {count} |" for sku, count in unknown.most_common(SHOWN)]
    return "\n".join(lines + _rest(len(unknown)))


def render_changes(source: str, version: str, changes: MasterChanges) -> str:
    """What changed in a master since the version before, as Markdown."""
    lines = [f"# The master {source} has changed", "", f"Version `{version}`; {changes.added} new names."]
    lines += _section("Names that mean another item now", ("Name", "Before", "Now"), changes.moved)
    lines += _section("Names that mean no item any more", ("Name", "Before"), changes.gone)
    lines += _section("Items that were retired", ("SKU",), [(sku,) for sku in changes.retired])
    return "\n".join(lines)


def _section(title: str, columns: Sequence[str], rows: Sequence[tuple[str, ...]]) -> list[str]:
    if not rows:
        return []
    head = ["", f"**{title}: {len(rows)}**", "", f"| {' | '.join(columns)} |", "| --- " * len(columns) + "|"]
    shown = [f"| {' | '.join(map(_name, row))} |" for row in rows[:SHOWN]]
    return [*head, *shown, *_rest(len(rows))]


def _rest(count: int) -> list[str]:
    return ["", f"and {count - SHOWN} more"] if count > SHOWN else []


def _name(text: str) -> str:
    return escape(shorten(text, SHOWN_CHARACTERS))


def _shortened(names: Iterable[str]) -> list[str]:
    return [shorten(name, SHOWN_CHARACTERS) for name in names]


async def publish_window_drift(report: RunReport, chunks: Sequence[ChunkProgress]) -> None:
    """Tell of the SKUs of a window that its master does not know, where there are any."""
    unknown = unknown_skus(chunks)
    if report.master is None or not unknown:
        return
    told = {
        "warehouse": report.warehouse,
        "run": report.flow_run_id,
        "unknown_skus": len(unknown),
        "movements": unknown.total(),
        "most": {shorten(sku, SHOWN_CHARACTERS): count for sku, count in unknown.most_common(TOLD)},
    }
    await _publish(
        report.master.source,
        f"{report.source}-unknown-skus",
        render_unknown(report, unknown),
        {"version": report.master.version, **told},
    )


async def publish_master_drift(source: str, version: str, changes: MasterChanges) -> None:
    """Tell of what a new version of a master maps otherwise than the one before, where there is any."""
    if not changes.is_drift:
        return
    told = {
        "moved": [_shortened(row) for row in changes.moved[:TOLD]],
        "gone": [_shortened(row) for row in changes.gone[:TOLD]],
        "retired": _shortened(changes.retired[:TOLD]),
        "counts": {name: len(getattr(changes, name)) for name in ("moved", "gone", "retired")},
    }
    await _publish(
        source,
        f"{source}-master-changes",
        render_changes(source, version, changes),
        {"version": version, **told},
    )


async def _publish(master: str, key: str, markdown: str, payload: dict[str, Any]) -> None:
    await acreate_markdown_artifact(markdown, key=key, description=f"Drift against the master {master}")
    resource = {"prefect.resource.id": f"sku-velocity.master.{master}", "prefect.resource.name": master}
    emit_event(DRIFT_EVENT, resource, payload=payload)

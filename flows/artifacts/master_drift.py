"""Drift between a master and the movements: pure rendering, and the artifact and event that report it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

from prefect.artifacts import acreate_markdown_artifact

from flows.artifacts.events import MappingsChanged, Payload, UnknownSkus, emit
from flows.artifacts.markdown import escape
from sku_velocity.model.chunk import ChunkProgress
from sku_velocity.model.master import MasterChanges
from sku_velocity.model.run import RunReport, unknown_skus
from sku_velocity.output.names import artifact_key
from sku_velocity.text import shorten

SHOWN = 50  # rows of a kind on an artifact
IN_EVENT = 20  # names of a kind in an event
SHOWN_CHARACTERS = 80  # of a name, which is external and may be a megabyte long


def render_unknown(report: RunReport, unknown: Counter[str]) -> str:
    """Render the SKUs of a window that its master does not know as Markdown, most movements first."""
    assert report.master is not None
    result = "rejected" if report.master.unknown_sku == "reject" else "passed through"
    lines = [
        f"# {len(unknown)} SKUs of {escape(report.label)} are not in the master {report.master.source}",
        "",
        f"Run `{report.run_id}`, master version `{report.master.version}`. "
        f"Their {unknown.total()} movements were {result}.",
        "",
        "| SKU | Movements |",
        "| --- | ---: |",
    ]
    lines += [f"| {_name(sku)} | {count} |" for sku, count in unknown.most_common(SHOWN)]
    return "\n".join(lines + _rest(len(unknown)))


def render_changes(source: str, version: str, changes: MasterChanges) -> str:
    """Render what changed in a master since the previous version as Markdown."""
    lines = [f"# The master {source} has changed", "", f"Version `{version}`; {changes.added} new names."]
    lines += _section("Names that now mean another item", ("Name", "Before", "Now"), changes.moved)
    lines += _section("Names that no longer mean an item", ("Name", "Before"), changes.gone)
    lines += _section("Retired items", ("SKU",), [(sku,) for sku in changes.retired])
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
    """Report the SKUs of a window that its master does not know, if there are any."""
    unknown = unknown_skus(chunks)
    if report.master is None or not unknown:
        return
    most = unknown.most_common(IN_EVENT)
    payload = UnknownSkus(
        version=report.master.version,
        warehouse=report.warehouse,
        run_id=report.run_id,
        flow_run_id=report.flow_run_id,
        unknown_skus=len(unknown),
        movements=unknown.total(),
        most={shorten(sku, SHOWN_CHARACTERS): count for sku, count in most},
    )
    await _publish(
        report.master.source,
        artifact_key("unknown-skus", report.source, report.warehouse),
        render_unknown(report, unknown),
        payload,
    )


async def publish_master_drift(source: str, version: str, changes: MasterChanges) -> None:
    """Report what a new master version maps differently from the previous one, if anything."""
    if not changes.is_drift:
        return
    payload = MappingsChanged(
        version=version,
        moved=[_shortened(row) for row in changes.moved[:IN_EVENT]],
        gone=[_shortened(row) for row in changes.gone[:IN_EVENT]],
        retired=_shortened(changes.retired[:IN_EVENT]),
        counts={name: len(getattr(changes, name)) for name in ("moved", "gone", "retired")},
    )
    await _publish(
        source,
        artifact_key("master-changes", source),
        render_changes(source, version, changes),
        payload,
    )


async def _publish(master: str, key: str, markdown: str, payload: Payload) -> None:
    await acreate_markdown_artifact(markdown, key=key, description=f"Drift against the master {master}")
    resource = {"prefect.resource.id": f"sku-velocity.master.{master}", "prefect.resource.name": master}
    emit(payload, resource)

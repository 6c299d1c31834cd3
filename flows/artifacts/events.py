"""The events that report a window's result to automations."""

from __future__ import annotations

from prefect.events import emit_event

from sku_velocity.model.run import RunReport
from sku_velocity.text import one_line, shorten

INCOMPLETE_EVENT = "sku-velocity.window.incomplete"
REJECTS_EVENT = "sku-velocity.window.rejects"
REVISED_EVENT = "sku-velocity.window.revised"
SHOWN_NAME = 80  # characters of a warehouse's name


def emit_window_events(report: RunReport) -> None:
    """Emit an event for a window that was not proven whole, that has rejects, or whose rows were replaced."""
    broken = [check.name for check in report.checks if check.passed is False]
    if broken:
        _emit(INCOMPLETE_EVENT, report, failed_chunks=len(report.failed_chunks), broken=broken)
    if report.rejected:
        _emit(REJECTS_EVENT, report, published=report.published)
    replaced = {"added": report.added, "changed": report.changed, "removed": report.removed}
    if any(replaced.values()):
        _emit(REVISED_EVENT, report, publication=report.publication, cause=report.cause, **replaced)


def run_ids(report: RunReport) -> dict[str, str]:
    """Return the ids of a run for an event's payload: its own, and that of its flow run if it has one."""
    ids = {"run_id": report.run_id, "flow_run_id": report.flow_run_id}
    return {name: value for name, value in ids.items() if value is not None}


def _emit(event: str, report: RunReport, **more: object) -> None:
    label = shorten(one_line(report.label), SHOWN_NAME)
    payload = {
        **run_ids(report),
        "source": report.source,
        "warehouse": label,
        "start": report.start and report.start.isoformat(),
        "end": report.end and report.end.isoformat(),
        "fetched": report.fetched,
        "loaded": report.loaded,
        "rejected": report.rejected,
    }
    resource = {
        "prefect.resource.id": f"sku-velocity.window.{report.source}.{label}",
        "prefect.resource.name": f"{label} from {report.source}",
        "sku-velocity.source": report.source,
        "sku-velocity.warehouse": label,
    }
    emit_event(event, resource, payload=payload | more)

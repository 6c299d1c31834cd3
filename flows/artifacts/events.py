"""The events of ours: their payloads, and how they are emitted. docs/events.md lists them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, datetime
from typing import Any, ClassVar

import httpx
from prefect.client.orchestration import get_client
from prefect.events import emit_event
from pydantic import BaseModel, ConfigDict, Field

from sku_velocity.model.publication import Cause
from sku_velocity.model.run import RunReport, Verdict
from sku_velocity.model.status import Freshness
from sku_velocity.model.velocity_report import ClassChange, VelocityReport
from sku_velocity.text import one_line, shorten

SHOWN_NAME = 80  # characters of a warehouse's name
NAMED_SKUS = 20
NAMED_CHANGES = 20  # kinds of class changes


class Payload(BaseModel):
    """The payload of an event. Instants are ISO 8601 in UTC."""

    EVENT: ClassVar[str]
    model_config = ConfigDict(frozen=True)


class _OfRun(Payload):
    run_id: str = Field(description="the sync run, for `--resume` and `--run`")
    flow_run_id: str | None = Field(description="the Prefect flow run that planned it; null if none did")


class _OfWindow(_OfRun):
    source: str = Field(description="the name in the spec")
    warehouse: str = Field(description="the warehouse, or `items` for a master")
    start: datetime | None = Field(description="the start of the window; null if it is everything")
    end: datetime | None = Field(description="the end of the window, exclusive; null if it is everything")
    fetched: int = Field(description="records read from the source")
    loaded: int = Field(description="rows stored")
    rejected: int = Field(description="records kept as dead letters")


class WindowPublished(_OfWindow):
    """A window was published by a run that read it: for the first time, or in place of what was published."""

    EVENT = "sku-velocity.window.published"
    verdict: Verdict = Field(description="`complete`, `repaired` or `unproven`")
    publication: int = Field(description="the number of the publication (docs/consumers.md)")
    cause: Cause = Field(description="`first`, `revision` (the source has changed) or `spec`")


class WindowRevised(_OfWindow):
    """Published rows were replaced by others, because the source or the spec has changed."""

    EVENT = "sku-velocity.window.revised"
    publication: int = Field(description="the number of the publication")
    cause: Cause = Field(description="`revision` or `spec`")
    added: int = Field(description="rows that were not published before")
    changed: int = Field(description="rows that were published with other values")
    removed: int = Field(description="rows that are not published any more")


class WindowIncomplete(_OfWindow):
    """A window was not proven whole: nothing was published, and what was published before remains."""

    EVENT = "sku-velocity.window.incomplete"
    failed_chunks: int = Field(description="chunks that were not read")
    broken: list[str] = Field(description="the checks of the proof that failed")


class WindowRejects(_OfWindow):
    """A window has rejected records, whether it was published or not."""

    EVENT = "sku-velocity.window.rejects"
    published: bool = Field(description="whether the window was published")


class WarehouseLate(Payload):
    """The next window of a warehouse is overdue. Emitted once until newer movements are published."""

    EVENT = "sku-velocity.window.late"
    source: str = Field(description="the name in the spec")
    warehouse: str = Field(description="the warehouse")
    complete_until: datetime = Field(description="the end of what is published")
    lag_seconds: int = Field(description="seconds since then")
    late_warehouses: int = Field(description="late warehouses of the source, of those that the run reads")


class ClassesChanged(Payload):
    """A refresh of velocity has changed the classes of SKUs, compared with the refresh of an earlier day."""

    EVENT = "sku-velocity.velocity.classes_changed"
    source: str = Field(description="the name in the spec")
    warehouse: str = Field(description="the warehouse")
    as_of: date = Field(description="the day of the refresh, in the warehouse's time zone")
    compared_with: date = Field(description="the day of the earlier refresh")
    changed: int = Field(description="SKUs whose classes have changed")
    counts: dict[str, int] = Field(
        description=f"SKUs by change, as in `ABX > BBX`, the {NAMED_CHANGES} most frequent; `none` if a SKU "
        "was absent in one of the two"
    )
    skus: list[ClassChange] = Field(
        description=f"the first {NAMED_SKUS} by lines: `sku_id`, `before`, `after` (ABC by lines, ABC by "
        "units, XYZ)"
    )


class UnknownSkus(_OfRun):
    """A window has SKUs that its master does not know."""

    EVENT = "sku-velocity.master.drift"
    version: str = Field(description="the version of the master: the run that published it")
    warehouse: str = Field(description="the warehouse")
    unknown_skus: int = Field(description="different SKUs that the master does not know")
    movements: int = Field(description="their movements")
    most: dict[str, int] = Field(description="movements by SKU, the 20 most frequent")


class MappingsChanged(Payload):
    """A new version of a master maps names differently from the previous one."""

    EVENT = "sku-velocity.master.drift"
    version: str = Field(description="the new version: the run that published it")
    moved: list[list[str]] = Field(
        description="names that now mean another item: name, before, now; first 20"
    )
    gone: list[list[str]] = Field(description="names that mean no item any more: name, before; first 20")
    retired: list[str] = Field(description="items that were retired; first 20")
    counts: dict[str, int] = Field(description="the full number of `moved`, `gone` and `retired`")


PAYLOADS: tuple[type[Payload], ...] = (
    WindowPublished,
    WindowRevised,
    WindowIncomplete,
    WindowRejects,
    WarehouseLate,
    ClassesChanged,
    UnknownSkus,
    MappingsChanged,
)


def emit_window_events(report: RunReport) -> None:
    """Emit what happened to a window: published, revised, not proven whole, or with rejects."""
    label = _shown(report.label)
    values = report.model_dump() | {"warehouse": label}
    found: list[Payload] = []
    broken = [check.name for check in report.checks if check.passed is False]
    if broken:
        found.append(
            WindowIncomplete(**values | {"failed_chunks": len(report.failed_chunks), "broken": broken})
        )
    if report.rejected:
        found.append(WindowRejects(**values))
    if report.publication is not None:
        found.append(WindowPublished(**values))
        if report.added or report.changed or report.removed:
            found.append(WindowRevised(**values))
    for payload in found:
        emit(payload, _resource("window", report.source, label))


async def emit_late(late: Sequence[Freshness], now: datetime) -> None:
    """Emit an event for each of these late warehouses of a source, unless that was done before.

    It was if such an event is younger than what is published. Prefect keeps events for a week by default;
    after that, a warehouse that is still late has another one.
    """
    since = min(each.complete_until for each in late)
    events = await find_events(WarehouseLate.EVENT, {"sku-velocity.source": [late[0].source]}, since)
    emitted = {_resource_id(event): datetime.fromisoformat(event["occurred"]) for event in reversed(events)}
    for each in late:
        label = _shown(each.warehouse)
        resource = _resource("window", each.source, label)
        last = emitted.get(resource["prefect.resource.id"])
        if last is None or last < each.complete_until:
            payload = WarehouseLate(
                source=each.source,
                warehouse=label,
                complete_until=each.complete_until,
                lag_seconds=round(each.lag(now).total_seconds()),
                late_warehouses=len(late),
            )
            emit(payload, resource)


async def emit_class_changes(report: VelocityReport) -> None:
    """Emit an event for changed classes, unless a refresh of the same day has reported the same changes."""
    if report.compared_with is None or not report.changed:
        return
    payload = ClassesChanged(
        source=report.source,
        warehouse=_shown(report.warehouse),
        as_of=report.as_of,
        compared_with=report.compared_with,
        changed=report.changed,
        counts=dict(list(report.change_counts.items())[:NAMED_CHANGES]),
        skus=report.changes[:NAMED_SKUS],
    )
    resource = _resource("velocity", report.source, payload.warehouse)
    before = await find_events(payload.EVENT, {"prefect.resource.id": [resource["prefect.resource.id"]]})
    if payload.model_dump(mode="json") not in [event["payload"] for event in before]:
        emit(payload, resource)


def emit(payload: Payload, resource: dict[str, str]) -> None:
    """Emit an event about a resource. It is related to the flow run, and so to the tags of that."""
    emit_event(payload.EVENT, resource, payload=payload.model_dump(mode="json"))


async def find_events(event: str, labels: dict[str, list[str]], since: datetime | None = None) -> list[Any]:
    """Return the events of a name about resources with these labels, the newest first."""
    criteria: dict[str, Any] = {"event": {"name": [event]}, "resource": {"labels": labels}}
    if since is not None:
        criteria["occurred"] = {"since": since.isoformat()}
    async with get_client() as client:
        page = (await client.request("POST", "/events/filter", json={"filter": criteria})).json()
        events: list[Any] = page["events"]
        while page["next_page"]:
            token = httpx.URL(page["next_page"]).params["page-token"]
            page = (await client.request("GET", "/events/filter/next", params={"page-token": token})).json()
            events += page["events"]
    return events


def _resource_id(event: Any) -> str:
    return str(event["resource"]["prefect.resource.id"])


def _resource(kind: str, source: str, label: str) -> dict[str, str]:
    return {
        "prefect.resource.id": f"sku-velocity.{kind}.{source}.{label}",
        "prefect.resource.name": f"{label} from {source}",
        "sku-velocity.source": source,
        "sku-velocity.warehouse": label,
    }


def _shown(warehouse: str) -> str:
    return shorten(one_line(warehouse), SHOWN_NAME)

"""Batches to push to a slotting engine, and the progress of a push."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from hashlib import blake2b
from typing import Any, NamedTuple, cast

from sku_velocity.model.movement import MovementRow
from sku_velocity.model.window import Window, iso

# The index of the part of a run, beside its chunks, in which an engine is sent what the run replaced.
REMOVALS = -1

Record = Mapping[str, Any]  # with an `id` that is unique in its batch


@dataclass(frozen=True)
class Batch:
    """Records for one request, and the idempotency key with which the engine takes them once.

    The same records of the same place have the same key and the same body, byte by byte, in any process.
    """

    key: str
    records: tuple[Record, ...]
    body: bytes

    @property
    def ids(self) -> list[str]:
        return [record["id"] for record in self.records]


class PushState(StrEnum):
    """The state of a chunk's push to an engine."""

    BEGUN = "begun"
    PUSHED = "pushed"
    FAILED = "failed"


class PushKind(StrEnum):
    """What of a run an engine is sent: a window that it has nothing of, what differs from the rows that it
    has, the whole window in their place, or nothing, because they only differ by the spec."""

    FIRST = "first"
    CORRECTIONS = "corrections"
    REPLACEMENT = "replacement"
    WITHHELD = "withheld"


@dataclass(frozen=True)
class ChunkPush:
    """A chunk's row in the push ledger. Counts are records, except `batches`, `requests` and `attempts`.

    `batches` counts those with a response, `attempts` the task runs that pushed the chunk;
    `idempotency_key` is that of the latest batch; `error` the last failure's message.
    """

    chunk: int
    state: PushState
    batches: int
    accepted: int
    rejected: int
    requests: int
    attempts: int
    idempotency_key: str | None = None
    error: str | None = None


class RemovedRow(NamedTuple):
    """A row that a run replaced without a successor, as it was published; its position is below 0."""

    position: int
    movement_id: str
    warehouse_id: str
    timestamp_utc: datetime


class ReplacedRun(NamedTuple):
    """A run that was published before in the window of another; its position is below 0."""

    position: int
    run_id: str


PushedRow = MovementRow | RemovedRow | ReplacedRun


@dataclass(frozen=True)
class OpenBatch:
    """A batch that has begun: its number in its chunk, and its rows, one for each record.

    `is_new` is True if it was cut just now, so it cannot have been sent before; `attempt` is the number of
    the attempt at its chunk that cut or read it.
    """

    number: int
    rows: tuple[PushedRow, ...]
    batch: Batch
    is_new: bool
    attempt: int = 1


@dataclass(frozen=True)
class SkuFigures:
    """The current velocity figures of one SKU in one warehouse, by name, as values of JSON.

    All are None if the SKU has no velocity any more.
    """

    warehouse_id: str
    sku_id: str
    values: Mapping[str, Any]

    @property
    def id(self) -> str:
        """The engine's id for it: unique, as a slash in the SKU is escaped."""
        sku = self.sku_id.replace("%", "%25").replace("/", "%2F")
        return f"{self.warehouse_id}/{sku}"


def batch_of(
    source: str,
    run: str,
    place: str,
    warehouse: str,
    ranges: Sequence[Window],
    rows: Sequence[PushedRow],
    fields: Sequence[str] = (),
) -> Batch:
    """Return a batch of a run's rows, all of one kind; movements have these of their details.

    `place` identifies it in the run, as in `3-0`.
    """
    if isinstance(rows[0], RemovedRow):
        return removal_batch(source, run, place, cast(Sequence[RemovedRow], rows))
    if isinstance(rows[0], ReplacedRun):
        runs = [row.run_id for row in cast(Sequence[ReplacedRun], rows)]
        return replacement_batch(source, run, place, warehouse, ranges, runs)
    return movement_batch(source, run, place, cast(Sequence[MovementRow], rows), fields)


def movement_batch(
    source: str, run: str, place: str, rows: Sequence[MovementRow], fields: Sequence[str] = ()
) -> Batch:
    """Return a batch of a run's movements, with these of their details.

    `place` is its chunk and its number there, as in `3-0`.
    """
    records = tuple(_movement_record(run, row, fields) for row in rows)
    return _seal(f"{run}-{place}", {"source": source, "run": run, "records": records}, records)


def removal_batch(source: str, run: str, place: str, rows: Sequence[RemovedRow]) -> Batch:
    """Return a batch of records to delete, each unless the engine holds it with another warehouse or time."""
    removed = tuple(
        {
            "id": row.movement_id,
            "warehouse_id": row.warehouse_id,
            "timestamp_utc": iso(row.timestamp_utc),
        }
        for row in rows
    )
    content = {"source": source, "run": run, "records": [], "removed": removed}
    return _seal(f"{run}-{place}", content, removed)


def replacement_batch(
    source: str, run: str, place: str, warehouse: str, ranges: Sequence[Window], replaced: Sequence[str]
) -> Batch:
    """Return a batch of runs of which to delete all records of a warehouse within time ranges."""
    content = {
        "source": source,
        "run": run,
        "warehouse_id": warehouse,
        "ranges": [{"start": iso(each.start), "end": iso(each.end)} for each in ranges],
        "replaces": replaced,
        "records": [],
    }
    return _seal(f"{run}-{place}", content, tuple({"id": each} for each in replaced))


def class_batch(source: str, revision: int, figures: Sequence[SkuFigures]) -> Batch:
    """Return a batch of SKUs' figures. `revision` counts what was sent for this source before.

    So a figure that returns to an earlier value is sent with another key than before.
    """
    records = tuple(
        {"warehouse_id": each.warehouse_id, "sku_id": each.sku_id, **each.values, "id": each.id}
        for each in figures
    )
    return _seal(f"classes-{source}-{revision}", {"source": source, "records": records}, records)


def _movement_record(run: str, row: MovementRow, fields: Sequence[str]) -> Record:
    details = {name: getattr(row, name) for name in fields}
    if details.get("extra"):
        details["extra"] = json.loads(details["extra"])
    return {
        "id": f"{run}:{row.position}" if row.movement_id is None else row.movement_id,
        "sku_id": row.sku_id,
        "warehouse_id": row.warehouse_id,
        "units_moved": row.units_moved,
        "timestamp_utc": iso(row.timestamp_utc),
        **details,
    }


def _seal(place: str, content: Mapping[str, Any], records: tuple[Record, ...]) -> Batch:
    body = json.dumps(content, separators=(",", ":")).encode()
    return Batch(f"{place}-{blake2b(body, digest_size=12).hexdigest()}", records, body)

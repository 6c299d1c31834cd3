"""Batches to push to a slotting engine, and the progress of a push."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from hashlib import blake2b
from typing import Any

from sku_velocity.model.movement import MovementRow
from sku_velocity.model.window import iso

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


@dataclass(frozen=True)
class OpenBatch:
    """A batch that has begun: its number in its chunk, and its rows, one for each record.

    `is_new` is True if it was cut just now, so it cannot have been sent before; `attempt` is the number of
    the attempt at its chunk that cut or read it.
    """

    number: int
    rows: tuple[MovementRow, ...]
    batch: Batch
    is_new: bool
    attempt: int = 1


@dataclass(frozen=True)
class SkuClass:
    """The current velocity classes of one SKU in one warehouse; None if it has none.

    `abc_lines` is by cumulative share of lines, `abc_units` by units, `xyz` by variation.
    """

    warehouse_id: str
    sku_id: str
    abc_lines: str | None
    abc_units: str | None
    xyz: str | None

    @property
    def id(self) -> str:
        """The engine's id for it. A SKU contains no slash, so ids are unique."""
        return f"{self.warehouse_id}/{self.sku_id}"


def movement_batch(source: str, run: str, place: str, rows: Sequence[MovementRow]) -> Batch:
    """Return a batch of a run's rows. `place` identifies it in the run, as in `3-0`: chunk and number."""
    records = tuple(_movement_record(run, row) for row in rows)
    return _seal(f"{run}-{place}", {"source": source, "run": run}, records)


def class_batch(source: str, revision: int, classes: Sequence[SkuClass]) -> Batch:
    """Return a batch of classes of SKUs. `revision` counts what was sent for this source before.

    So a class that returns to an earlier value is sent with another key than before.
    """
    records = tuple(vars(each) | {"id": each.id} for each in classes)
    return _seal(f"classes-{source}-{revision}", {"source": source}, records)


def _movement_record(run: str, row: MovementRow) -> Record:
    return {
        "id": f"{run}:{row.position}" if row.movement_id is None else row.movement_id,
        "sku_id": row.sku_id,
        "warehouse_id": row.warehouse_id,
        "units_moved": row.units_moved,
        "timestamp_utc": iso(row.timestamp_utc),
    }


def _seal(place: str, head: Mapping[str, str], records: tuple[Record, ...]) -> Batch:
    body = json.dumps({**head, "records": records}, separators=(",", ":")).encode()
    return Batch(f"{place}-{blake2b(body, digest_size=12).hexdigest()}", records, body)

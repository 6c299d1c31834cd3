"""What is pushed to a slotting engine, and how far it has got."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from hashlib import blake2b
from typing import Any

from sku_velocity.model.movement import MovementRow
from sku_velocity.model.window import iso

Record = Mapping[str, Any]  # with an `id` that no other record of its batch bears


@dataclass(frozen=True)
class Batch:
    """Records for one request, and the key under which the engine takes them once.

    The same records of the same place have the same key and the same body, byte by byte, in any process.
    """

    key: str
    records: tuple[Record, ...]
    body: bytes

    @property
    def ids(self) -> list[str]:
        return [record["id"] for record in self.records]


class PushState(StrEnum):
    """How far a chunk is on its way to an engine."""

    BEGUN = "begun"
    PUSHED = "pushed"
    FAILED = "failed"


@dataclass(frozen=True)
class ChunkPush:
    """A chunk's row in the push ledger. Counts are records, except `batches`, `requests` and `attempts`.

    `batches` counts those that were answered, `attempts` the times that a task run set about the chunk;
    `idempotency_key` is that of the batch begun last; `error` the last failure's message.
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
    """A batch that has been begun: which of its chunk's, and the rows that it holds, one for each record.

    `is_new` is whether it was cut just now, so that nobody can have sent it before.
    """

    number: int
    rows: tuple[MovementRow, ...]
    batch: Batch
    is_new: bool


@dataclass(frozen=True)
class SkuClass:
    """The velocity classes of one SKU in one warehouse, as they are now; None where there is none.

    `abc_lines` is by cumulative share of lines, `abc_units` by units, `xyz` by variation.
    """

    warehouse_id: str
    sku_id: str
    abc_lines: str | None
    abc_units: str | None
    xyz: str | None

    @property
    def id(self) -> str:
        """What the engine knows it by. A SKU holds no slash, so that no two share one."""
        return f"{self.warehouse_id}/{self.sku_id}"


def movement_batch(source: str, run: str, place: str, rows: Sequence[MovementRow]) -> Batch:
    """Rows of a run. `place` tells the batch among those of its run, as in `3-0`: chunk and number."""
    records = tuple(_movement_record(run, row) for row in rows)
    return _seal(f"{run}-{place}", {"source": source, "run": run}, records)


def class_batch(source: str, revision: int, classes: Sequence[SkuClass]) -> Batch:
    """Classes of SKUs. `revision` counts what the engine was told of this source before.

    So a class that comes back to what it once was is sent under another key than it was then.
    """
    records = tuple(vars(each) | {"id": each.id} for each in classes)
    return _seal(f"classes-{source}-{revision}", {"source": source}, records)


def _movement_record(run: str, row: MovementRow) -> Record:
    position, movement_id, sku_id, warehouse_id, units_moved, at = row
    return {
        "id": f"{run}:{position}" if movement_id is None else movement_id,
        "sku_id": sku_id,
        "warehouse_id": warehouse_id,
        "units_moved": units_moved,
        "timestamp_utc": iso(at),
    }


def _seal(place: str, head: Mapping[str, str], records: tuple[Record, ...]) -> Batch:
    body = json.dumps({**head, "records": records}, separators=(",", ":")).encode()
    return Batch(f"{place}-{blake2b(body, digest_size=12).hexdigest()}", records, body)

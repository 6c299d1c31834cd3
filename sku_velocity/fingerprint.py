"""A record's fingerprint: by it two readings of the same place in a window are compared."""

import json
from collections.abc import Iterable
from hashlib import blake2b
from typing import Any

from sku_velocity.source.mapping import MappedRecord


def fingerprint(records: Iterable[MappedRecord | Any]) -> str:
    """24 hexadecimal digits that stand for records in their order.

    A record that was mapped counts by its movement alone where that bears the source's own id, and by all
    that it holds otherwise: without an id, two neighbours may well be the same movement.
    """
    digest = blake2b(digest_size=12)
    for record in records:
        digest.update(json.dumps(_essence(record), default=str, sort_keys=True).encode("utf-8", "replace"))
    return digest.hexdigest()


def _essence(record: MappedRecord | Any) -> Any:
    if not isinstance(record, tuple):
        return record
    movement, extra_fields, _ = record
    return movement if movement.get("movement_id") is not None else [movement, extra_fields]

"""A record's fingerprint: by it two readings of the same place in a window are compared."""

import json
from collections.abc import Iterable
from hashlib import blake2b
from typing import Any

from sku_velocity.source.mapping import MappedRecord


def fingerprint(records: Iterable[MappedRecord | Any], id_field: str) -> str:
    """24 hexadecimal digits that stand for records in their order.

    A record that was mapped counts by its mapped fields alone where the one named `id_field` tells it from
    all others, and by all that it holds otherwise: without an id, two neighbours may well be the same.
    """
    digest = blake2b(digest_size=12)
    for record in records:
        digest.update(
            json.dumps(_essence(record, id_field), default=str, sort_keys=True).encode("utf-8", "replace")
        )
    return digest.hexdigest()


def _essence(record: MappedRecord | Any, id_field: str) -> Any:
    if not isinstance(record, tuple):
        return record
    fields, extra_fields, _ = record
    return fields if fields.get(id_field) is not None else [fields, extra_fields]

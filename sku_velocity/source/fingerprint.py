"""Fingerprints of records, to compare two reads of the same position in a window."""

import json
from collections.abc import Iterable, Mapping
from hashlib import blake2b
from typing import Any

from sku_velocity.source.fields import RecordFields, RowFilter
from sku_velocity.source.mapping import known_names, look_up, value_of


class Fingerprints:
    """Hashes the records of one source.

    Hashed is what was received, not what it was converted to: another sign, format or time zone in the spec
    changes no fingerprint. A record with an `id_field` contributes only its mapped fields, as others may
    change between two reads. Any other record contributes all of its fields: without an id, two adjacent
    records may well have the same mapped fields.
    """

    def __init__(
        self,
        fields: RecordFields,
        filters: Iterable[RowFilter],
        id_field: str,
        inputs: Mapping[str, str],
    ) -> None:
        self._fields = {name: field for name, field in fields.mapped() if field.const is None}
        self._filters = [rule.path for rule in filters]
        self._inputs = inputs
        self._known = known_names(fields, self._filters, inputs.values())
        self._id_field = id_field

    def of(self, records: Iterable[Any]) -> str:
        """Hash records as received, in order: 24 hexadecimal digits."""
        text = json.dumps(self.essences(records), default=str, sort_keys=True)
        return blake2b(text.encode("utf-8", "replace"), digest_size=12).hexdigest()

    def essences(self, records: Iterable[Any]) -> list[Any]:
        """Return what is hashed of each record: equal records have equal ones."""
        return [self._essence(record) for record in records]

    def _essence(self, record: Any) -> Any:
        if not isinstance(record, dict):
            return record
        values = {name: _as_text(value_of(record, field)) for name, field in self._fields.items()}
        values |= {name: _as_text(look_up(record, path)) for name, path in self._inputs.items()}
        if values.get(self._id_field) not in (None, ""):
            return [values]
        compared = {path: look_up(record, path) for path in self._filters}
        return [values, compared, {key: v for key, v in record.items() if key not in self._known}]


def _as_text(value: Any) -> Any:
    """Return a number as text: fields are parsed from both."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return value
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)

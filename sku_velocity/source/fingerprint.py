"""Fingerprints of records, to compare two reads of the same position in a window."""

import json
from collections.abc import Iterable, Mapping
from hashlib import blake2b
from typing import Any

from sku_velocity.source.fields import RecordFields, RowFilter
from sku_velocity.source.mapping import MappedRecord, as_received, known_names, look_up, value_of


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
        self._keys = {name: as_received(name, field) for name, field in self._fields.items()}
        self._filters = dict(enumerate(filters))
        self._inputs = inputs
        self._known = known_names(fields, self._filters.values(), inputs.values())
        self._id_field = id_field

    def of(self, records: Iterable[MappedRecord | Any]) -> str:
        """Hash mapped records, or those that broke a rule as received, in order: 24 hexadecimal digits."""
        essences = [
            self._of_mapped(record) if isinstance(record, tuple) else self._of_received(record)
            for record in records
        ]
        text = json.dumps(essences, default=str, sort_keys=True)
        return blake2b(text.encode("utf-8", "replace"), digest_size=12).hexdigest()

    def _of_mapped(self, record: MappedRecord) -> Any:
        fields, extra_fields, _ = record
        values = {name: fields[key] for name, key in self._keys.items()}
        values |= {name: fields[name] for name in self._inputs}
        compared = {rule.path: fields[str(number)] for number, rule in self._filters.items()}
        return self._essence(values, compared, extra_fields)

    def _of_received(self, record: Any) -> Any:
        if not isinstance(record, dict):
            return record
        values = {name: value_of(record, field) for name, field in self._fields.items()}
        values |= {name: look_up(record, path) for name, path in self._inputs.items()}
        compared = {rule.path: look_up(record, rule.path) for rule in self._filters.values()}
        return self._essence(values, compared, record)

    def _essence(
        self, values: dict[str, Any], compared: dict[str, Any], extra_fields: dict[str, Any]
    ) -> list[Any]:
        values = {name: _as_text(value) for name, value in values.items()}
        if values.get(self._id_field) not in (None, ""):
            return [values]
        return [values, compared, {k: v for k, v in extra_fields.items() if k not in self._known}]


def _as_text(value: Any) -> Any:
    """Return a number as text: fields are parsed from both."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return value
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)

"""Reads the records of a page field by field: one call of pydantic judges the values of all records."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from types import NoneType
from typing import Any

from pydantic import BaseModel
from pydantic_core import (
    CoreConfig,
    CoreSchema,
    PydanticUndefined,
    SchemaValidator,
    ValidationError,
    core_schema,
)

from sku_velocity.source.fields import FieldSpec, RecordFields, RowFilter, TimestampSpec, UnitsSpec
from sku_velocity.source.mapping import UNIT, is_derived, look_up, path_keys, value_of, value_schema
from sku_velocity.source.timestamps import native_iso
from sku_velocity.source.units import units_reader

Column = Sequence[Any]
ABSENT = PydanticUndefined
BAD = object()  # stands for a value that its field's rule does not accept as it is
# Values of these types are judged alike in JSON and in Python; a float is not where it becomes text.
_SURE = frozenset({str, int, NoneType, type(ABSENT)})
_NUMBERS = {"units_moved", "unit_volume", "weight", "units_per_case", "units_per_pallet"}
_HIDE_INPUT = CoreConfig(hide_input_in_errors=True)


class ColumnReader:
    """Reads the mapped fields of a source's records, and beside them the inputs and what filters compare.

    A column holds one value for each record, in their order: a mapped field's after its conversion, any other
    as received. The key of a filter's column is the filter's number.
    """

    def __init__(
        self,
        fields: RecordFields,
        model: type[BaseModel],
        filters: Iterable[RowFilter],
        inputs: Mapping[str, str],
    ) -> None:
        mapped = [(name, field) for name, field in fields.mapped() if field.const is None]
        self._fields = {name: _FieldColumn(model, name, field) for name, field in mapped}
        paths = {**inputs, **{str(number): rule.path for number, rule in enumerate(filters)}}
        self._received = {key: _reader(path, default=None) for key, path in paths.items()}

    def read(self, records: Sequence[Any]) -> tuple[dict[str, list[Any]], set[int]]:
        """Return the columns, and the indexes of the records that must be judged on their own.

        These have a value that breaks its rule, or one that JSON and Python may not judge alike.
        """
        unsure: set[int] = set()
        if not {dict}.issuperset(map(type, records)):
            unsure.update(index for index, record in enumerate(records) if type(record) is not dict)
            records = [{} if index in unsure else record for index, record in enumerate(records)]
        columns = self.received(records)
        for name, field in self._fields.items():
            columns[name], is_sure = field.read(records, columns.get(UNIT))
            if not is_sure:
                unsure.update(index for index, value in enumerate(columns[name]) if value is BAD)
        return columns, unsure

    def received(self, records: Sequence[dict[str, Any]]) -> dict[str, list[Any]]:
        """Return the columns of values as received; None where there is none."""
        return {key: read(records) for key, read in self._received.items()}


class _FieldColumn:
    """One field: where it is in a record, and the rule for its values."""

    def __init__(self, model: type[BaseModel], name: str, field: FieldSpec) -> None:
        self._values = _reader_of(field)
        self._sure: frozenset[type] | None = None
        self._needs_unit = isinstance(field, UnitsSpec) and field.is_converted
        rule = _rule_of_pairs(field) if self._needs_unit else value_schema(model, name, field)
        if isinstance(field, TimestampSpec) and field.format == "iso":
            rule = core_schema.union_schema([native_iso(), rule], mode="left_to_right")
        elif not rule["type"].startswith("function-"):  # a function of ours sees the same values
            self._sure = _SURE | {float} if name in _NUMBERS else _SURE
        if not model.model_fields[name].is_required():
            rule = core_schema.with_default_schema(rule, default=model.model_fields[name].default)
        bad = core_schema.no_info_plain_validator_function(lambda value: BAD)
        either = core_schema.union_schema([rule, bad], mode="left_to_right")
        self._all = SchemaValidator(core_schema.list_schema(rule), _HIDE_INPUT)
        self._each = SchemaValidator(core_schema.list_schema(either), _HIDE_INPUT)

    def read(self, records: Sequence[dict[str, Any]], units: Column | None) -> tuple[list[Any], bool]:
        """Return the field of all records, and whether all are accepted; one that is not is BAD."""
        values = self._values(records)
        if self._sure and not self._sure.issuperset(map(type, values)):
            values = [value if type(value) in self._sure else BAD for value in values]
        if self._needs_unit:
            values = list(zip(values, units or [None] * len(values), strict=True))
        try:
            return self._all.validate_python(values), True
        except ValidationError:
            return self._each.validate_python(values), False


def _rule_of_pairs(field: FieldSpec) -> CoreSchema:
    """Return the rule of units that are converted, each paired with its unit of measure."""
    assert isinstance(field, UnitsSpec)
    read = units_reader(field)
    return core_schema.no_info_plain_validator_function(lambda pair: read(*pair))


def _reader_of(field: FieldSpec) -> Callable[[Sequence[dict[str, Any]]], list[Any]]:
    if not is_derived(field):
        return _reader(field.path[0], default=ABSENT)

    def derive(records: Sequence[dict[str, Any]]) -> list[Any]:
        derived = (value_of(record, field) for record in records)
        return [ABSENT if value is None else value for value in derived]

    return derive


def _reader(path: str, default: Any) -> Callable[[Sequence[dict[str, Any]]], list[Any]]:
    """Return a function that reads the value at a path of each record, or the default where there is none."""
    key, *deeper = path_keys(path)
    if deeper or not isinstance(key, str):
        return lambda records: [look_up(record, path, default) for record in records]

    def read(records: Sequence[dict[str, Any]]) -> list[Any]:
        try:
            return [record[key] for record in records]
        except KeyError:
            return [record.get(key, default) for record in records]

    return read

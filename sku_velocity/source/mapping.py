"""The schema that maps a source's record to the fields of a movement or an item."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from functools import cache
from typing import Any

from pydantic import BaseModel, TypeAdapter, ValidationError, ValidationInfo
from pydantic_core import CoreSchema, SchemaValidator, core_schema

from sku_velocity.errors import SpecError
from sku_velocity.model.master import NamedMovement
from sku_velocity.model.movement import EARLIEST, LATEST
from sku_velocity.source.comparison import comparison_keys
from sku_velocity.source.fields import (
    DirectionSpec,
    FieldSpec,
    RecordFields,
    SkuSpec,
    TimestampSpec,
    UnitsSpec,
)
from sku_velocity.source.item_fields import AliasesSpec, StatusSpec, aliases_reader, status_reader
from sku_velocity.source.timestamps import instant_reader
from sku_velocity.source.units import to_number, units_reader

# A parsed record: its fields by name, what else pydantic returns, and the names that were set.
MappedRecord = tuple[dict[str, Any], None, set[str]]

UNIT = "units_moved.factor"  # the key in a `MappedRecord` of the unit of measure that decides the factor
_CONTAINERS = {str: dict, int: list}  # by the type of a key
UNESCAPED_DOT = re.compile(r"(?<!\\)\.")


def record_schema(
    fields: RecordFields, model: type[BaseModel], unit: str | None = None, *, lenient: bool = False
) -> CoreSchema:
    """Return the schema that parses a JSON record into a `MappedRecord`, with the model's rules per field.

    `unit` is the path of the unit of measure, if the factor of the units depends on it. If `lenient`, a field
    that breaks its rule is None.
    """
    mapped = {name: field for name, field in fields.mapped() if field.const is None}
    found = {name: _field(model, name, field) for name, field in mapped.items()}
    if lenient:
        found = {name: _or_none(field) for name, field in found.items()}
    before = {UNIT: _as_is(unit)} if unit else {}  # the units' reader needs it
    schema: CoreSchema = core_schema.model_fields_schema(before | found, extra_behavior="ignore")
    derived = [field for field in mapped.values() if is_derived(field)]
    return core_schema.no_info_before_validator_function(_deriver(derived), schema) if derived else schema


def label_of(name: str, field: FieldSpec) -> str:
    """Return a field's name as shown in reasons, with its path in the record if that differs."""
    return name if str(field) == name else f"{name} ({field})"


def constants(fields: RecordFields, model: type[BaseModel]) -> dict[str, Any]:
    """Return the fields with a constant value. Raises SpecError if a value breaks its field's rule."""
    found = {name: field.const for name, field in fields.mapped() if field.const is not None}
    for name, value in found.items():
        try:
            found[name] = SchemaValidator(_constant_schema(model, name, fields)).validate_python(value)
        except ValidationError as error:
            raise SpecError(f"fields.{name}.const: {value!r}: {error.errors()[0]['msg']}") from error
    return found


def known_names(fields: RecordFields, filters: Iterable[str], inputs: Iterable[str]) -> set[str]:
    """Return the top-level keys of a record that the spec reads; all others are extra fields."""
    paths = [path for _, field in fields.mapped() for path in field.paths]
    return {str(path_keys(path)[0]) for path in [*paths, *filters, *inputs]}


def path_keys(path: str) -> list[str | int]:
    """Split a dotted path into its keys; a number is a list index."""
    return list(_keys(path))


@cache
def _keys(path: str) -> tuple[str | int, ...]:
    keys = [key.replace("\\.", ".") for key in UNESCAPED_DOT.split(path)]
    return tuple(int(key) if key.isdecimal() else key for key in keys)


def look_up(record: Any, path: str, default: Any = None) -> Any:
    """Return the value at a dotted path of a record, or the default if there is none."""
    for key in _keys(path):
        if type(record) is not _CONTAINERS[type(key)]:
            return default
        try:
            record = record[key]
        except LookupError:
            return default
    return record


def is_derived(field: FieldSpec) -> bool:
    """Return True if a field's value is not simply the one at its path."""
    return bool(field.join) or len(field.path) > 1


def _deriver(fields: list[FieldSpec]) -> Callable[[Any], Any]:
    """Return a function that adds the derived fields to a record, each under the text of its spec."""

    def derive(record: Any) -> Any:
        if not isinstance(record, dict):
            return record
        derived = {str(field): value_of(record, field) for field in fields}
        return record | {name: value for name, value in derived.items() if value is not None}

    return derive


def value_of(record: Any, field: FieldSpec) -> Any:
    """Return the value of a field in a record as received, or None if there is none."""
    parts = [look_up(record, path) for path in field.paths]
    if field.path:
        return next((part for part in parts if part is not None), None)
    return None if None in parts else field.separator.join(map(str, parts))


def _field(model: type[BaseModel], name: str, field: FieldSpec) -> core_schema.ModelField:
    rule = model.model_fields[name]
    schema = value_schema(model, name, field)
    if not rule.is_required():
        schema = core_schema.with_default_schema(schema, default=rule.default)
    alias: list[str | int] = [str(field)] if is_derived(field) else path_keys(field.path[0])
    return core_schema.model_field(schema, validation_alias=[alias])


def value_schema(model: type[BaseModel], name: str, field: FieldSpec) -> CoreSchema:
    """Return the rule of a field's values: the model's, after the conversion that the spec asks for."""
    if isinstance(field, SkuSpec):
        return _sku_schema(model, name, field)
    if isinstance(field, UnitsSpec) and field.is_converted:
        return _units_schema(field)
    if isinstance(field, DirectionSpec):
        return core_schema.no_info_plain_validator_function(direction_reader(field))
    if isinstance(field, TimestampSpec):
        within = core_schema.datetime_schema(ge=EARLIEST, le=LATEST, tz_constraint="aware")
        return core_schema.no_info_before_validator_function(instant_reader(field), within)
    if isinstance(field, StatusSpec):
        return core_schema.no_info_plain_validator_function(status_reader(field))
    if isinstance(field, AliasesSpec):
        return core_schema.no_info_plain_validator_function(aliases_reader(field, look_up))
    return _rule_schema(model, name)


def _constant_schema(model: type[BaseModel], name: str, fields: RecordFields) -> CoreSchema:
    field = getattr(fields, name)
    return _sku_schema(model, name, field) if isinstance(field, SkuSpec) else _rule_schema(model, name)


def _rule_schema(model: type[BaseModel], name: str) -> CoreSchema:
    return TypeAdapter(model.model_fields[name].rebuild_annotation()).core_schema


def _sku_schema(model: type[BaseModel], name: str, field: SkuSpec) -> CoreSchema:
    """Return the schema of a SKU, or of any name of one if a master is to map it."""
    if issubclass(model, NamedMovement):
        return field.text_schema(_rule_schema(model, name))
    return core_schema.custom_error_schema(
        field.text_schema(field.rule.schema()),
        custom_error_type="rule",
        custom_error_message=field.rule.message,
    )


def _units_schema(field: UnitsSpec) -> CoreSchema:
    read = units_reader(field)

    def convert(value: Any, info: ValidationInfo) -> int:
        return read(value, info.data.get(UNIT))

    return core_schema.with_info_plain_validator_function(convert)


def direction_reader(spec: DirectionSpec) -> Callable[[Any], str | None]:
    """Return a function that classifies a value as in or out; None if it is neither."""
    if spec.negative is not None:
        of_negative, of_positive = spec.negative, "out" if spec.negative == "in" else "in"

        def by_sign(value: Any) -> str | None:
            number = to_number(value)
            return None if not number else of_negative if number < 0 else of_positive

        return by_sign
    meanings = spec.meanings
    return lambda value: next((meanings[key] for key in comparison_keys(value) if key in meanings), None)


def _or_none(field: core_schema.ModelField) -> core_schema.ModelField:
    lenient = core_schema.with_default_schema(field["schema"], default=None, on_error="default")
    return core_schema.model_field(lenient, validation_alias=field["validation_alias"])


def _as_is(path: str) -> core_schema.ModelField:
    anything = core_schema.with_default_schema(core_schema.any_schema(), default=None)
    return core_schema.model_field(anything, validation_alias=path_keys(path))

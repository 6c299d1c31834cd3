"""The schema that maps a source's record to the fields of a movement or an item."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
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
    RowFilter,
    SkuSpec,
    TimestampSpec,
    UnitsSpec,
)
from sku_velocity.source.item_fields import AliasesSpec, StatusSpec, aliases_reader, status_reader
from sku_velocity.source.timestamps import instant_reader
from sku_velocity.source.units import to_number, units_reader

# A parsed record: its fields by name, the fields that the spec does not map, and the names that were set.
MappedRecord = tuple[dict[str, Any], dict[str, Any], set[str]]

NATIVE_ISO = (
    r"^[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt ][0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]{1,6})?"
    r"([Zz]|[+-][0-9]{2}:[0-5][0-9])$"
)
UNIT = "units_moved.factor"  # the key in a `MappedRecord` of the unit of measure that decides the factor
UNESCAPED_DOT = re.compile(r"(?<!\\)\.")


def record_schema(
    fields: RecordFields,
    model: type[BaseModel],
    filters: Iterable[RowFilter] = (),
    inputs: Mapping[str, str] | None = None,
    *,
    lenient: bool = False,
    fast: bool = False,
) -> CoreSchema:
    """Return the schema that parses a JSON record into a `MappedRecord`, with the model's rules per field.

    The values that filters compare are among the fields, under the filter's number, and so are `inputs`, by
    their paths. If `lenient`, a field that breaks its rule is None. If `fast`, it accepts the same records,
    but its errors give no reason.
    """
    mapped = {name: field for name, field in fields.mapped() if field.const is None}
    found = {name: _field(model, name, field, fast) for name, field in mapped.items()}
    if lenient:
        found = {name: _or_none(field["schema"], field) for name, field in found.items()}
    anything = core_schema.any_schema()
    schema: CoreSchema = core_schema.model_fields_schema(
        {key: _as_is(path) for key, path in (inputs or {}).items()}  # first: the units' reader needs its unit
        | found
        | {
            as_received(name, field): _or_none(anything, found[name])
            for name, field in mapped.items()
            if as_received(name, field) != name
        }
        | {str(number): _as_is(rule.path) for number, rule in enumerate(filters)},
        extras_schema=core_schema.any_schema(),
        extra_behavior="allow",
    )
    derived = [field for field in mapped.values() if _is_derived(field)]
    return core_schema.no_info_before_validator_function(_deriver(derived), schema) if derived else schema


def label_of(name: str, field: FieldSpec) -> str:
    """Return a field's name as shown in reasons, with its path in the record if that differs."""
    return name if str(field) == name else f"{name} ({field})"


def as_received(name: str, field: FieldSpec) -> str:
    """Return the key in a `MappedRecord` of a field's value before its conversion."""
    return f"={name}" if field.is_converted else name


def constants(fields: RecordFields, model: type[BaseModel]) -> dict[str, Any]:
    """Return the fields with a constant value. Raises SpecError if a value breaks its field's rule."""
    found = {name: field.const for name, field in fields.mapped() if field.const is not None}
    for name, value in found.items():
        try:
            found[name] = SchemaValidator(_constant_schema(model, name, fields)).validate_python(value)
        except ValidationError as error:
            raise SpecError(f"fields.{name}.const: {value!r}: {error.errors()[0]['msg']}") from error
    return found


def known_names(fields: RecordFields, filters: Iterable[RowFilter], inputs: Iterable[str]) -> set[str]:
    """Return the top-level keys of a record that the spec reads; all others are extra fields."""
    paths = [path for _, field in fields.mapped() for path in field.paths]
    return {str(path_keys(path)[0]) for path in [*paths, *(rule.path for rule in filters), *inputs]}


def path_keys(path: str) -> list[str | int]:
    """Split a dotted path into its keys; a number is a list index."""
    keys = [key.replace("\\.", ".") for key in UNESCAPED_DOT.split(path)]
    return [int(key) if key.isdecimal() else key for key in keys]


def look_up(record: Any, path: str, default: Any = None) -> Any:
    """Return the value at a dotted path of a record, or the default if there is none."""
    for key in path_keys(path):
        try:
            record = record[key]
        except (LookupError, TypeError):
            return default
    return record


def _is_derived(field: FieldSpec) -> bool:
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


def _field(model: type[BaseModel], name: str, field: FieldSpec, fast: bool) -> core_schema.ModelField:
    rule = model.model_fields[name]
    schema = _value_schema(model, name, field)
    if fast and isinstance(field, TimestampSpec) and field.format == "iso":
        schema = core_schema.union_schema([_native_iso(), schema], mode="left_to_right")
    if not rule.is_required():
        schema = core_schema.with_default_schema(schema, default=rule.default)
    alias: list[str | int] = [str(field)] if _is_derived(field) else path_keys(field.path[0])
    return core_schema.model_field(schema, validation_alias=[alias])


def _value_schema(model: type[BaseModel], name: str, field: FieldSpec) -> CoreSchema:
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


def _native_iso() -> CoreSchema:
    """Parse the usual ISO 8601 text without Python code: with an offset, and nothing to round."""
    return core_schema.chain_schema(
        [
            core_schema.str_schema(pattern=NATIVE_ISO, strict=True),
            core_schema.datetime_schema(ge=EARLIEST, le=LATEST, tz_constraint="aware"),
        ]
    )


def _or_none(schema: CoreSchema, field: core_schema.ModelField) -> core_schema.ModelField:
    lenient = core_schema.with_default_schema(schema, default=None, on_error="default")
    return core_schema.model_field(lenient, validation_alias=field["validation_alias"])


def _as_is(path: str) -> core_schema.ModelField:
    anything = core_schema.with_default_schema(core_schema.any_schema(), default=None)
    return core_schema.model_field(anything, validation_alias=path_keys(path))

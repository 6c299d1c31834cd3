"""From a source's field names to a record's: the schema by which one movement or item is read."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from decimal import Decimal, InvalidOperation
from typing import Any

from pydantic import BaseModel, TypeAdapter, ValidationError
from pydantic_core import CoreSchema, core_schema

from sku_velocity.errors import SpecError
from sku_velocity.model.movement import EARLIEST, LATEST
from sku_velocity.source.fields import FieldSpec, RecordFields, RowFilter, TimestampSpec, UnitsSpec
from sku_velocity.source.item_fields import AliasesSpec, StatusSpec, aliases_reader, status_reader
from sku_velocity.source.timestamps import instant_reader

# What a record is read into: its fields by name, the fields that the spec does not map, a set.
MappedRecord = tuple[dict[str, Any], dict[str, Any], set[str]]

MAX_DIGITS = 100  # before the point; no count of units comes near it
UNESCAPED_DOT = re.compile(r"(?<!\\)\.")
SIGNED_RULES = {
    "negate": "must be a whole number of units, 0 or less, for its sign is negated",
    "abs": "must be a whole number of units",
}


def record_schema(
    fields: RecordFields, model: type[BaseModel], filters: Iterable[RowFilter] = ()
) -> CoreSchema:
    """Reads one record of JSON into a `MappedRecord`, with each field held to the model's rule.

    What a filter looks at is among the fields, by the filter's number.
    """
    mapped = {name: field for name, field in fields.mapped() if field.const is None}
    schema: CoreSchema = core_schema.model_fields_schema(
        {name: _field(model, name, field) for name, field in mapped.items()}
        | {str(number): _looked_at(rule.path) for number, rule in enumerate(filters)},
        extras_schema=core_schema.any_schema(),
        extra_behavior="allow",
    )
    derived = [field for field in mapped.values() if _is_derived(field)]
    return core_schema.no_info_before_validator_function(_deriving(derived), schema) if derived else schema


def constants(fields: RecordFields, model: type[BaseModel]) -> dict[str, Any]:
    """The fields that are the same in every record. Raises SpecError where one breaks its field's rule."""
    found = {name: field.const for name, field in fields.mapped() if field.const is not None}
    for name, value in found.items():
        try:
            found[name] = TypeAdapter(_rule(model, name)).validate_python(value)
        except ValidationError as error:
            raise SpecError(f"fields.{name}.const: {value!r}: {error.errors()[0]['msg']}") from error
    return found


def known_names(fields: RecordFields, filters: Iterable[RowFilter]) -> set[str]:
    """The keys of a record that the spec looks at: any other is unknown to it."""
    paths = [path for _, field in fields.mapped() for path in field.paths]
    return {str(path_keys(path)[0]) for path in [*paths, *(rule.path for rule in filters)]}


def path_keys(path: str) -> list[str | int]:
    """A dotted path as the keys to follow, one after another; a number is a place in a list."""
    keys = [key.replace("\\.", ".") for key in UNESCAPED_DOT.split(path)]
    return [int(key) if key.isdecimal() else key for key in keys]


def look_up(record: Any, path: str) -> Any:
    """The value at a dotted path of a record; None where there is none."""
    for key in path_keys(path):
        try:
            record = record[key]
        except (LookupError, TypeError):
            return None
    return record


def is_filtered(rule: RowFilter, value: Any) -> bool:
    """Whether a value clearly breaks a filter's rule; what cannot be compared does not."""
    if rule.in_ is not None and value not in rule.in_:
        return True
    if rule.not_in is not None and value in rule.not_in:
        return True
    if rule.above is None and rule.below is None:
        return False
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        return False
    return (rule.above is not None and number <= rule.above) or (
        rule.below is not None and number >= rule.below
    )


def _is_derived(field: FieldSpec) -> bool:
    return bool(field.join) or len(field.path) > 1


def _deriving(fields: list[FieldSpec]) -> Callable[[Any], Any]:
    """Adds to a record what its derived fields come to, each under the field's own words."""

    def derive(record: Any) -> Any:
        if not isinstance(record, dict):
            return record
        derived = {str(field): _derive(record, field) for field in fields}
        return record | {name: value for name, value in derived.items() if value is not None}

    return derive


def _derive(record: dict[str, Any], field: FieldSpec) -> Any:
    parts = [look_up(record, path) for path in field.paths]
    if field.path:
        return next((part for part in parts if part is not None), None)
    return None if None in parts else field.separator.join(map(str, parts))


def _field(model: type[BaseModel], name: str, field: FieldSpec) -> core_schema.ModelField:
    rule = model.model_fields[name]
    schema = _value_schema(_rule(model, name), field)
    if not rule.is_required():
        schema = core_schema.with_default_schema(schema, default=rule.default)
    alias: list[str | int] = [str(field)] if _is_derived(field) else path_keys(field.path[0])
    return core_schema.model_field(schema, validation_alias=[alias])


def _value_schema(annotation: Any, field: FieldSpec) -> CoreSchema:
    rule = TypeAdapter(annotation).core_schema
    if isinstance(field, UnitsSpec) and field.sign != "as_is":
        flip = _negated if field.sign == "negate" else _absolute
        return core_schema.custom_error_schema(
            core_schema.no_info_before_validator_function(flip, rule),
            custom_error_type="rule",
            custom_error_message=SIGNED_RULES[field.sign],
        )
    if isinstance(field, TimestampSpec) and (field.format != "iso" or field.assume_timezone):
        within = core_schema.datetime_schema(ge=EARLIEST, le=LATEST, tz_constraint="aware")
        return core_schema.no_info_before_validator_function(instant_reader(field), within)
    if isinstance(field, StatusSpec):
        return core_schema.no_info_plain_validator_function(status_reader(field))
    if isinstance(field, AliasesSpec):
        return core_schema.no_info_plain_validator_function(aliases_reader(field, look_up))
    return rule


def _looked_at(path: str) -> core_schema.ModelField:
    anything = core_schema.with_default_schema(core_schema.any_schema(), default=None)
    return core_schema.model_field(anything, validation_alias=path_keys(path))


def _rule(model: type[BaseModel], name: str) -> Any:
    return model.model_fields[name].rebuild_annotation()


def _negated(told: Any) -> Any:
    number = _number(told)
    return told if number is None else str(-number + 0)


def _absolute(told: Any) -> Any:
    number = _number(told)
    return told if number is None else str(abs(number))


def _number(told: Any) -> Decimal | None:
    """A told number, in plain digits; None where it is none, so that the field's rule refuses it."""
    if isinstance(told, bool) or not isinstance(told, int | float | str):
        return None
    try:
        number = Decimal(str(told))
        if number.adjusted() > MAX_DIGITS:  # 1e999999999 in plain digits would fill the memory
            return None
        return Decimal(int(number)) if number == number.to_integral_value() else number
    except (InvalidOperation, ValueError, OverflowError):
        return None

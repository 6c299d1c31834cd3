"""From a source's field names to a movement's: the schema by which one record is read."""

from typing import Any

from pydantic import TypeAdapter
from pydantic_core import CoreSchema, core_schema

from sku_velocity.models import Movement
from sku_velocity.source.fields import FieldSpec, FieldsSpec

# What a record is read into: the movement's fields by name, the fields that the spec does not map, a set.
MappedRecord = tuple[dict[str, Any], dict[str, Any], set[str]]


def record_schema(fields: FieldsSpec) -> CoreSchema:
    """Reads one record of JSON into a `MappedRecord`, with each field held to `Movement`'s rule."""
    return core_schema.model_fields_schema(
        {
            name: _field(name, field, required=Movement.model_fields[name].is_required())
            for name, field in fields.mapped()
        },
        extras_schema=core_schema.any_schema(),
        extra_behavior="allow",
    )


def path_keys(path: str) -> list[str | int]:
    """A dotted path as the keys to follow, one after another; a number is a place in a list."""
    return [int(key) if key.isdecimal() else key for key in path.split(".")]


def _field(name: str, field: FieldSpec, *, required: bool) -> core_schema.ModelField:
    info = Movement.model_fields[name]
    rule: Any = info.rebuild_annotation()
    schema = TypeAdapter(rule).core_schema
    if not required:
        schema = core_schema.with_default_schema(schema, default=None)
    return core_schema.model_field(schema, validation_alias=[path_keys(path) for path in field.path])

"""From a source's field names to a movement's: the schema by which one record is read."""

from typing import Any

from pydantic import TypeAdapter
from pydantic_core import CoreSchema, core_schema

from sku_velocity.models import Movement
from sku_velocity.source.spec import FieldsSpec

# What a record is read into: the movement's fields by name, the fields that the spec does not map, a set.
MappedRecord = tuple[dict[str, Any], dict[str, Any], set[str]]


def record_schema(fields: FieldsSpec) -> CoreSchema:
    """Reads one record of JSON into a `MappedRecord`, with each field held to `Movement`'s rule."""
    return core_schema.model_fields_schema(
        {
            name: _field(name, path, required=Movement.model_fields[name].is_required())
            for name, path in mapped_paths(fields).items()
        },
        extras_schema=core_schema.any_schema(),
        extra_behavior="allow",
    )


def mapped_paths(fields: FieldsSpec) -> dict[str, str]:
    """The movement's fields that the spec maps, each with its dotted path."""
    paths = {name: getattr(fields, name) for name in Movement.model_fields}
    return {name: path for name, path in paths.items() if path is not None}


def path_keys(path: str) -> list[str | int]:
    """A dotted path as the keys to follow, one after another."""
    return [*path.split(".")]


def _field(name: str, path: str, *, required: bool) -> core_schema.ModelField:
    info = Movement.model_fields[name]
    rule: Any = info.rebuild_annotation()
    schema = TypeAdapter(rule).core_schema
    if not required:
        schema = core_schema.with_default_schema(schema, default=None)
    return core_schema.model_field(schema, validation_alias=path_keys(path))

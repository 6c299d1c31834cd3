"""The command `schema`, and the JSON Schemas of spec files that it prints: editors complete from them."""

from __future__ import annotations

from importlib.resources import files
from typing import Any, Literal, NamedTuple

from sku_velocity.cli.terminal import DONE
from sku_velocity.slotting.spec import EngineSpec
from sku_velocity.source.fields import FieldSpec
from sku_velocity.source.presets import preset_names
from sku_velocity.source.spec import SourceSpec
from sku_velocity.spec_file import Part

DRAFT = "http://json-schema.org/draft-07/schema#"  # the one that YAML editors know
Kind = Literal["source", "engine"]


class SchemaFile(NamedTuple):
    """A shipped schema: the model it describes, and its file, relative to the package."""

    model: type[Part]
    path: str


SCHEMAS: dict[Kind, SchemaFile] = {
    "source": SchemaFile(SourceSpec, "source/source.schema.json"),
    "engine": SchemaFile(EngineSpec, "slotting/engine.schema.json"),
}


def schema(kind: Kind = "source", /) -> int:
    """Print the JSON Schema of a spec file, for editors and other tools.

    Parameters
    ----------
    kind
        The kind of file: a source's spec, or a slotting engine's.
    """
    print(shipped_schema(kind), end="")
    return DONE


def shipped_schema(kind: Kind) -> str:
    """Return the text of the schema that the package contains."""
    return files("sku_velocity").joinpath(SCHEMAS[kind].path).read_text(encoding="utf-8")


def spec_schema(kind: Kind) -> dict[str, Any]:
    """Build the JSON Schema of a file: of what may be written, with the short forms of its fields."""
    schema = SCHEMAS[kind].model.model_json_schema()
    parts: dict[str, Any] = schema.pop("$defs")
    for each in _subclasses(FieldSpec):
        if each.__name__ in parts:
            parts[each.__name__] = _with_short_form(parts[each.__name__])
    if kind == "source":
        preset = {"enum": preset_names(), "description": "The system's preset, which this file adjusts"}
        schema["properties"] = {"preset": preset, **schema["properties"]}
        schema["required"] = ["base_url"]
        schema["anyOf"] = [{"required": ["name"]}, {"required": ["preset"]}]
    definitions = {name: _portable(part) for name, part in sorted(parts.items())}
    whole: dict[str, Any] = {"$schema": DRAFT, **_portable(schema), "$defs": definitions}
    return whole


def _with_short_form(field: dict[str, Any]) -> dict[str, Any]:
    """Return the schema of a field that may also be its path, or a list of paths."""
    paths = field["properties"]["path"]
    long = field | {"properties": field["properties"] | {"path": _either(paths, paths["items"])}}
    return _either(long, paths, paths["items"]) | {"description": field["description"]}


def _either(*schemas: dict[str, Any]) -> dict[str, Any]:
    return {"anyOf": list(schemas)}


def _subclasses(kind: type[Part]) -> set[type[Part]]:
    return {kind}.union(*map(_subclasses, kind.__subclasses__()))


def _portable(schema: Any) -> Any:
    """Return a schema without pydantic's titles, which repeat the keys, and without Rust's patterns."""
    if isinstance(schema, list):
        return [_portable(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    kept = {key: value for key, value in schema.items() if key != "title" or not isinstance(value, str)}
    [(pattern, values)] = kept.get("patternProperties", {"": None}).items()
    if "\\p{" in pattern:
        kept["additionalProperties"] = values
        del kept["patternProperties"]
    return {key: _portable(value) for key, value in kept.items()}

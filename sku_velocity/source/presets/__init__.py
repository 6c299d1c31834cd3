"""Descriptions of known systems, one data file each: what a spec that names one starts from."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.resources import files
from typing import Any

from sku_velocity.errors import SpecError
from sku_velocity.source.fields import FieldsSpec
from sku_velocity.spec_errors import suggestion
from sku_velocity.spec_file import parse_yaml

# What is replaced as a whole where it is given.
FIELDS = tuple(FieldsSpec.model_fields)
OF_MOVEMENTS = ("fields", "filter", "types", "extra")  # of a preset, no part of a master that starts from it
WHOLE = frozenset({*FIELDS, "body", "types"})


def preset_names() -> list[str]:
    """The presets, in the order of the alphabet."""
    names = (file.name for file in files(__name__).iterdir())
    return sorted(name.removesuffix(".yaml") for name in names if name.endswith(".yaml"))


def with_preset(data: Mapping[str, Any]) -> dict[str, Any]:
    """A spec's plain data on top of the preset that it names, part by part; without one, as it is.

    Mappings are laid over each other; lists, texts, numbers, a body and a field as a whole are replaced.
    Raises SpecError where there is no such preset.
    """
    own = dict(data)
    name = own.pop("preset", None)
    if name is None:
        return own
    if name not in preset_names():
        question = suggestion(str(name), preset_names())
        known = " ".join(filter(None, [question, f"known are {', '.join(preset_names())}"]))
        raise SpecError(f"preset: unknown preset {name!r}: {known}")
    text = files(__name__).joinpath(f"{name}.yaml").read_text(encoding="utf-8")
    base = parse_yaml(text, f"preset {name}")
    if "items" in own:
        base = {key: value for key, value in base.items() if key not in OF_MOVEMENTS}
    merged: dict[str, Any] = _lay_over({"name": name, **base}, own)
    return merged


def _lay_over(base: Any, own: Any) -> Any:
    if not isinstance(base, dict) or not isinstance(own, Mapping):
        return own
    laid = {
        key: value if key in WHOLE or key not in base else _lay_over(base[key], value)
        for key, value in own.items()
    }
    return base | laid

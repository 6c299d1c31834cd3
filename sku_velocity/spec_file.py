"""A YAML file that anybody may have written, read as plain data and within bounds."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import yaml
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
)

from sku_velocity.errors import SpecError

MAX_BYTES = 2**20  # the longest spec that we ship is below 4 KiB
MAX_BRACKETS = 10_000  # the scanner's time grows with the square of those that are open
MAX_NODES = 100_000  # with what aliases stand for counted each time


def load_yaml(path: Path) -> Any:
    """The file's data: no objects, and no more of it than the bounds allow.

    Raises SpecError where it cannot be read, is not YAML, or is too large. No message quotes the file.
    """
    try:
        with path.open("rb") as file:
            content = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise SpecError(f"{path} cannot be read: {error.strerror}") from error
    if len(content) > MAX_BYTES:
        raise SpecError(f"{path} is over {MAX_BYTES} bytes: that is no source spec")
    try:
        return _parse(content.decode(), path)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise SpecError(f"{path} is not YAML: {_reason(error)}") from None  # whose text quotes the file


def _parse(text: str, path: Path) -> Any:
    if text.count("[") + text.count("{") > MAX_BRACKETS:
        raise RecursionError
    loader = yaml.SafeLoader(text)
    try:
        node = loader.get_single_node()
        if node is None:
            return None
        if _size(node, {}) > MAX_NODES:
            raise SpecError(f"{path} stands for over {MAX_NODES} values: write out what its aliases repeat")
        return loader.construct_document(node)
    finally:
        loader.dispose()


def _size(node: yaml.Node, known: dict[yaml.Node, int]) -> int:
    """Nodes below a node, and itself; without end where it holds itself."""
    if node not in known:
        known[node] = MAX_NODES + 1  # met again below itself
        children = node.value if isinstance(node, yaml.CollectionNode) else ()
        pairs = isinstance(node, yaml.MappingNode)
        known[node] = 1 + sum(
            _size(child, known) for each in children for child in (each if pairs else (each,))
        )
    return known[node]


def _reason(error: Exception) -> str:
    if isinstance(error, RecursionError):
        return "it is nested too deep"
    if isinstance(error, yaml.MarkedYAMLError) and error.problem_mark:
        mark = error.problem_mark
        return f"line {mark.line + 1}, column {mark.column + 1}: {error.problem}"
    return "it holds what is no text, number or date"


DottedPath = Annotated[
    str,
    Field(
        pattern=r"^([^.\s\\]|\\\.)+(\.([^.\s\\]|\\\.)+)*$",
        description="Keys joined by dots, a dot in a key as \\.; a number is a place in a list, from 0",
    ),
]
Scalar = str | int | float | bool


class Part(BaseModel):
    """A part of a source's description: nothing unknown in it, and it never changes.

    No error repeats what was given: a password may stand in an address.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True, hide_input_in_errors=True)


def format_errors(error: ValidationError) -> str:
    """Every wrong field of a spec, and its rule."""
    return "; ".join(f"{'.'.join(map(str, e['loc'])) or 'spec'}: {e['msg']}" for e in error.errors())


def read_keys(path: Path, kind: str) -> dict[str, Any]:
    """A YAML file's keys with their values. Raises SpecError where it cannot be read or holds none."""
    data = load_yaml(path)
    if not isinstance(data, dict):
        raise SpecError(f"{path} is not a {kind}: it must hold keys such as name and base_url")
    return data

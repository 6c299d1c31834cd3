"""Safe loading of untrusted YAML files: plain data of YAML 1.2's core schema only, within bounds."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Any, ClassVar

import yaml
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
)

from sku_velocity.errors import SpecError
from sku_velocity.text import printable, shorten

MAX_BYTES = 2**20  # the longest preset is below 4 KiB
MAX_BRACKETS = 10_000  # the scanner's time grows with the square of the open ones
MAX_NODES = 100_000  # aliases count as what they expand to
_TAG = "tag:yaml.org,2002:"
# YAML 1.2.2, 10.3.2. In it NO, yes, 12:30:15 and 2026-03-01 are strings.
CORE_SCHEMA = {
    f"{_TAG}null": "~|null|Null|NULL|",
    f"{_TAG}bool": "true|True|TRUE|false|False|FALSE",
    f"{_TAG}int": "[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+",
    f"{_TAG}float": (
        r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)"
    ),
    f"{_TAG}merge": "<<",  # not of the core schema, but what anchors are used with
}
STRUCTURES = {f"{_TAG}str", f"{_TAG}seq", f"{_TAG}map", None}  # None: any other tag, an error
LEADING_ZERO = re.compile(r"[-+]?0[0-9]")


class CoreLoader(yaml.SafeLoader):
    """PyYAML's loader, which reads YAML 1.1, with the scalars of YAML 1.2's core schema."""

    yaml_implicit_resolvers: Any = {}
    yaml_constructors: ClassVar[Any] = {
        tag: constructor
        for tag, constructor in yaml.SafeLoader.yaml_constructors.items()
        if tag in CORE_SCHEMA.keys() | STRUCTURES
    }


for _tag, _pattern in CORE_SCHEMA.items():
    CoreLoader.add_implicit_resolver(_tag, re.compile(rf"(?:{_pattern})\Z"), None)


def load_yaml(path: Path) -> Any:
    """Return the file's data: plain values only, within the bounds.

    Raises SpecError if the file cannot be read, is not YAML, is too large, has a key twice or an unquoted
    number with leading zeros. No message quotes the file, apart from its keys.
    """
    try:
        with path.open("rb") as file:
            content = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise SpecError(f"{path} cannot be read: {error.strerror}") from error
    if len(content) > MAX_BYTES:
        raise SpecError(f"{path} is over {MAX_BYTES} bytes, too large for a spec: check the path")
    try:
        return parse_yaml(content.decode(), str(path))
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise SpecError(f"{path} is not YAML: {_reason(error)}") from None  # its text quotes the file


def parse_yaml(text: str, origin: str) -> Any:
    """Return the data of a YAML text. Raises SpecError, YAMLError, ValueError or RecursionError."""
    if text.count("[") + text.count("{") > MAX_BRACKETS:
        raise RecursionError
    loader = CoreLoader(text)
    try:
        node = loader.get_single_node()
        if node is None:
            return None
        if _size(node, {}) > MAX_NODES:
            raise SpecError(f"{origin} expands to over {MAX_NODES} values: use fewer YAML aliases")
        _check_scalars(node, "", origin, set())
        return loader.construct_document(node)
    finally:
        loader.dispose()


def _size(node: yaml.Node, known: dict[yaml.Node, int]) -> int:
    """Count a node and the nodes below it; a node that contains itself counts as too many."""
    if node not in known:
        known[node] = MAX_NODES + 1  # if met again below itself
        children = node.value if isinstance(node, yaml.CollectionNode) else ()
        pairs = isinstance(node, yaml.MappingNode)
        known[node] = 1 + sum(
            _size(child, known) for each in children for child in (each if pairs else (each,))
        )
    return known[node]


def _check_scalars(node: yaml.Node, key: str, origin: str, checked: set[yaml.Node]) -> None:
    """Raise SpecError if a key is given twice, or an unquoted number has leading zeros."""
    if node in checked:
        return
    checked.add(node)
    place = f"{origin}: line {node.start_mark.line + 1}"
    if isinstance(node, yaml.MappingNode):
        names = set()
        for name, value in node.value:
            text = name.value if isinstance(name, yaml.ScalarNode) else "?"
            below = f"{key}.{text}" if key else text
            if (name.tag, str(name.value)) in names:
                raise SpecError(
                    f"{origin}: line {name.start_mark.line + 1}: the key {_shown(below)} is given twice: "
                    "remove one of the two"
                )
            names.add((name.tag, str(name.value)))
            _check_scalars(name, below, origin, checked)
            _check_scalars(value, below, origin, checked)
    elif isinstance(node, yaml.SequenceNode):
        for value in node.value:
            _check_scalars(value, key, origin, checked)
    elif node.tag != f"{_TAG}str" and LEADING_ZERO.match(node.value):
        raise SpecError(
            f"{place}: {_shown(key)} has a number with leading zeros: put it in quotes to keep them, "
            "or remove them"
        )


def _shown(key: str) -> str:
    return shorten(printable(key), 100) or "the file"


def _reason(error: Exception) -> str:
    if isinstance(error, RecursionError):
        return "it is nested too deeply"
    if isinstance(error, yaml.MarkedYAMLError) and error.problem_mark:
        mark = error.problem_mark
        return f"line {mark.line + 1}, column {mark.column + 1}: {error.problem}"
    return "it contains an invalid character or number"


DottedPath = Annotated[
    str,
    Field(
        pattern=r"^([^.\s\\]|\\\.)+(\.([^.\s\\]|\\\.)+)*$",
        description="Keys joined by dots; write a dot in a key as \\.; a number is a list index, from 0",
    ),
]
Scalar = str | int | float | bool


class Part(BaseModel):
    """A part of a spec: immutable, with no unknown keys.

    No error repeats the input: an address may contain a password.
    """

    model_config = ConfigDict(
        extra="forbid", defer_build=True, frozen=True, populate_by_name=True, hide_input_in_errors=True
    )


def format_errors(error: ValidationError) -> str:
    """Return every invalid field of a spec with the rule it breaks."""
    return "; ".join(f"{'.'.join(map(str, e['loc'])) or 'spec'}: {e['msg']}" for e in error.errors())


def read_keys(path: Path, kind: str) -> dict[str, Any]:
    """Return the keys and values of a YAML file. Raises SpecError if it cannot be read or has none."""
    data = load_yaml(path)
    if not isinstance(data, dict):
        raise SpecError(f"{path} is not a {kind}: it must contain keys such as name and base_url")
    return data

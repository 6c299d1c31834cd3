"""Safe loading of untrusted YAML files: plain data of YAML 1.2's core schema only, within bounds."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Any, ClassVar, NamedTuple

import yaml
from pydantic import AfterValidator, BaseModel, ConfigDict, Field

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
PLACEHOLDER = re.compile(r"\w+(:\w+)?")
UNQUOTED_PLACEHOLDER = re.compile(r"""^[^"']*[:,\[{-]\s*[^"'{\s]*\{\w+(:\w+)?\}[^"']*$""")


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
    return _parse_file(path, _read_text(path))


def _read_text(path: Path) -> str:
    try:
        with path.open("rb") as file:
            content = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise SpecError(f"{path} cannot be read: {error.strerror}") from error
    if len(content) > MAX_BYTES:
        raise SpecError(f"{path} is over {MAX_BYTES} bytes, too large for a spec: check the path")
    try:
        return content.decode("utf-8-sig")
    except ValueError as error:
        raise SpecError(f"{path} is not YAML: {_reason(error)}") from None


def _parse_file(path: Path, text: str) -> Any:
    try:
        return parse_yaml(text, str(path))
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise SpecError(f"{path} is not YAML: {_reason(error, text)}") from None  # its text quotes the file


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
        if name := _bare_placeholder(node):
            raise SpecError(
                f'{place}: {_shown(key)}: {{{name}}} without quotes is a YAML map: write "{{{name}}}"'
            )
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


def _bare_placeholder(node: yaml.MappingNode) -> str | None:
    """Return the name in an unquoted placeholder, which is a map with a key and nothing after it."""
    if not node.flow_style or len(node.value) != 1:
        return None
    [(key, value)] = node.value
    is_bare = value.start_mark.index == value.end_mark.index and PLACEHOLDER.fullmatch(str(key.value))
    return str(key.value) if is_bare else None


# What to do about an error of the YAML parser, by a part of its message; the first that fits.
ADVICE = {
    "found character '\\t'": "a tab: indent with spaces",
    "that cannot start any token": "put a value that starts with this character in quotes",
    "mapping values are not allowed": (
        "an unexpected colon: indent this key like the keys beside it, put a space after the colon of the "
        "line before, and put text that contains a colon and a space in quotes"
    ),
    "expected <block end>": (
        "indented unlike the lines above it, or text after a quote or bracket: keys of one map start in the "
        "same column, and so do the dashes of a list"
    ),
    "could not find expected ':'": "a line without a colon: write key: value",
    "expected ',' or": "close the bracket before this line, and put text with any of [ ] { } , ? in quotes",
    "while scanning a quoted scalar": "close the quotes",
    "unknown escape": "a backslash in double quotes: use single quotes",
    "undefined alias": "put a value that starts with * in quotes",
    "expected a single document": "remove the second ---: a file holds one spec",
}


def _reason(error: Exception, text: str = "") -> str:
    if isinstance(error, RecursionError):
        return "it is nested too deeply"
    if not isinstance(error, yaml.MarkedYAMLError) or not error.problem_mark:
        return "it contains an invalid character or number"
    mark = error.problem_mark
    if "end of stream" in str(error.problem) and error.context_mark:
        mark = error.context_mark  # where it was opened
    line = next(iter(text.splitlines()[mark.line :]), "")
    found = f"{error.context}: {error.problem}"
    advice = next((each for part, each in ADVICE.items() if part in found), error.problem)
    if UNQUOTED_PLACEHOLDER.search(line):
        advice = "put text that contains a placeholder such as {warehouse} in quotes"
    return f"line {mark.line + 1}, column {mark.column + 1}: {advice}"


def _check_dotted(path: str) -> str:
    """Return a path. Raises ValueError if it is written as in JSONPath, or as a JSON pointer."""
    if path.startswith(("$.", "/")) or re.search(r"\[[0-9*]*\]", path):
        plain = re.sub(r"\[([0-9]*)\*?\]", r".\1", path.removeprefix("$")).replace("/", ".")
        plain = ".".join(filter(None, plain.split(".")))
        raise ValueError(f"a path is keys joined by dots, and a list index is a number: write {plain}")
    return path


DottedPath = Annotated[
    str,
    Field(
        pattern=r"^([^.\s\\]|\\\.)+(\.([^.\s\\]|\\\.)+)*$",
        description="Keys joined by dots; write a dot in a key as \\.; a number is a list index, from 0",
    ),
    AfterValidator(_check_dotted),
]
Scalar = str | int | float | bool


class Part(BaseModel):
    """A part of a spec: immutable, with no unknown keys.

    No error repeats the input: an address may contain a password.
    """

    model_config = ConfigDict(
        extra="forbid", defer_build=True, frozen=True, populate_by_name=True, hide_input_in_errors=True
    )


class SpecFile(NamedTuple):
    """The keys and values of a YAML file, and its text."""

    data: dict[str, Any]
    text: str


def read_spec(path: Path, kind: str) -> SpecFile:
    """Return what is in a YAML file. Raises SpecError if it cannot be read or has no keys."""
    text = _read_text(path)
    data = _parse_file(path, text)
    if not isinstance(data, dict):
        found = {list: "a list: remove the dash before its keys", type(None): "empty"}.get(type(data), "text")
        advice = ": put a space after each colon, as in name: acme" if found == "text" else ""
        raise SpecError(
            f"{path} is not a {kind}: it must contain keys such as name and base_url, and is {found}{advice}"
        )
    return SpecFile(data, text)

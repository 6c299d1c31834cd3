"""Parsing of a page's JSON in which an unparsable record affects only itself and is kept as text."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from secrets import token_hex
from typing import Any

from sku_velocity.source.mapping import path_keys
from sku_velocity.text import is_unicode

MAX_DEPTH = 200  # levels below a record, as in pydantic's own parser
# Brackets, whole strings (so that brackets in them do not count), and numbers with more digits than Python
# converts to an int (sys.int_info.default_max_str_digits).
_TOKEN = re.compile(r'"[^"\\]*(?:\\.[^"\\]*)*"|[\[{\]}]|-?[0-9][0-9.eE+-]{4300,}', re.DOTALL)
_BOUNDARY = re.compile(r'"[^"\\]*(?:\\.[^"\\]*)*"|[\[{\]},]', re.DOTALL)
_SPACE = re.compile(r"[ \t\n\r]*")
_DECODER = json.JSONDecoder(strict=False)


class Unparsed(str):
    """The JSON text of a value that cannot be parsed: nested too deep, or with a number too long."""


def read_document(body: bytes, depth: int) -> Any:
    """Parse a body's JSON, in which records are `depth` levels below the top.

    A record that cannot be parsed is returned as `Unparsed`; bytes that are not UTF-8, as lone surrogates.
    Raises ValueError if the body is not JSON.
    """
    text = body.decode(json.detect_encoding(body), "surrogateescape")
    try:
        return json.loads(text, strict=False)
    except (RecursionError, ValueError) as error:
        spans = list(_hard_spans(text, depth))
        if not spans:
            raise ValueError("not JSON") from error
    return _loads_around(text, spans)


def dump(record: Any) -> str:
    """Return JSON text that any database accepts: invalid Unicode is escaped."""
    if isinstance(record, Unparsed):
        return storable(record)
    text = json.dumps(record, ensure_ascii=False)
    return text if is_unicode(text) else json.dumps(record)


def storable(text: str) -> str:
    """Return JSON text with escapes in place of the characters that no database accepts."""
    return text.encode("utf-8", "backslashreplace").decode().replace("\x00", "\\u0000")


def record_texts(body: bytes, path: str) -> list[str]:
    """Return the JSON text of each record of the list at `path` exactly as it is in the body."""
    text = body.decode(json.detect_encoding(body), "surrogateescape")
    start = _find(text, path)
    return [text[begin:end] for _, begin, end in _members(text, start)]


def value_text(body: bytes, path: str) -> str:
    """Return the JSON text of the value at `path` exactly as it is in the body."""
    text = body.decode(json.detect_encoding(body), "surrogateescape")
    start = _find(text, path)
    return text[start : _end_of_value(text, start)]


def repeated_key(body: bytes, paths: Iterable[str]) -> str | None:
    """Return a path with a key that its object has twice, or None: a parser ignores all but the last one."""
    for path in paths:
        keys = path_keys(path) if path else []
        if all(body.count(json.dumps(key).encode()) < 2 for key in keys):
            continue  # fast: most bodies have each key once
        text = body.decode(json.detect_encoding(body), "surrogateescape")
        start = _skip(text, 0)
        for key in keys:
            found = [begin for each, begin, _ in _members(text, start) if each == key]
            if len(found) > 1:
                return path
            if not found:
                break
            start = found[0]
    return None


def _find(text: str, path: str) -> int:
    """Return where the value at a dotted path begins."""
    start = _skip(text, 0)
    for key in path_keys(path) if path else ():
        start = {key: begin for key, begin, _ in _members(text, start)}[key]
    return start


def _members(text: str, start: int) -> Iterator[tuple[str | int, int, int]]:
    """Yield the key (or index) and the span of each value of the object or array that begins at `start`."""
    if text[start] not in "{[":
        return
    is_object, place, index = text[start] == "{", start + 1, 0
    while text[place := _skip(text, place)] not in "]}":
        if text[place] == ",":
            place += 1
            continue
        key: str | int = index
        if is_object:
            key, place = _DECODER.raw_decode(text, place)
            place = _skip(text, _skip(text, place) + 1)  # the colon
        end = _end_of_value(text, place)
        yield key, place, end
        place, index = end, index + 1


def _end_of_value(text: str, start: int) -> int:
    try:
        return _DECODER.raw_decode(text, start)[1]
    except (RecursionError, ValueError):  # nested too deep, or with a number too long
        pass
    level = 0
    for token in _BOUNDARY.finditer(text, start):
        match text[token.start()]:
            case "[" | "{":
                level += 1
            case "]" | "}":
                if level <= 1:
                    return token.end() if level else token.start()
                level -= 1
            case "," if not level:
                return token.start()
    return len(text)


def _skip(text: str, start: int) -> int:
    space = _SPACE.match(text, start)
    return space.end() if space else start


def _hard_spans(text: str, depth: int) -> Iterator[tuple[int, int]]:
    """Yield the spans of records nested too deep or with too long a number, and of such numbers elsewhere."""
    level, start, is_hard = 0, 0, False
    for token in _TOKEN.finditer(text):
        match text[token.start()]:
            case "[" | "{":
                if level == depth:
                    start, is_hard = token.start(), False
                level += 1
                is_hard |= level - depth > MAX_DEPTH
            case "]" | "}":
                level -= 1
                if level == depth and is_hard:
                    yield start, token.end()
            case '"':
                pass
            case _ if level > depth:
                is_hard = True
            case _:
                yield token.span()


def _loads_around(text: str, spans: list[tuple[int, int]]) -> Any:
    mark = token_hex(8)  # no text from outside can contain it

    def restore(value: dict[str, Any]) -> Any:
        return Unparsed(text[slice(*spans[value[mark]])]) if mark in value else value

    pieces, end = [], 0
    for number, span in enumerate(spans):
        pieces += [text[end : span[0]], f'{{"{mark}": {number}}}']
        end = span[1]
    try:
        return json.loads("".join([*pieces, text[end:]]), strict=False, object_hook=restore)
    except RecursionError as error:
        raise ValueError("nested too deep outside its records") from error

"""A page's JSON, read so that what no parser takes costs its record alone, and is kept as its text."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from secrets import token_hex
from typing import Any

from sku_velocity.text import is_unicode

MAX_DEPTH = 200  # levels below a record, as in pydantic's own parser
# What ends a level or begins one, strings whole, so that nothing in them counts, and a number of more digits
# than Python turns into an int (sys.int_info.default_max_str_digits).
_TOKEN = re.compile(r'"[^"\\]*(?:\\.[^"\\]*)*"|[\[{\]}]|-?[0-9][0-9.eE+-]{4300,}', re.DOTALL)


class Unparsed(str):
    """The JSON text of a value that is nested too deep, or holds a number too long, to be parsed."""


def read_document(body: bytes, depth: int) -> Any:
    """The value that a body's JSON stands for; records stand `depth` levels below the top.

    A record that cannot be parsed is there as `Unparsed`; bytes that are not UTF-8, as lone surrogates.
    Raises ValueError where the body is not JSON.
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
    """JSON text that any database takes: what is no Unicode stands escaped."""
    if isinstance(record, Unparsed):
        return record.encode("utf-8", "backslashreplace").decode()
    text = json.dumps(record, ensure_ascii=False)
    return text if is_unicode(text) else json.dumps(record)


def _hard_spans(text: str, depth: int) -> Iterator[tuple[int, int]]:
    """Where records stand that are nested too deep or hold too long a number, and such numbers outside."""
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
    mark = token_hex(8)  # which no text from outside can hold

    def restore(value: dict[str, Any]) -> Any:
        return Unparsed(text[slice(*spans[value[mark]])]) if mark in value else value

    pieces, end = [], 0
    for number, span in enumerate(spans):
        pieces += [text[end : span[0]], f'{{"{mark}": {number}}}']
        end = span[1]
    try:
        return json.loads("".join([*pieces, text[end:]]), strict=False, object_hook=restore)
    except RecursionError as error:
        raise ValueError("nested too deep outside of its records") from error

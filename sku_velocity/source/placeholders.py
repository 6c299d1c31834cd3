"""Fills in the placeholders of a request, escaped for the language of the quoted literals around them."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from sku_velocity.text import printable, shorten

NAME = r"\{(?P<name>warehouse|warehouse:number|start|end|since)\}"
QUOTE_OR_BACKSLASH = re.compile(r"['\"\\]")
WORD = re.compile(r"[\w.]*")  # needs no quotes in any language


class UnescapedTextError(ValueError):
    """A value would change the meaning of the text that it is put into."""


@dataclass(frozen=True)
class Language:
    """A language with quoted literals: its quotes, and how a value between them is escaped."""

    quotes: str
    escape: Callable[[str, str], str]  # of a value and the quote
    has_backslashes: bool = False

    @property
    def pieces(self) -> re.Pattern[str]:
        """Return a pattern of what matters in a text: placeholders, quotes and escaped characters."""
        skipped = r"|\\." if self.has_backslashes else ""
        return re.compile(rf"{NAME}|(?P<quote>[{self.quotes}]){skipped}", re.DOTALL)


def _doubled(value: str, quote: str) -> str:
    return value.replace(quote, quote * 2)


def _json(value: str, _quote: str) -> str:
    return json.dumps(value, ensure_ascii=False)[1:-1]


def _refused(value: str, _quote: str) -> str:
    if QUOTE_OR_BACKSLASH.search(value):
        raise UnescapedTextError(
            "contains a quote or a backslash and is put between quotes: set request.literals to the language "
            "of that text (odata, sql or json), so that it is escaped"
        )
    return value


LANGUAGES = {
    "odata": Language("'", _doubled),
    "sql": Language("'\"", _doubled),
    "json": Language('"', _json, has_backslashes=True),
    None: Language("'\"", _refused, has_backslashes=True),
}


def fill(
    text: str, values: Mapping[str, str], literals: str | None, encode: Callable[[str], str] = str
) -> str:
    """Return a text with its placeholders replaced; `encode` is applied to the warehouse after escaping.

    Raises UnescapedTextError if a value needs escaping and the text's language is not known, or if a
    warehouse that is not a word is put outside the quotes of an expression.
    """
    language, quote, end = LANGUAGES[literals], "", 0
    parts = []
    for match in language.pieces.finditer(text):
        parts.append(text[end : match.start()])
        end = match.end()
        if (name := match["name"]) is None:
            parts.append(match[0])
            quote = _quote_after(match, quote)
            continue
        try:
            value = language.escape(values[name], quote) if quote else values[name]
            if not quote and literals and " " in text and name == "warehouse":
                _check_word(value)
        except UnescapedTextError as error:
            shown = shorten(printable(values[name]), 100)
            raise UnescapedTextError(f"the {name} {shown!r} {error}; the text is {shorten(text)}") from None
        parts.append(encode(value) if name == "warehouse" else value)
    return "".join([*parts, text[end:]])


def _quote_after(match: re.Match[str], quote: str) -> str:
    """Return the quote that is open behind a piece, or an empty string."""
    if match["quote"] is None or (quote and quote != match["quote"]):
        return quote
    return "" if quote else match["quote"]


def _check_word(value: str) -> None:
    if not WORD.fullmatch(value):
        raise UnescapedTextError(
            "is put into an expression without quotes: put quotes around {warehouse} in the spec, or use "
            "{warehouse:number}"
        )

"""Untrusted text, made safe to display and to store: without secrets, then shortened."""

from __future__ import annotations

import json

from sku_velocity.masking import hide

SHOWN_CHARACTERS = 300  # of a reject's raw record
QUOTED_CHARACTERS = 200
QUOTED_BYTES = 64 * 1024  # of a body, of which the first few characters are quoted

OPTION_NAMES = {"warehouses": "warehouse"}  # repeated, with one value each


def option_name(field: str) -> str:
    """Return the name of the option for a field of a request, without its dashes."""
    return OPTION_NAMES.get(field, field).strip("_").replace("_", "-").lower()


def one_line(text: str) -> str:
    """Return untrusted text on one line, without control characters."""
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())


def shorten(text: str, characters: int = SHOWN_CHARACTERS) -> str:
    """Return the beginning of a text without secrets, with its full length if it is cut."""
    text = hide(text)
    return text if len(text) <= characters else f"{text[:characters]}… ({len(text)} characters)"


def is_unicode(text: str) -> bool:
    """Return True if a text contains no lone surrogate, so it can be sent and stored."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def quote(body: bytes, is_cut: bool = False) -> str:
    """Return the first 200 characters of a body on one line and without secrets, safe to quote in a message.

    With `is_cut`, the body is the beginning of a longer one, which may end within a secret.
    """
    start = body[:QUOTED_BYTES]
    text = start.decode(json.detect_encoding(start), errors="replace")
    text = hide(text, is_cut or len(body) > len(start))
    return printable(" ".join(text.split())[:QUOTED_CHARACTERS])


def printable(text: str) -> str:
    """Return a line of text with a replacement character for each character that is not printable."""
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text)

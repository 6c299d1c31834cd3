"""Text from outside, made fit to show."""

from __future__ import annotations

SHOWN_CHARACTERS = 300  # of a reject's raw record


def one_line(text: str) -> str:
    """Text that came from outside, on one line and without what steers a terminal."""
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())


def shorten(text: str, characters: int = SHOWN_CHARACTERS) -> str:
    """The beginning of a text, with its full length where some is left out."""
    return text if len(text) <= characters else f"{text[:characters]}… ({len(text)} characters)"


def is_unicode(text: str) -> bool:
    """Whether a text holds no lone surrogate, so that it can be sent and stored."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


QUOTED_CHARACTERS = 200


def quote(body: bytes) -> str:
    """The first 200 characters of a body, fit to stand in a message on one line."""
    text = body[: QUOTED_CHARACTERS * 4].decode("utf-8", errors="replace")
    return printable(" ".join(text[:QUOTED_CHARACTERS].split()))


def printable(text: str) -> str:
    """A line of text on which no terminal acts: what is not printable shows as a replacement character."""
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text)

"""Text from outside as Markdown, and what happens when Prefect does not take an artifact."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

import httpx
from prefect.logging.loggers import get_logger

from sku_velocity.text import one_line

_logger = get_logger("artifacts")
_MARKDOWN = re.compile(r"([\\`*_{}\[\]()<>#+\-.!|~&:@])")


def escape(text: str) -> str:
    """Text that came from outside, made to show as itself in Markdown: no markup, no link, one line."""
    return _MARKDOWN.sub(r"\\\1", one_line(text)).replace(r"\<", "&lt;").replace(r"\&", "&amp;")


@contextmanager
def ignoring_artifact_errors() -> Iterator[None]:
    """What Prefect does not take to be shown fails nothing: the store holds all of it."""
    try:
        yield
    except httpx.HTTPError as error:
        _logger.warning("Prefect did not take an artifact: %s", str(error) or type(error).__name__)

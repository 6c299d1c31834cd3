"""Escapes external text for Markdown, and handles artifacts that Prefect does not accept."""

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
    """Escape external text so that Markdown shows it literally: no markup, no link, one line."""
    return _MARKDOWN.sub(r"\\\1", one_line(text)).replace(r"\<", "&lt;").replace(r"\&", "&amp;")


@contextmanager
def ignoring_artifact_errors() -> Iterator[None]:
    """Log an artifact that Prefect does not accept, and continue: the store holds all of it."""
    try:
        yield
    except httpx.HTTPError as error:
        _logger.warning(
            "Prefect did not accept an artifact, continuing without it: %s",
            str(error) or type(error).__name__,
        )

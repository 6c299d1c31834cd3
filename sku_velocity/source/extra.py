"""The fields that a spec names in `extra`, as one JSON object per record."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from typing import Any

from sku_velocity.source.columns import Column
from sku_velocity.source.spec import EXTRA

MAX_BYTES = 4096  # of a record's object
TOO_LONG = f"is over {MAX_BYTES} bytes as JSON: map fewer or shorter fields"
NOT_JSON = "contains NUL, NaN or Infinity, which a JSON column cannot hold"
_NUL = re.compile(r"(?<!\\)(?:\\\\)*\\u0000")
_NUMBERS = ("NaN", "Infinity")


class ExtraReader:
    """Reads the extra fields of records, each from its column."""

    def __init__(self, names: Iterable[str]) -> None:
        self._names = sorted(names)

    def texts(self, columns: Mapping[str, Column]) -> list[str | None]:
        """Return the JSON text of each record's extra fields that have a value; None if none has."""
        values = (columns[f"{EXTRA}{name}"] for name in self._names)
        return [self._text(each) for each in zip(*values, strict=True)]

    def _text(self, values: Iterable[Any]) -> str | None:
        found = {name: value for name, value in zip(self._names, values, strict=True) if value is not None}
        return json.dumps(found, ensure_ascii=False, separators=(",", ":")) if found else None


def refusal(text: str | None) -> str | None:
    """Return why a record with this text of its extra fields is rejected, or None if it is accepted."""
    if text is None:
        return None
    if len(text) > MAX_BYTES or len(text.encode()) > MAX_BYTES:
        return TOO_LONG
    if _NUL.search(text) or any(name in text for name in _NUMBERS) and not _is_json(text):
        return NOT_JSON
    return None


def _is_json(text: str) -> bool:
    def refuse(name: str) -> None:
        raise ValueError(name)

    try:
        json.loads(text, parse_constant=refuse)
    except ValueError:
        return False
    return True

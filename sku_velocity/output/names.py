"""The names of files, directories and artifacts. Different sources or warehouses never share one.

Words are joined by a separator that no word contains. A word with other characters than its plain form, or
in the other case (`wh-1`, while `WH-1` is plain), gets a digest after a mark that no plain word contains.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from hashlib import blake2b
from urllib.parse import quote

LONGEST = 60  # characters of a word
LONGEST_VALUE = 200  # bytes of a partition's value; file systems take 255 for a name
_SOURCE = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")
_WAREHOUSE = re.compile(r"[A-Z0-9]+(-[A-Z0-9]+)*")


def file_stem(source: str, warehouse: str) -> str:
    """Return a file's name without its suffix, as in `acme.WH-01`: unique on every file system."""
    return f"{_word(source, _SOURCE, '_')}.{_word(warehouse, _WAREHOUSE, '_')}"


def artifact_key(kind: str, source: str, warehouse: str = "") -> str:
    """Return the key of an artifact, as in `acme--wh-01--summary`; without a warehouse `acme--rejects`."""
    words = [_word(source, _SOURCE, "---")]
    words += [_word(warehouse, _WAREHOUSE, "---")] if warehouse else []
    return "--".join([*words, kind]).lower()


def partition(column: str, value: str) -> str:
    """Return the name of a directory of the Hive layout, as in `warehouse=WH-01`. Readers decode the value.

    ASCII characters except letters, digits, `-`, `_` and `.` are percent-encoded. Others stay, because Spark
    decodes byte by byte. A value that is too long for a file system is cut, and gets a digest after `~`.
    """
    text = value.encode("utf-8", "backslashreplace").decode()
    encoded = [each if each >= "\x80" else quote(each, "").replace("~", "%7E") for each in text]
    if _bytes(encoded) > LONGEST_VALUE:
        kept = encoded[:LONGEST_VALUE]
        while _bytes(kept) > LONGEST_VALUE - 17:
            kept.pop()
        encoded = [*kept, "~", _digest(value)]
    return f"{column}={''.join(encoded)}"


def _bytes(parts: Sequence[str]) -> int:
    return len("".join(parts).encode())


def _digest(text: str) -> str:
    return blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).hexdigest()


def _word(text: str, plain: re.Pattern[str], mark: str) -> str:
    if plain.fullmatch(text) and len(text) <= LONGEST:
        return text
    legible = re.sub(r"[^A-Za-z0-9]+", "-", text)[:LONGEST].strip("-")
    return f"{legible or 'name'}{mark}{_digest(text)}"

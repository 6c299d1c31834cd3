"""The names of files and artifacts. Different sources or warehouses never share one.

Words are joined by a separator that no word contains. A word with other characters than its plain form, or
in the other case (`wh-1`, while `WH-1` is plain), gets a digest after a mark that no plain word contains.
"""

from __future__ import annotations

import re
from hashlib import blake2b

LONGEST = 60  # characters of a word
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


def _word(text: str, plain: re.Pattern[str], mark: str) -> str:
    if plain.fullmatch(text) and len(text) <= LONGEST:
        return text
    digest = blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).hexdigest()
    legible = re.sub(r"[^A-Za-z0-9]+", "-", text)[:LONGEST].strip("-")
    return f"{legible or 'name'}{mark}{digest}"

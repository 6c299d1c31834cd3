"""CSV for spreadsheets: text that one would run as a formula is escaped. Parquet and JSON are exact."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable

# What a spreadsheet reads as the start of a formula, in the fullwidth forms too, and the quote itself, so
# that escaping is reversible. https://owasp.org/www-community/attacks/CSV_Injection
DANGEROUS = ("=", "+", "-", "@", "\t", "\r", "\n", "\uff1d", "\uff0b", "\uff0d", "\uff20", "'")


def csv_line(cells: Iterable[object]) -> str:
    """Return a line of CSV with its line end. None is an empty cell; only text is escaped, never a number."""
    line = io.StringIO()
    csv.writer(line).writerow([_cell(value) for value in cells])
    return line.getvalue()


def escape_formula(cell: str) -> str:
    """Prefix a cell with `'` if a spreadsheet would read it as a formula.

    A cell that begins with `'` is prefixed too: to undo it, remove one leading `'` from each cell.
    """
    return f"'{cell}" if cell.startswith(DANGEROUS) else cell


def _cell(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):  # a reason may hold half a character
        return escape_formula(value.encode("utf-8", "backslashreplace").decode())
    return str(value)

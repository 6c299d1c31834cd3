"""When a value in a spec equals a value in a record: a number equals its text, a boolean only a boolean."""

from __future__ import annotations

MAX_BITS = 1024  # of an integer; Python refuses to write out far longer ones


def comparison_keys(value: object) -> frozenset[object]:
    """Return the keys of a value: two values are equal if they share one.

    261 equals 261.0 and "261", but not "261.0", whose text differs. A list or an object equals nothing.
    """
    if value is None or isinstance(value, bool | str):
        return frozenset({value})
    if isinstance(value, float):
        return frozenset({str(value), str(int(value)) if value.is_integer() else str(value)})
    is_key = isinstance(value, int) and value.bit_length() <= MAX_BITS
    return frozenset({str(value)} if is_key else ())

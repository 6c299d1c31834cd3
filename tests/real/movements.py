"""The movements in each real system. The systems' own scripts import this: standard library only."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import cycle, islice
from typing import NamedTuple

START, BORDER, END = (datetime(2026, 3, day, tzinfo=UTC) for day in (1, 2, 4))
COUNT = 3_000  # of the warehouse that is read
OTHERS = 600  # of another warehouse
WAREHOUSE, OTHER_WAREHOUSE = "WH-01", "WH-02"
BESIDE_THE_BORDER = [timedelta(milliseconds=ms) for ms in (-1000, -1, 0, 0, 1, 999, 1000)]


class Movement(NamedTuple):
    """One movement; `at` has milliseconds."""

    sku: str
    warehouse: str
    units: int
    at: datetime


def movements() -> Iterator[Movement]:
    """Yield the movements of both warehouses in no order of time, with several at the same instant."""
    for warehouse, count in ((WAREHOUSE, COUNT), (OTHER_WAREHOUSE, OTHERS)):
        for number, at in enumerate(islice(_instants(), count)):
            yield Movement(f"SKU-{number % 97:05d}", warehouse, number % 24 + 1, at)


def _instants() -> Iterator[datetime]:
    yield from (BORDER + offset for offset in BESIDE_THE_BORDER)
    yield from (START, START, END - timedelta(milliseconds=1))
    length = (END - START) // timedelta(milliseconds=1)
    place = 0
    for step in cycle((7_919_000, 104_729_000, 86_028_121)):
        place = (place + step) % length
        yield START + timedelta(milliseconds=place)


def iso(at: datetime) -> str:
    """Format an instant with milliseconds, as JavaScript does."""
    return at.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")

"""A simulated stock ledger: its lines, and what a query finds among them."""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from simulator.dialect import BadQuestionError
from simulator.row import Row

Columns = dict[str, Any]
EVERY = 3  # a line of another kind follows every third movement


@dataclass(frozen=True)
class Line:
    """One line of a ledger, numbered in order of time. Its `kind` is pick for a movement, or another."""

    number: int
    kind: str
    sku: str
    warehouse: str
    units: int
    at: datetime

    @property
    def signed(self) -> int:
        """Return the units as a change of the stock: only a receipt adds to it."""
        return self.units if self.kind == "receipt" else -self.units

    @property
    def entered(self) -> float:
        """Return the units in the line's own unit of measure: every third line was entered in dozens."""
        return self.units / 12 if self.number % 3 == 0 else float(self.units)


@dataclass(frozen=True)
class Condition:
    """A condition on a column: `comparison` is one of =, !=, <, <=, >, >=, in, child_of, not child_of.

    The last two compare a place, given with all the places above it, with a list of places.
    """

    column: str
    comparison: str
    value: Any

    def holds(self, columns: Columns) -> bool:
        """Return True if a line meets it; an empty value meets none, as in SQL. Raises BadQuestionError."""
        if self.column not in columns:
            raise BadQuestionError(f"there is no {self.column}")
        found = columns[self.column]
        try:
            return found is not None and COMPARISONS[self.comparison](found, self.value)
        except (TypeError, KeyError) as error:
            raise BadQuestionError(f"not understood: {self.column} {self.comparison} {self.value}") from error


COMPARISONS: Mapping[str, Callable[[Any, Any], bool]] = {
    "=": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
    "in": lambda found, values: found in values,
    "child_of": lambda places, parents: any(parent in places for parent in parents),
    "not child_of": lambda places, parents: not any(parent in places for parent in parents),
}


@dataclass(frozen=True)
class Query:
    """A query for lines; `order` contains columns, each with True if it is descending."""

    where: Sequence[Condition] = ()
    order: Sequence[tuple[str, bool]] = ()
    offset: int = 0
    limit: int | None = None


@dataclass(frozen=True)
class Found:
    """The lines of one page, and the total over all pages."""

    lines: list[Columns]
    total: int


class Ledger:
    """Lines as columns, in the order of an answer to a query without an order."""

    def __init__(self, columns: list[Columns]) -> None:
        self._columns = columns

    def find(self, query: Query) -> Found:
        """Return the page that a query selects. Raises BadQuestionError."""
        found = [row for row in self._columns if all(condition.holds(row) for condition in query.where)]
        for column, is_descending in reversed(query.order):
            if found and column not in found[0]:
                raise BadQuestionError(f"there is no {column} to order by")
            found.sort(key=operator.itemgetter(column), reverse=is_descending)
        end = None if query.limit is None else query.offset + query.limit
        return Found(found[query.offset : end], len(found))


def mixed(rows: Iterable[Row], kinds: Sequence[str]) -> list[Line]:
    """Return the movements in order of time, with lines of other kinds among them, at the same instants."""
    lines: list[Line] = []
    for place, row in enumerate(sorted(rows, key=lambda row: row.at)):
        drawn = [kinds[place // EVERY % len(kinds)]] if kinds and place % EVERY == 0 else []
        for kind in ("pick", *drawn):
            lines.append(Line(len(lines) + 1, kind, row.sku_id, row.warehouse_id, row.units_moved, row.at))
    return lines

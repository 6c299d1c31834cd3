"""A bare array, and json-server of versions 0.17 and 1.x."""

from __future__ import annotations

from datetime import timedelta
from math import ceil
from typing import Any, ClassVar

from simulator.dialect import Call, Reply
from simulator.systems.doors import OPEN, Door
from simulator.systems.ledger import Columns, Condition, Ledger, Line, Query
from simulator.systems.system import NoSuchPathError, System, as_json, named, number

MILLISECOND = timedelta(milliseconds=1)
OPERATORS = {"lt": "<", "lte": "<=", "gt": ">", "gte": ">=", "eq": "=", "ne": "!="}


class PlainArray(System):
    """Offset and limit in the query, and neither a total, a filter nor an order."""

    newest_first: ClassVar[bool] = False

    def columns(self, line: Line) -> Columns:
        return {
            "sku_id": line.sku,
            "warehouse_id": line.warehouse,
            "units_moved": line.units,
            "timestamp_utc": f"{self.wall(line.at):%Y-%m-%dT%H:%M:%SZ}",
        }

    def answer(self, call: Call, ledger: Ledger) -> Reply:
        if (call.method, call.path) != ("GET", "/movements"):
            raise NoSuchPathError
        named(call, "offset", "limit")
        limit = self.capped(number(call, "limit", None))
        return as_json(ledger.find(Query((), (), number(call, "offset", 0) or 0, limit)).lines)


class JsonServer(System):
    """It compares as JavaScript does, texts as texts: `08:00:00.000Z` is less than `08:00:00Z`."""

    grain: ClassVar[timedelta] = MILLISECOND
    door: ClassVar[Door] = OPEN

    def columns(self, line: Line) -> Columns:
        wall = self.wall(line.at).replace(tzinfo=None).isoformat(timespec="milliseconds")
        return {
            "id": line.number,
            "sku_id": line.sku,
            "warehouse_id": line.warehouse,
            "units_moved": line.units,
            "timestamp_utc": f"{wall}Z",
        }

    def answer(self, call: Call, ledger: Ledger) -> Reply:
        if (call.method, call.path) != ("GET", "/movements"):
            raise NoSuchPathError
        descending = call.params.get("_order", "asc").split(",")
        columns = [name for name in call.params.get("_sort", "").split(",") if name]
        order = [
            (name, place < len(descending) and descending[place] == "desc")
            for place, name in enumerate(columns)
        ]
        start, limit = number(call, "_start", 0) or 0, number(call, "_limit", None)
        found = ledger.find(Query(_conditions(call), order, start, limit))
        return as_json(found.lines, headers={"X-Total-Count": str(found.total)})


class JsonServer1(JsonServer):
    """Version 1.x: an envelope, pages by number, and its last page for every page past the end.

    Ids are texts; a filter's value that looks like a number is one.
    """

    def columns(self, line: Line) -> Columns:
        return super().columns(line) | {"id": str(line.number)}

    def answer(self, call: Call, ledger: Ledger) -> Reply:
        if (call.method, call.path) != ("GET", "/movements"):
            raise NoSuchPathError
        names = [name for name in call.params.get("_sort", "").split(",") if name]
        order = [(name.removeprefix("-"), name.startswith("-")) for name in names]
        where = [_condition(name, value) for name, value in call.params.items() if not name.startswith("_")]
        total = ledger.find(Query(where)).total
        page, size = number(call, "_page", None), number(call, "_per_page", 10) or 1
        if page is None:
            return as_json(ledger.find(Query(where, order)).lines)
        pages = max(1, ceil(total / size))
        place = min(max(1, page), pages)
        found = ledger.find(Query(where, order, (place - 1) * size, size))
        following = place + 1 if place < pages else None
        envelope = {"first": 1, "next": following, "last": pages, "pages": pages, "items": total}
        return as_json(envelope | {"data": found.lines})


def _condition(name: str, value: str) -> Condition:
    column, _, operator = name.partition(":")
    return Condition(column, OPERATORS[operator or "eq"], _coerced(value))


def _coerced(value: str) -> Any:
    try:
        return float(value)
    except ValueError:
        return value


def _conditions(call: Call) -> list[Condition]:
    found = []
    for name, value in call.params.items():
        if name.startswith("_"):
            continue
        column, mark, comparison = name.rpartition("_")
        if mark and comparison in ("gte", "lte"):
            found.append(Condition(column, ">=" if comparison == "gte" else "<=", value))
        else:
            found.append(Condition(name, "=", value))
    return found

"""Tables of movements served as they are: by Datasette, and by PocketBase."""

from __future__ import annotations

import re
from typing import ClassVar

from simulator.dialect import BadQuestionError, Call, Reply
from simulator.systems.doors import Door
from simulator.systems.ledger import Columns, Condition, Ledger, Line, Query
from simulator.systems.plain import MILLISECOND, JsonServer
from simulator.systems.system import NoSuchPathError, System, as_json, number

COMPARISONS = {"exact": "=", "gt": ">", "gte": ">=", "lt": "<", "lte": "<="}
TERM = re.compile(r"(\w+) (=|!=|<=|>=|<|>) '(.*)'")
MOST = 1000  # lines per page


class Datasette(JsonServer):
    """Version 0.65: a page continues behind the last line's time and number. Times are compared as texts."""

    def answer(self, call: Call, ledger: Ledger) -> Reply:
        if (call.method, call.path) != ("GET", "/data/movements.json"):
            raise NoSuchPathError
        size = number(call, "_size", 100) or 100
        if size > MOST:
            raise BadQuestionError(f"_size must be <= {MOST}")
        column = call.params.get("_sort", "id")
        found = ledger.find(Query(_table_conditions(call), [(column, False), ("id", False)]))
        rows = [line for line in found.lines if _is_behind(line, column, call.params.get("_next"))]
        page = rows[:size]
        following = f"{page[-1][column]},{page[-1]['id']}" if len(rows) > size else None
        shown = page if call.params.get("_shape") == "objects" else [[*line.values()] for line in page]
        return as_json({"filtered_table_rows_count": found.total, "next": following, "rows": shown})


class PocketBase(System):
    """Its filter is one text; times are texts with milliseconds; at most 1,000 lines a page, in silence."""

    grain: ClassVar = MILLISECOND
    door: ClassVar[Door] = Door(prefix="")

    def columns(self, line: Line) -> Columns:
        wall = self.wall(line.at).replace(tzinfo=None)
        return {
            "id": f"{line.number:015d}",
            "sku_id": line.sku,
            "warehouse_id": line.warehouse,
            "units_moved": line.units,
            "timestamp_utc": f"{wall.isoformat(' ', timespec='milliseconds')}Z",
        }

    def answer(self, call: Call, ledger: Ledger) -> Reply:
        if (call.method, call.path) != ("GET", "/api/collections/movements/records"):
            raise NoSuchPathError
        names = [name for name in call.params.get("sort", "").split(",") if name]
        order = [(name.lstrip("+-"), name.startswith("-")) for name in names]
        size = min(number(call, "perPage", 30) or 30, self.cap or MOST)
        page = number(call, "page", 1) or 1
        found = ledger.find(Query(_filter_conditions(call), order, (page - 1) * size, size))
        return as_json({"page": page, "perPage": size, "totalItems": found.total, "items": found.lines})


def _table_conditions(call: Call) -> list[Condition]:
    terms = [(name.rpartition("__"), value) for name, value in call.params.items() if name[0] != "_"]
    return [Condition(column, COMPARISONS[word], value) for (column, _, word), value in terms]


def _is_behind(line: Columns, column: str, token: str | None) -> bool:
    if token is None:
        return True
    value, _, line_number = token.rpartition(",")
    return bool((line[column], line["id"]) > (value, int(line_number)))


def _filter_conditions(call: Call) -> list[Condition]:
    terms = [term for term in call.params.get("filter", "").split(" && ") if term]
    matches = [TERM.fullmatch(term) for term in terms]
    if None in matches:
        raise BadQuestionError(f"not understood: filter={call.params['filter']}")
    return [Condition(*match.groups()) for match in matches if match]

"""PostgREST over a table of movements."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Any, ClassVar

from simulator.dialect import BadQuestionError, Call, Reply
from simulator.systems.ledger import Columns, Condition, Found, Ledger, Line, Query
from simulator.systems.system import NoSuchPathError, System, as_json, number

COMPARISONS = {"eq": "=", "neq": "!=", "gt": ">", "gte": ">=", "lt": "<", "lte": "<="}
RESERVED = {"limit", "offset", "order", "select"}
UNIT = re.compile(r"(\d+)-(\d+)")


class PostgRest(System):
    """Operators precede values. The total is counted if `Prefer: count=exact` requests it.

    Its max-rows cuts pages in silence. A page is requested in the query or in the header `Range`.
    """

    grain: ClassVar[timedelta] = timedelta(microseconds=1)

    def columns(self, line: Line) -> Columns:
        return {
            "movement_id": line.number,
            "sku_id": line.sku,
            "warehouse_id": line.warehouse,
            "units_moved": line.units,
            "timestamp_utc": line.at.astimezone(UTC),
        }

    def answer(self, call: Call, ledger: Ledger) -> Reply:
        if (call.method, call.path) != ("GET", "/movements"):
            raise NoSuchPathError
        where = [
            condition
            for name, value in call.params.items()
            if name not in RESERVED
            for condition in _conditions(name, value)
        ]
        order = [
            (column, direction == ["desc"])
            for column, *direction in (t.split(".") for t in call.params.get("order", "").split(",") if t)
        ]
        offset, limit = _place(call)
        found = ledger.find(Query(where, order, offset, self.capped(limit)))
        return self._told(found, offset, "count=exact" in call.headers.get("prefer", ""))

    def _told(self, found: Found, offset: int, is_counted: bool) -> Reply:
        total = str(found.total) if is_counted else "*"
        if is_counted and offset > found.total:
            error = {"code": "PGRST103", "message": "Requested range not satisfiable"}
            return as_json(error, 416, {"Content-Range": f"*/{total}"})
        span = f"{offset}-{offset + len(found.lines) - 1}" if found.lines else "*"
        is_part = is_counted and len(found.lines) < found.total
        lines = [line | {"timestamp_utc": line["timestamp_utc"].isoformat()} for line in found.lines]
        return as_json(lines, 206 if is_part else 200, {"Content-Range": f"{span}/{total}"})


def _place(call: Call) -> tuple[int, int | None]:
    if match := UNIT.fullmatch(call.headers.get("range", "")):
        return int(match[1]), int(match[2]) - int(match[1]) + 1
    return number(call, "offset", 0) or 0, number(call, "limit", None)


def _conditions(name: str, value: str) -> list[Condition]:
    if name != "and":
        return [_condition(name, *_split(value))]
    if not (value.startswith("(") and value.endswith(")")):
        raise BadQuestionError("and needs brackets")
    terms = [term.partition(".") for term in value[1:-1].split(",")]
    return [_condition(column, *_split(rest)) for column, _, rest in terms]


def _split(condition: str) -> tuple[str, str]:
    word, _, value = condition.partition(".")
    return word, value


def _condition(column: str, word: str, value: str) -> Condition:
    if word not in COMPARISONS:
        raise BadQuestionError(f"unexpected {word!r}: an operator is needed before the value")
    return Condition(column, COMPARISONS[word], _literal(column, value.strip('"')))


def _literal(column: str, value: str) -> Any:
    if column != "timestamp_utc":
        return value
    try:
        return datetime.fromisoformat(value)
    except ValueError as error:
        raise BadQuestionError(f"invalid input syntax for type timestamp: {value!r}") from error

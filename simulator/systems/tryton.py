"""Tryton 7.0's stock moves, by JSON-RPC with positional parameters."""

from __future__ import annotations

from datetime import date, timedelta
from typing import Any, ClassVar

from simulator.dialect import BadQuestionError, Call, Reply
from simulator.systems.doors import BASIC, Door
from simulator.systems.ledger import Columns, Condition, Ledger, Line, Query
from simulator.systems.system import DAY, NoSuchPathError, System, as_json, body_of

MODEL = "model.stock.move."
LEADS_TO = {"pick": "customer", "count": "lost_found", "receipt": "storage"}


class Tryton(System):
    """Moves are dated by day, as an object; another record's field stands below a key that ends in a dot."""

    others: ClassVar[tuple[str, ...]] = ("receipt", "count", "draft")
    grain: ClassVar[timedelta] = DAY
    door: ClassVar[Door] = BASIC

    def columns(self, line: Line) -> Columns:
        return {
            "id": line.number,
            "state": "draft" if line.kind == "draft" else "done",
            "quantity": float(line.units),
            "effective_date": self.wall(line.at).date(),
            "product.code": line.sku,
            "from_location.code": "SUP" if line.kind == "receipt" else line.warehouse,
            "to_location.type": LEADS_TO.get(line.kind, "customer"),
        }

    def answer(self, call: Call, ledger: Ledger) -> Reply:
        if (call.method, call.path) != ("POST", "/tryton/"):
            raise NoSuchPathError
        body = body_of(call)
        try:
            method, (domain, *rest) = body["method"].removeprefix(MODEL), body["params"]
            where = [Condition(column, word, _value(value)) for column, word, value in domain]
            if method == "search_count":
                return as_json({"id": body.get("id"), "result": ledger.find(Query(where)).total})
            offset, limit, order, fields, _ = rest
            descending = [(column, direction == "DESC") for column, direction in order or [("id", "DESC")]]
        except (LookupError, TypeError, ValueError) as error:
            return as_json({"id": None, "error": ["UserError", [str(error), ""]]})
        found = ledger.find(Query(where, descending, offset, limit))
        return as_json({"id": body.get("id"), "result": [_told(line, fields) for line in found.lines]})


def _value(value: Any) -> Any:
    """A value of a domain: a date comes as an object, or as its text."""
    if isinstance(value, dict) and value.get("__class__") == "date":
        return date(value["year"], value["month"], value["day"])
    try:
        return date.fromisoformat(value)
    except (TypeError, ValueError):
        return value


def _told(line: Columns, fields: list[str]) -> Columns:
    told: Columns = {}
    for name in fields:
        if name not in line:
            raise BadQuestionError(f"there is no {name}")
        related, dot, field = name.rpartition(".")
        value = line[name]
        if isinstance(value, date):
            value = {"__class__": "date", "year": value.year, "month": value.month, "day": value.day}
        if dot:
            told.setdefault(f"{related}.", {"id": 1})[field] = value
        else:
            told[name] = value
    return told

"""Tryton's stock moves, by JSON-RPC with positional parameters."""

from __future__ import annotations

from datetime import date, timedelta
from typing import Any, ClassVar

from simulator.dialect import BadQuestionError, Call, Reply
from simulator.systems.doors import BASIC, Door
from simulator.systems.ledger import Columns, Condition, Ledger, Line, Query
from simulator.systems.system import DAY, NoSuchPathError, System, as_json, body_of

MODEL = "model.stock.move."
ENVELOPE = {"id", "method", "params"}
SUPPLIER, CUSTOMER, LOST_FOUND = (1,), (2,), (3,)


class Tryton(System):
    """Moves are dated by day, as an object; another record's field is below a key that ends in a dot.

    A warehouse is the number of a location, and moves start and end on shelves below it. `quantity` is in the
    move's own unit. A call without an id is answered without an envelope.
    """

    others: ClassVar[tuple[str, ...]] = ("receipt", "count", "draft", "transfer")
    grain: ClassVar[timedelta] = DAY
    door: ClassVar[Door] = BASIC
    path: ClassVar[str] = "/tryton/"

    def columns(self, line: Line) -> Columns:
        if not line.warehouse.isdecimal():
            raise ValueError(f"Tryton's locations are numbers: not {line.warehouse}, but 7, say")
        source, target = _places(line)
        return {
            "id": line.number,
            "state": "draft" if line.kind == "draft" else "done",
            "quantity": line.entered,
            "internal_quantity": float(line.units),
            "effective_date": self.wall(line.at).date(),
            "product.code": line.sku,
            "from_location": source,
            "from_location.code": f"S{source[0]}",
            "to_location": target,
            "to_location.type": "lost_found" if target == LOST_FOUND else "storage",
        }

    def answer(self, call: Call, ledger: Ledger) -> Reply:
        if (call.method, call.path) != ("POST", self.path):
            raise NoSuchPathError
        body = body_of(call)
        has_envelope = body.keys() == ENVELOPE
        try:
            result = _call_method(body["method"].removeprefix(MODEL), body["params"], ledger)
        except (LookupError, TypeError, ValueError) as error:
            if not has_envelope:
                raise BadQuestionError(str(error)) from error
            return as_json({"id": body["id"], "error": ["UserError", [str(error), ""]]})
        return as_json({"id": body["id"], "result": result} if has_envelope else result)


class Tryton8(Tryton):
    """It listens at another path."""

    path: ClassVar[str] = "/tryton/rpc/"


def _places(line: Line) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Where a move starts and ends: each place with all the places above it."""
    warehouse = int(line.warehouse)
    shelf, other_shelf = (warehouse * 100 + 1, warehouse), (warehouse * 100 + 2, warehouse)
    if line.kind == "receipt":
        return SUPPLIER, shelf
    return shelf, {"count": LOST_FOUND, "transfer": other_shelf}.get(line.kind, CUSTOMER)


def _call_method(method: str, params: list[Any], ledger: Ledger) -> Any:
    domain, *rest = params
    where = [_condition(*term) for term in domain]
    if method == "search_count":
        return ledger.find(Query(where)).total
    if method != "search_read":
        raise BadQuestionError(f"there is no {method}")
    offset, limit, order, fields, _ = rest
    columns = [(column, direction == "DESC") for column, direction in order or [("id", "DESC")]]
    return [_read(line, fields) for line in ledger.find(Query(where, columns, offset, limit)).lines]


def _condition(column: str, comparison: str, value: Any, *parent: str) -> Condition:
    """A term of a domain. A place below another is selected by the field that names its parent."""
    is_below = comparison.endswith("child_of")
    if is_below != (parent == ("parent",)):
        raise BadQuestionError(f"not understood: {column} {comparison} {value} {parent}")
    if is_below and not all(isinstance(number, int) for number in value):
        raise BadQuestionError(f"{column} is compared with numbers")
    return Condition(column, comparison, _value(value))


def _value(value: Any) -> Any:
    """A value of a domain: a date comes as an object, or as its text."""
    if isinstance(value, dict) and value.get("__class__") == "date":
        return date(value["year"], value["month"], value["day"])
    try:
        return date.fromisoformat(value)
    except (TypeError, ValueError):
        return value


def _read(line: Columns, fields: list[str]) -> Columns:
    record: Columns = {}
    for name in fields:
        if name not in line:
            raise BadQuestionError(f"there is no {name}")
        related, dot, field = name.rpartition(".")
        value = line[name]
        if isinstance(value, date):
            value = {"__class__": "date", "year": value.year, "month": value.month, "day": value.day}
        if dot:
            record.setdefault(f"{related}.", {"id": 1})[field] = value
        else:
            record[name] = value
    return record

"""ERPNext's stock ledger over Frappe's REST API, version 1."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any, ClassVar

from simulator.dialect import BadQuestionError, Call, Reply
from simulator.systems.doors import Door
from simulator.systems.ledger import Columns, Condition, Ledger, Line, Query
from simulator.systems.system import NoSuchPathError, System, as_json, number

DOCTYPE = "Stock Ledger Entry"
VOUCHERS = {"pick": "Delivery Note", "receipt": "Purchase Receipt", "count": "Stock Reconciliation"}


class ErpNext(System):
    """Filters, fields and order as JSON and SQL in the query; the count is a method of its own.

    What goes out is below zero, and so is a count that found less; a cancelled entry stays in the ledger.
    """

    others: ClassVar[tuple[str, ...]] = ("receipt", "cancelled", "count")
    door: ClassVar[Door] = Door(prefix="token ")

    def columns(self, line: Line) -> Columns:
        wall = self.wall(line.at)
        return {
            "name": f"MAT-SLE-2026-{line.number:05d}",
            "item_code": line.sku,
            "warehouse": line.warehouse,
            "actual_qty": float(line.signed),
            "voucher_type": VOUCHERS.get(line.kind, "Delivery Note"),
            "is_cancelled": int(line.kind == "cancelled"),
            "posting_date": f"{wall:%Y-%m-%d}",
            "posting_time": timedelta(hours=wall.hour, minutes=wall.minute, seconds=wall.second),
        }

    def answer(self, call: Call, ledger: Ledger) -> Reply:
        where = [Condition(*condition) for condition in _json(call, "filters")]
        if call.path == "/api/method/frappe.client.get_count" and call.params.get("doctype") == DOCTYPE:
            return as_json({"message": ledger.find(Query(where)).total})
        offset, limit = number(call, "limit_start", 0) or 0, number(call, "limit_page_length", 20)
        if (call.method, call.path) == ("GET", "/api/resource/Warehouse"):
            names = sorted({line["warehouse"] for line in ledger.find(Query([])).lines})
            return as_json({"data": [{"name": name} for name in names[offset : offset + (limit or 20)]]})
        if (call.method, call.path) != ("GET", f"/api/resource/{DOCTYPE}"):
            raise NoSuchPathError
        found = ledger.find(Query(where, _order(call.params.get("order_by", "name desc")), offset, limit))
        fields = _json(call, "fields") or ["name"]
        return as_json({"data": [_rendered(line, fields) for line in found.lines]})


def _json(call: Call, name: str) -> Any:
    try:
        return json.loads(call.params.get(name, "[]"))
    except ValueError as error:
        raise BadQuestionError(f"{name} must be JSON") from error


def _order(text: str) -> list[tuple[str, bool]]:
    terms = [term.split() for term in text.split(",")]
    return [(column, direction == ["desc"]) for column, *direction in terms]


def _rendered(line: Columns, fields: list[str]) -> Columns:
    if unknown := set(fields) - line.keys():
        raise BadQuestionError(f"there is no {', '.join(sorted(unknown))}")
    rendered = {name: line[name] for name in fields}
    if "posting_time" in rendered:
        rendered["posting_time"] = f"{rendered['posting_time']}.000000"
    return rendered

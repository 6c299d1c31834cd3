"""Odoo's stock move lines, by JSON-2 (version 19 and later) and by JSON-RPC."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from simulator.dialect import BadQuestionError, Call, Reply
from simulator.systems.doors import OPEN, Door, is_same
from simulator.systems.ledger import Columns, Condition, Ledger, Line, Query
from simulator.systems.system import NoSuchPathError, System, as_json, body_of

MODEL = "stock.move.line"
LEADS_TO = {"pick": "customer", "transfer": "internal", "count": "inventory", "receipt": "internal"}


class OdooJson2(System):
    """Methods are paths, their arguments the body. Quantities are never below zero.

    A SKU is told as the product's number and name. Times are UTC and say so nowhere.
    """

    others: ClassVar[tuple[str, ...]] = ("receipt", "transfer", "count", "draft")

    def columns(self, line: Line) -> Columns:
        is_receipt = line.kind == "receipt"
        return {
            "id": line.number,
            "state": "assigned" if line.kind == "draft" else "done",
            "product_id": [product_number(line.sku), f"[{line.sku}] Bolt"],
            "quantity": float(line.units),
            "date": f"{self.wall(line.at):%Y-%m-%d %H:%M:%S}",
            "location_id": [4, "Vendors"] if is_receipt else [8, f"{line.warehouse}/Stock"],
            "location_id.warehouse_id.code": None if is_receipt else line.warehouse,
            "location_dest_id.usage": LEADS_TO.get(line.kind, "customer"),
        }

    def answer(self, call: Call, ledger: Ledger) -> Reply:
        head, _, method = call.path.rpartition("/")
        if (call.method, head) != ("POST", f"/json/2/{MODEL}"):
            raise NoSuchPathError
        return as_json(call_method(method, body_of(call), ledger))


class OdooJsonRpc(OdooJson2):
    """Database, user, password and method are arguments; every answer is HTTP 200, an error in its body."""

    door: ClassVar[Door] = OPEN

    def respond(self, call: Call, ledger: Ledger, secret: str | None) -> Reply:
        try:
            if (call.method, call.path) != ("POST", "/jsonrpc"):
                raise NoSuchPathError
            service, method, arguments = _unwrapped(body_of(call))
            database, user, password, model, name, positional, *named = arguments
            if (service, method, model) != ("object", "execute_kw", MODEL):
                return self.refusal(200, f"there is no {service}.{method} of {model}")
            if secret is not None and not is_same(str(password), secret):
                return self.refusal(200, f"Access Denied: {database}, {user}, {password}")
            given = dict(named[0]) if named else {}
            result = call_method(name, given | {"domain": positional[0]}, ledger)
            return as_json({"jsonrpc": "2.0", "id": None, "result": result})
        except NoSuchPathError:
            return as_json({"error": "not found"}, 404)
        except (LookupError, TypeError, ValueError) as error:
            return self.refusal(200, repr(error))

    def refusal(self, status: int, detail: str, headers: Mapping[str, str] | None = None) -> Reply:
        error = {"code": status, "message": "Odoo Server Error", "data": {"message": detail}}
        return as_json({"jsonrpc": "2.0", "id": None, "error": error}, 429 if status == 429 else 200, headers)


def product_number(sku: str) -> int:
    """The number of the product whose code this is: its digits."""
    return int("".join(character for character in sku if character.isdigit()) or "0")


def call_method(method: str, given: dict[str, Any], ledger: Ledger) -> Any:
    """What a method of the model gives. Raises BadQuestionError."""
    where = [Condition(*term) for term in given.pop("domain", [])]
    if method == "search_count" and not given:
        return ledger.find(Query(where)).total
    if method != "search_read" or given.keys() - {"fields", "offset", "limit", "order"}:
        raise BadQuestionError(f"{method} does not take {', '.join(given)}")
    terms = [term.split() for term in given.get("order", "id desc").split(",")]
    order = [(column, direction == ["desc"]) for column, *direction in terms]
    found = ledger.find(Query(where, order, given.get("offset", 0), given.get("limit")))
    fields = ["id", *given.get("fields", [])]
    return [{name: line[name] for name in fields} for line in found.lines]


def _unwrapped(body: Any) -> tuple[str, str, list[Any]]:
    try:
        parameters = body["params"]
        return parameters["service"], parameters["method"], parameters["args"]
    except (LookupError, TypeError) as error:
        raise BadQuestionError("params.service, params.method and params.args are needed") from error

"""Odoo's stock move lines, by JSON-2 (version 19 and later) and by JSON-RPC."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from simulator.dialect import BadQuestionError, Call, Reply
from simulator.systems.doors import OPEN, Door, is_same
from simulator.systems.ledger import Columns, Condition, Found, Ledger, Line, Query
from simulator.systems.system import NoSuchPathError, System, as_json, body_of

MODEL = "stock.move.line"
LEADS_TO = {"pick": "customer", "transfer": "internal", "count": "inventory", "receipt": "internal"}
PLACE = {"offset", "limit", "order"}
READS = {"search_read": PLACE | {"fields"}, "web_search_read": PLACE | {"specification", "count_limit"}}
DENIED, FAULT = "odoo.exceptions.AccessDenied", "builtins.ValueError"


class OdooJson2(System):
    """Methods are paths, their arguments the body. Quantities are never below zero.

    `quantity` is in the line's own unit. A product is known by its number; its SKU is a field of the product.
    Times are UTC without saying so.
    """

    others: ClassVar[tuple[str, ...]] = ("receipt", "transfer", "count", "draft")

    def columns(self, line: Line) -> Columns:
        is_receipt = line.kind == "receipt"
        stock = {"id": 8, "display_name": f"{line.warehouse}/Stock", "warehouse_id": _warehouse(line)}
        vendors = {"id": 4, "display_name": "Vendors", "warehouse_id": False}
        return {
            "id": line.number,
            "state": "assigned" if line.kind == "draft" else "done",
            "product_id": _product(line),
            "quantity": line.entered,
            "quantity_product_uom": float(line.units),
            "date": f"{self.wall(line.at):%Y-%m-%d %H:%M:%S}",
            "location_id": vendors if is_receipt else stock,
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
                return _fault(200, DENIED, f"Access Denied: {database}, {user}, {password}")
            given = dict(named[0]) if named else {}
            result = call_method(name, given | {"domain": positional[0]}, ledger)
            return as_json({"jsonrpc": "2.0", "id": None, "result": result})
        except NoSuchPathError:
            return as_json({"error": "not found"}, 404)
        except (LookupError, TypeError, ValueError) as error:
            return self.refusal(200, repr(error))

    def refusal(self, status: int, detail: str, headers: Mapping[str, str] | None = None) -> Reply:
        return _fault(status, FAULT, detail, headers)


def _fault(status: int, name: str, detail: str, headers: Mapping[str, str] | None = None) -> Reply:
    data = {"name": name, "message": detail}
    error = {"code": status, "message": "Odoo Server Error", "data": data}
    return as_json({"jsonrpc": "2.0", "id": None, "error": error}, 429 if status == 429 else 200, headers)


def _product(line: Line) -> Columns:
    number = 4000 + int("".join(character for character in line.sku if character.isdigit()) or "0")
    return {"id": number, "display_name": f"[{line.sku}] Bolt", "default_code": line.sku}


def _warehouse(line: Line) -> Columns:
    return {"id": 1, "display_name": f"warehouse {line.warehouse}", "code": line.warehouse}


def call_method(method: str, given: dict[str, Any], ledger: Ledger) -> Any:
    """Return the result of a method of the model. Raises BadQuestionError."""
    where = [Condition(*term) for term in given.pop("domain", [])]
    if method == "search_count" and not given:
        return ledger.find(Query(where)).total
    if method not in READS or given.keys() - READS[method]:
        raise BadQuestionError(f"{method} does not take {', '.join(given)}")
    terms = [term.split() for term in given.get("order", "id desc").split(",")]
    order = [(column, direction == ["desc"]) for column, *direction in terms]
    offset, limit = given.get("offset", 0), given.get("limit")
    found = ledger.find(Query(where, order, offset, limit))
    if method == "search_read":
        fields = ["id", *given.get("fields", [])]
        return [{name: _in_short(line[name]) for name in fields} for line in found.lines]
    records = [_specified(line, given["specification"]) for line in found.lines]
    return {"length": _length(found, offset, limit), "records": records}


def _length(found: Found, offset: int, limit: int | None) -> int:
    """The total; 0 past the end. It is counted only if the page is full."""
    if not found.lines:
        return 0
    return found.total if len(found.lines) == limit else offset + len(found.lines)


def _in_short(value: Any) -> Any:
    """A related record as its number and name."""
    return [value["id"], value["display_name"]] if isinstance(value, dict) else value


def _specified(record: Columns, specification: Mapping[str, Any]) -> Columns:
    """Return a record's number and its requested fields, by the same rule below each relation."""
    return {"id": record["id"]} | {
        name: _related(record[name], details) for name, details in specification.items()
    }


def _related(value: Any, details: Mapping[str, Any]) -> Any:
    if not isinstance(value, dict):
        return value
    return _specified(value, details["fields"]) if "fields" in details else value["id"]


def _unwrapped(body: Any) -> tuple[str, str, list[Any]]:
    try:
        parameters = body["params"]
        return parameters["service"], parameters["method"], parameters["args"]
    except (LookupError, TypeError) as error:
        raise BadQuestionError("params.service, params.method and params.args are needed") from error

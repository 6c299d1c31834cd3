"""Oracle's WMS Cloud and its Fusion Cloud."""

from __future__ import annotations

import re
from datetime import datetime, timedelta
from typing import Any, ClassVar

from simulator.dialect import BadQuestionError, Call, Reply
from simulator.systems.doors import BASIC, Door
from simulator.systems.ledger import Columns, Condition, Ledger, Line, Query
from simulator.systems.system import NoSuchPathError, System, as_json, named, number

MICROSECOND = timedelta(microseconds=1)
COMPARISONS = {"gt": ">", "gte": ">=", "lt": "<", "lte": "<="}
TERM = re.compile(r"(\w+)\s*(<=|>=|!=|=|<|>)\s*(.+)")


class OracleWms(System):
    """Pages by number, at most 1,250 lines each; times are wall times of the facility."""

    others: ClassVar[tuple[str, ...]] = ("receipt",)
    grain: ClassVar[timedelta] = MICROSECOND
    door: ClassVar[Door] = BASIC

    def columns(self, line: Line) -> Columns:
        return {
            "id": line.number,
            "facility_id__code": line.warehouse,
            "item_code": line.sku,
            "adj_qty": f"{line.signed}.0",
            "create_ts": self.wall(line.at).replace(tzinfo=None),
        }

    def answer(self, call: Call, ledger: Ledger) -> Reply:
        if (call.method, call.path) != ("GET", "/wms/lgfapi/v10/entity/inventory_history"):
            raise NoSuchPathError
        where, rest = [], {"page", "page_size", "ordering"}
        for name, value in call.params.items():
            column, _, comparison = name.rpartition("__")
            if comparison in COMPARISONS:
                where.append(Condition(column, COMPARISONS[comparison], _wall(value)))
            elif name not in rest:
                where.append(Condition(name, "=", value))
        size = min(number(call, "page_size", None) or 125, self.cap or 1250)
        page = number(call, "page", 1) or 1
        order = [(name, False) for name in call.params.get("ordering", "").split(",") if name]
        found = ledger.find(Query(where, order, (page - 1) * size, size))
        if page > 1 and not found.lines:
            return self.refusal(404, "Invalid page")
        pages = max(1, -(-found.total // size))
        return as_json(
            {
                "result_count": found.total,
                "page_count": pages,
                "page_nbr": page,
                "next_page": f"?page={page + 1}" if page < pages else None,
                "previous_page": None,
                "results": [line | {"create_ts": line["create_ts"].isoformat()} for line in found.lines],
            }
        )


class OracleFusion(System):
    """The total is returned only on request; conditions are joined by semicolons."""

    others: ClassVar[tuple[str, ...]] = ("receipt",)
    door: ClassVar[Door] = BASIC

    def columns(self, line: Line) -> Columns:
        return {
            "TransactionId": 300_000_000_000_000 + line.number,
            "OrganizationCode": line.warehouse,
            "ItemNumber": line.sku,
            "TransactionQuantity": line.signed,
            "TransactionDate": self.wall(line.at),
        }

    def answer(self, call: Call, ledger: Ledger) -> Reply:
        path = "/fscmRestApi/resources/11.13.18.05/inventoryCompletedTransactions"
        if (call.method, call.path) != ("GET", path):
            raise NoSuchPathError
        named(call, "q", "orderBy", "offset", "limit", "totalResults", "onlyData", "fields")
        where = [_condition(term) for term in call.params.get("q", "").split(";") if term]
        order = [
            (name.partition(":")[0], name.endswith(":desc"))
            for name in call.params.get("orderBy", "").split(",")
            if name
        ]
        offset, limit = number(call, "offset", 0) or 0, min(number(call, "limit", 25) or 25, self.cap or 500)
        found = ledger.find(Query(where, order, offset, limit))
        has_more = offset + len(found.lines) < found.total
        body: dict[str, Any] = {"count": len(found.lines), "hasMore": has_more, "limit": limit}
        if call.params.get("totalResults") == "true":
            body["totalResults"] = found.total
        body["items"] = [
            line | {"TransactionDate": line["TransactionDate"].isoformat()} for line in found.lines
        ]
        return as_json(body)


def _wall(text: str) -> datetime:
    try:
        wall = datetime.fromisoformat(text)
    except ValueError as error:
        raise BadQuestionError(f"a time is needed, not {text!r}") from error
    if wall.tzinfo is not None:
        raise BadQuestionError("a wall time is needed")
    return wall


def _condition(term: str) -> Condition:
    match = TERM.fullmatch(term.strip())
    if match is None:
        raise BadQuestionError(f"not understood: q={term}")
    column, comparison, literal = match.groups()
    return Condition(column, comparison, _literal(literal))


def _literal(text: str) -> Any:
    if text.startswith("'"):
        return text.strip("'")
    return datetime.fromisoformat(text) if "T" in text else float(text)

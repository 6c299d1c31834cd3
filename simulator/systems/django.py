"""Systems made with Django REST Framework: its plain pages, InvenTree's stock tracking, GreaterWMS."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, ClassVar
from urllib.parse import urlencode
from zoneinfo import ZoneInfo

from simulator.dialect import Call, Reply
from simulator.systems.doors import Door
from simulator.systems.ledger import Columns, Condition, Found, Ledger, Line, Query
from simulator.systems.system import MINUTE, NoSuchPathError, System, as_json, moment, named, number

COMPARISONS = {"gt": ">", "gte": ">=", "lt": "<", "lte": "<="}


class RestFramework(System):
    """LimitOffsetPagination over a table, with an order and no filters of its own."""

    door: ClassVar[Door] = Door(prefix="Token ")

    def columns(self, line: Line) -> Columns:
        return {
            "id": line.number,
            "sku_id": line.sku,
            "warehouse_id": line.warehouse,
            "units_moved": line.units,
            "timestamp_utc": f"{self.wall(line.at):%Y-%m-%dT%H:%M:%SZ}",
        }

    def answer(self, call: Call, ledger: Ledger) -> Reply:
        if (call.method, call.path) != ("GET", "/movements"):
            raise NoSuchPathError
        named(call, "limit", "offset", "ordering")
        limit = self.capped(number(call, "limit", None) or 100)
        return enveloped(ledger.find(Query((), order_of(call), number(call, "offset", 0) or 0, limit)))


class RestFrameworkPages(RestFramework):
    """PageNumberPagination: pages by number, and 404 past the last one."""

    def answer(self, call: Call, ledger: Ledger) -> Reply:
        if (call.method, call.path) != ("GET", "/movements"):
            raise NoSuchPathError
        named(call, "page", "page_size", "ordering")
        size = self.capped(number(call, "page_size", None) or 100) or 100
        page = number(call, "page", 1) or 1
        found = ledger.find(Query((), order_of(call), (page - 1) * size, size))
        if page > 1 and not found.lines:
            return self.refusal(404, "Invalid page.")
        return enveloped(found)


class RestFrameworkCursor(RestFramework):
    """CursorPagination: the next page by a link only, and no total."""

    def answer(self, call: Call, ledger: Ledger) -> Reply:
        if (call.method, call.path) != ("GET", "/movements"):
            raise NoSuchPathError
        named(call, "cursor", "page_size", "ordering")
        size = self.capped(number(call, "page_size", None) or 100) or 100
        start = number(call, "cursor", 0) or 0
        found = ledger.find(Query((), order_of(call), start, size))
        following = {**call.params, "cursor": start + size}
        link = f"http://{call.headers['host']}{call.path}?{urlencode(following)}"
        has_more = start + size < found.total
        return as_json({"next": link if has_more else None, "previous": None, "results": found.lines})


class InvenTree(System):
    """Its dates are compared with > and <, and are days only; it supports no order but that of the date.

    An entry does not say where its item was. Every fifth pick used up an item, which was then deleted: its
    entry has none. Counts hold how much there is, not how much was moved.
    """

    names_warehouses: ClassVar[bool] = False
    others: ClassVar[tuple[str, ...]] = ("receipt", "count")
    grain: ClassVar[timedelta] = MINUTE
    door: ClassVar[Door] = Door(prefix="Token ")

    def columns(self, line: Line) -> Columns:
        is_used_up = line.kind == "pick" and line.number % 5 == 0
        deltas = {"pick": {"removed": float(line.units)}, "receipt": {"added": float(line.units)}}
        return {
            "pk": line.number,
            "date": self.wall(line.at),
            "tracking_type": {"count": 10, "receipt": 11, "pick": 12}[line.kind],
            "deltas": deltas.get(line.kind, {}) | ({} if is_used_up else {"quantity": 90.0}),
            "part_detail": {"pk": 7, "IPN": line.sku, "name": f"part {line.sku}"},
            "item": None if is_used_up else line.number,
            "item_detail": None if is_used_up else {"pk": line.number, "location": 7},
        }

    def answer(self, call: Call, ledger: Ledger) -> Reply:
        if (call.method, call.path) != ("GET", "/api/stock/track/"):
            raise NoSuchPathError
        where = [
            Condition("date", comparison, self._midnight(call.params[name]))
            for name, comparison in (("min_date", ">"), ("max_date", "<"))
            if name in call.params
        ]
        is_supported = call.params.get("ordering") in ("date", "-date")
        order = order_of(call) if is_supported else [("date", True)]
        limit = number(call, "limit", None)
        found = ledger.find(Query(where, order, number(call, "offset", 0) or 0, limit))
        shown = [name for name in ("part_detail", "item_detail") if call.params.get(name) == "true"]
        page = Found([self._rendered(line, shown) for line in found.lines], found.total)
        return as_json(page.lines) if limit is None else enveloped(page)

    def _midnight(self, text: str) -> datetime:
        return moment(text, "%Y-%m-%d").replace(tzinfo=ZoneInfo(self.zone))

    def _rendered(self, line: Columns, shown: Sequence[str]) -> Columns:
        kept = {name: value for name, value in line.items() if not name.endswith("_detail") or name in shown}
        return kept | {"date": f"{line['date']:%Y-%m-%d %H:%M}"}


class GreaterWms(System):
    """It answers everything with HTTP 200, at most 1,000 lines a page, and its times are those of Shanghai.

    A tenant has one warehouse, which no line names.
    """

    names_warehouses: ClassVar[bool] = False
    others: ClassVar[tuple[str, ...]] = ("receipt",)
    door: ClassVar[Door] = Door(header="token", prefix="")

    def columns(self, line: Line) -> Columns:
        return {
            "id": line.number,
            "mode_code": "20" if line.kind == "pick" else "10",
            "bin_name": "A010101",
            "goods_code": line.sku,
            "goods_qty": line.signed,
            "creater": "Alice",
            "create_time": self.wall(line.at).replace(tzinfo=None),
        }

    def answer(self, call: Call, ledger: Ledger) -> Reply:
        if (call.method, call.path) != ("GET", "/cyclecount/qtyrecorviewset/"):
            raise NoSuchPathError
        where = []
        for name, value in call.params.items():
            column, mark, comparison = name.partition("__")
            if mark and comparison in COMPARISONS:
                literal = int(value) if column == "goods_qty" else moment(value, "%Y-%m-%d %H:%M:%S")
                where.append(Condition(column, COMPARISONS[comparison], literal))
        size = min(number(call, "max_page", None) or 30, self.cap or 1000)
        page = number(call, "page", 1) or 1
        found = ledger.find(Query(where, order_of(call), (page - 1) * size, size))
        if page > 1 and not found.lines:
            return self.refusal(404, "Invalid page.")
        lines = [line | {"create_time": str(line["create_time"])} for line in found.lines]
        return enveloped(Found(lines, found.total))

    def respond(self, call: Call, ledger: Ledger, secret: str | None) -> Reply:
        if secret is not None and not self.door.lets_in(call, secret):
            return self.refusal(500, "User Does Not Exists")
        return super().respond(call, ledger, None)

    def throttled(self, seconds: int) -> Reply:
        return self.refusal(429, "请求已被限流")

    def refusal(self, status: int, detail: str, headers: Mapping[str, str] | None = None) -> Reply:
        return as_json({"status_code": status, "detail": detail})


def order_of(call: Call) -> list[tuple[str, bool]]:
    """The order in `ordering`: names, with a minus before those that descend."""
    names = [name for name in call.params.get("ordering", "").split(",") if name]
    return [(name.removeprefix("-"), name.startswith("-")) for name in names]


def enveloped(found: Found) -> Reply:
    """Return a page in the framework's envelope."""
    body: dict[str, Any] = {"count": found.total, "next": None, "previous": None, "results": found.lines}
    return as_json(body)

"""Systems that speak OData: SAP's material documents by versions 2 and 4, and Dynamics 365."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, date, datetime, timedelta
from typing import Any, ClassVar
from urllib.parse import parse_qs, quote_plus

from simulator.dialect import BadQuestionError, Call, Reply
from simulator.systems.doors import BASIC, Door, is_same
from simulator.systems.ledger import Columns, Condition, Found, Ledger, Line, Query
from simulator.systems.system import DAY, NoSuchPathError, System, as_json, moment, number

COMPARISONS = {"eq": "=", "ne": "!=", "lt": "<", "le": "<=", "gt": ">", "ge": ">="}
TERM = re.compile(r"(\S+) (eq|ne|lt|le|gt|ge) ('(?:[^']|'')*'|\S+)")
POSTING_DATE = "to_MaterialDocumentHeader/PostingDate"
MOVEMENT_TYPES = {"pick": "601", "receipt": "101", "count": "702", "transfer": "311"}


class OData(System):
    """The common part: filter, order and place of a page in the query."""

    default_size: ClassVar[int] = 10_000
    grain: ClassVar[timedelta] = DAY

    def find(self, call: Call, ledger: Ledger) -> Found:
        """Return the lines that the query options select. Raises BadQuestionError."""
        skip, top = number(call, "$skip", 0) or 0, number(call, "$top", self.default_size)
        terms = [term.split() for term in call.params.get("$orderby", "").split(",") if term]
        order = [(column, direction == ["desc"]) for column, *direction in terms]
        return ledger.find(Query(_conditions(call), order, skip, self.capped(top)))

    def refusal(self, status: int, detail: str, headers: Mapping[str, str] | None = None) -> Reply:
        error = {"code": str(status), "message": {"lang": "en", "value": detail}}
        return as_json({"error": error}, status, headers)


class SapV2(OData):
    """Numbers and the count are texts; the day of posting is in the header, if that is expanded."""

    others: ClassVar[tuple[str, ...]] = ("receipt", "count", "transfer")
    door: ClassVar[Door] = BASIC

    def columns(self, line: Line) -> Columns:
        return {
            "MaterialDocumentYear": "2026",
            "MaterialDocument": f"49{line.number:08d}",
            "MaterialDocumentItem": "1",
            "Material": line.sku,
            "Plant": line.warehouse,
            "GoodsMovementType": MOVEMENT_TYPES[line.kind],
            "DebitCreditCode": "S" if line.kind == "receipt" else "H",
            "QuantityInEntryUnit": f"{line.entered:.3f}",
            "QuantityInBaseUnit": f"{line.units}.000",
            POSTING_DATE: self.wall(line.at).replace(tzinfo=None),
        }

    def answer(self, call: Call, ledger: Ledger) -> Reply:
        if (call.method, call.path) != ("GET", "/API_MATERIAL_DOCUMENT_SRV/A_MaterialDocumentItem"):
            raise NoSuchPathError
        found = self.find(call, ledger)
        if call.params.get("$format") != "json":
            return Reply(200, b"<feed/>", media_type="application/atom+xml")
        is_expanded = call.params.get("$expand") == "to_MaterialDocumentHeader"
        body: dict[str, Any] = {"results": [_with_header(line, is_expanded) for line in found.lines]}
        if call.params.get("$inlinecount") == "allpages":
            body["__count"] = str(found.total)
        return as_json({"d": body})


class SapV4(OData):
    """The day of posting is in the line, as a day."""

    others: ClassVar[tuple[str, ...]] = SapV2.others
    door: ClassVar[Door] = BASIC

    def columns(self, line: Line) -> Columns:
        return SapV2.columns(SapV2(self.zone), line) | {
            "PostingDate": self.wall(line.at).date(),
            "QuantityInEntryUnit": line.entered,
            "QuantityInBaseUnit": line.units,
        }

    def answer(self, call: Call, ledger: Ledger) -> Reply:
        if (call.method, call.path) != ("GET", "/MaterialDocumentItem"):
            raise NoSuchPathError
        found = self.find(call, ledger)
        lines = [
            {name: str(value) if name == "PostingDate" else value for name, value in line.items()}
            for line in (_without_header(line) for line in found.lines)
        ]
        return _counted(call, Found(lines, found.total))


class Dynamics(OData):
    """A token is fetched for client id and secret; without cross-company=true most companies are left out.

    A day is returned as its noon.
    """

    others: ClassVar[tuple[str, ...]] = ("receipt",)

    def columns(self, line: Line) -> Columns:
        return {
            "RecId": 5637144576 + line.number,
            "dataAreaId": "usmf" if line.number % 2 else "demf",
            "ItemId": line.sku,
            "InventLocationId": line.warehouse,
            "Qty": line.signed,
            "DatePhysical": self.wall(line.at),
        }

    def wall(self, at: datetime) -> datetime:
        return super().wall(at).replace(hour=12)

    def answer(self, call: Call, ledger: Ledger) -> Reply:
        if (call.method, call.path) != ("GET", "/data/InventTransactions"):
            raise NoSuchPathError
        own = [] if call.params.get("cross-company") == "true" else [Condition("dataAreaId", "=", "usmf")]
        found = self.find(call, Ledger(ledger.find(Query(own)).lines))
        lines = [
            line | {"DatePhysical": f"{line['DatePhysical'].astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}"}
            for line in found.lines
        ]
        return _counted(call, Found(lines, found.total))

    def respond(self, call: Call, ledger: Ledger, secret: str | None) -> Reply:
        if (call.method, call.path) != ("POST", "/oauth2/token"):
            return super().respond(call, ledger, None if secret is None else _access(secret))
        form = parse_qs(call.body.decode())
        if form.get("grant_type") != ["client_credentials"]:
            return as_json({"error": "unsupported_grant_type"}, 400)
        if secret is not None and not _knows(call, form, secret):
            return as_json({"error": "invalid_client"}, 401)
        return as_json({"access_token": _access(secret or ""), "token_type": "Bearer", "expires_in": 3599})


def _knows(call: Call, form: Mapping[str, list[str]], secret: str) -> bool:
    """Return True if a call for a token contains the client's secret, in its body or as a password."""
    client = form.get("client_id", ["me"])[0]
    return is_same(form.get("client_secret", [""])[0], secret) or BASIC.lets_in(
        call, f"{quote_plus(client)}:{quote_plus(secret)}"
    )


def _access(secret: str) -> str:
    """Return the token for a client's secret."""
    return secret[::-1]


def _conditions(call: Call) -> list[Condition]:
    text = call.params.get("$filter", "").strip()
    if not text:
        return []
    terms = re.split(r"\s+and\s+", text)
    matches = [TERM.fullmatch(term) for term in terms]
    if None in matches:
        raise BadQuestionError(f"not understood: $filter={text}")
    return [Condition(match[1], COMPARISONS[match[2]], _literal(match[3])) for match in matches if match]


def _literal(text: str) -> Any:
    """Return a string, a number, a day, an instant, or version 2's wall time."""
    if text.startswith("'"):
        return text[1:-1].replace("''", "'")
    if match := re.fullmatch(r"datetime'(.+)'", text):
        return moment(match[1], "%Y-%m-%dT%H:%M:%S")
    try:
        return (
            date.fromisoformat(text) if re.fullmatch(r"\d{4}-\d\d-\d\d", text) else _number_or_instant(text)
        )
    except ValueError as error:
        raise BadQuestionError(f"not understood: {text}") from error


def _number_or_instant(text: str) -> float | datetime:
    if "T" not in text:
        return float(text)
    instant = datetime.fromisoformat(text)
    if instant.tzinfo is None:
        raise ValueError("an instant needs its zone")
    return instant


def _without_header(line: Columns) -> Columns:
    return {name: value for name, value in line.items() if name != POSTING_DATE}


def _with_header(line: Columns, is_expanded: bool) -> Columns:
    milliseconds = int(line[POSTING_DATE].replace(tzinfo=UTC).timestamp() * 1000)
    header = {"PostingDate": f"/Date({milliseconds})/"} if is_expanded else {"__deferred": {"uri": "…"}}
    return _without_header(line) | {"to_MaterialDocumentHeader": header}


def _counted(call: Call, found: Found) -> Reply:
    count = {"@odata.count": found.total} if call.params.get("$count") == "true" else {}
    return as_json({"@odata.context": "$metadata", **count, "value": found.lines})

"""NetSuite's transaction lines, queried by SuiteQL."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Any, ClassVar

from simulator.dialect import BadQuestionError, Call, Reply
from simulator.systems.ledger import Columns, Condition, Ledger, Line, Query
from simulator.systems.system import NoSuchPathError, System, as_json, body_of, moment, number

STATEMENT = re.compile(r"SELECT (.+) FROM (.+) WHERE (.+?)(?: ORDER BY (.+))?", re.DOTALL)
SELECTED = re.compile(r"(.+?)(?: AS (\w+))?", re.DOTALL)
TERM = re.compile(r"(.+?) (<=|>=|!=|=|<|>) (.+)", re.DOTALL)
TEXT = re.compile(r"'(?:[^']|'')*'")
ORACLE_TIME = 'YYYY-MM-DD"T"HH24:MI:SS'
TIME = re.compile(rf"TO_TIMESTAMP\('(.+)', '{re.escape(ORACLE_TIME)}'\)")
TEXT_OF_TIME = re.compile(rf"TO_CHAR\((.+), '{re.escape(ORACLE_TIME)}\"Z\"'\)")


class NetSuite(System):
    """Times of creation are in the account's zone; an offset must be a multiple of the limit.

    Values are strings, and what leaves the stock is negative.
    """

    others: ClassVar[tuple[str, ...]] = ("receipt",)

    def columns(self, line: Line) -> Columns:
        return {
            "tl.uniquekey": line.number,
            "BUILTIN.DF(tl.item)": line.sku,
            "BUILTIN.DF(tl.location)": line.warehouse,
            "tl.quantity": line.signed,
            "t.createddate": self.wall(line.at).replace(tzinfo=None),
            "SYS_EXTRACT_UTC(t.createddate)": line.at.astimezone(UTC).replace(tzinfo=None),
        }

    def answer(self, call: Call, ledger: Ledger) -> Reply:
        if (call.method, call.path) != ("POST", "/services/rest/query/v1/suiteql"):
            raise NoSuchPathError
        if call.headers.get("prefer") != "transient":
            raise BadQuestionError("the header Prefer: transient is needed")
        offset, limit = number(call, "offset", 0) or 0, number(call, "limit", 1000) or 1000
        if limit > 1000 or offset % limit:
            raise BadQuestionError("limit is at most 1000, and offset must be divisible by it")
        match = STATEMENT.fullmatch(str(body_of(call).get("q", "")).strip())
        if match is None:
            raise BadQuestionError("a SELECT with WHERE is needed")
        selected, _, where, order = match.groups()
        conditions = [_condition(term) for term in where.split(" AND ")]
        columns = [(column, False) for column in re.split(r",\s*", order or "")] if order else []
        found = ledger.find(Query(conditions, columns, offset, limit))
        return as_json(
            {
                "links": [],
                "count": len(found.lines),
                "hasMore": offset + len(found.lines) < found.total,
                "offset": offset,
                "totalResults": found.total,
                "items": [_rendered(line, selected) for line in found.lines],
            }
        )


def _condition(term: str) -> Condition:
    match = TERM.fullmatch(term.strip())
    if match is None:
        raise BadQuestionError(f"not understood: {term}")
    column, comparison, literal = match.groups()
    return Condition(column, comparison, _literal(literal))


def _literal(text: str) -> Any:
    if match := TIME.fullmatch(text):
        return moment(match[1], "%Y-%m-%dT%H:%M:%S")
    if TEXT.fullmatch(text):
        return text[1:-1].replace("''", "'")
    if not text.isdecimal():
        raise BadQuestionError(f"not understood: {text}")
    return int(text)


def _rendered(line: Columns, selected: str) -> Columns:
    """Return the selected columns as strings, with names in lower case."""
    rendered: Columns = {"links": []}
    for expression in re.split(r",\s*(?![^()]*\))", selected):
        match = SELECTED.fullmatch(expression)
        assert match is not None
        source, alias = match.groups()
        is_time = TEXT_OF_TIME.fullmatch(source)
        column = is_time[1] if is_time else source
        if column not in line:
            raise BadQuestionError(f"there is no {column}")
        value = line[column]
        text = f"{value:%Y-%m-%dT%H:%M:%SZ}" if isinstance(value, datetime) else str(value)
        rendered[(alias or source.rpartition(".")[2]).lower()] = text
    return rendered

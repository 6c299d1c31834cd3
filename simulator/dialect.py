"""The query and answer formats of simulated APIs, one small class per format."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any, Protocol
from urllib.parse import urlencode


@dataclass(frozen=True)
class Call:
    """A received request; header names are in lower case."""

    method: str
    path: str
    params: Mapping[str, str]
    headers: Mapping[str, str]
    body: bytes = b""


@dataclass(frozen=True)
class Question:
    """The rows that a call asks for: `limit` of them from `offset` (0 is the first), within [start, end).

    `limit` is None if the call does not set it; None in `warehouse`, `start` or `end` means all.
    """

    offset: int
    limit: int | None
    warehouse: str | None = None
    start: datetime | None = None
    end: datetime | None = None


@dataclass(frozen=True)
class Page:
    """The rows that answer a question, as JSON texts, and the total to page through."""

    question: Question
    bodies: Sequence[bytes]
    total: int


@dataclass(frozen=True)
class Reply:
    """An answer before it is sent."""

    status: int
    body: bytes
    headers: Mapping[str, str] = field(default_factory=dict)
    media_type: str = "application/json"


class BadQuestionError(ValueError):
    """An invalid call; the message says why."""


class QueryFormat(Protocol):
    """How a call says which rows it asks for."""

    def read(self, call: Call) -> Question:
        """Parse the question of a call. Raises BadQuestionError."""


class AnswerFormat(Protocol):
    """The format of answers."""

    def page(self, page: Page) -> Reply: ...

    def refusal(self, status: int, detail: str, headers: Mapping[str, str]) -> Reply: ...


@dataclass(frozen=True)
class OffsetQuery:
    """Query parameters for offset and limit. `first` is the API's offset of the first row."""

    offset_param: str = "offset"
    limit_param: str = "limit"
    first: int = 0
    warehouse_param: str = "warehouse"
    start_param: str = "start"
    end_param: str = "end"

    def read(self, call: Call) -> Question:
        offset = _count(call.params, self.offset_param)
        return Question(
            offset=0 if offset is None else _at_least(0, offset - self.first, self.offset_param),
            limit=_count(call.params, self.limit_param),
            warehouse=call.params.get(self.warehouse_param),
            start=_instant(call.params, self.start_param),
            end=_instant(call.params, self.end_param),
        )


@dataclass(frozen=True)
class PageQuery(OffsetQuery):
    """A page number in the query; the first page is number 1. `fixed_size` is for calls without a limit."""

    offset_param: str = "page"
    first: int = 1
    fixed_size: int = 1

    def read(self, call: Call) -> Question:
        numbered = super().read(call)
        return replace(numbered, offset=numbered.offset * (numbered.limit or self.fixed_size))


@dataclass(frozen=True)
class CursorQuery(OffsetQuery):
    """A cursor from the previous page; only the first page needs none."""

    def read(self, call: Call) -> Question:
        params = dict(call.params)
        cursor = params.pop("cursor", "after-0")
        try:
            params["offset"] = str(int(cursor.removeprefix("after-"), 16))
        except ValueError as error:
            raise BadQuestionError(f"no such cursor: {cursor!r}") from error
        return super().read(replace(call, params=params))


@dataclass(frozen=True)
class RangeHeader(OffsetQuery):
    """First and last position in the header `Range`."""

    def read(self, call: Call) -> Question:
        first, dash, last = call.headers.get("range", "").partition("-")
        if not (dash and first.isdecimal() and last.isdecimal()):
            raise BadQuestionError("a Range header is required, such as 0-24")
        params = {**call.params, "offset": first, "limit": str(int(last) - int(first) + 1)}
        return super().read(replace(call, params=params))


@dataclass(frozen=True)
class BodyOffset(OffsetQuery):
    """A JSON body with the same parameter names."""

    def read(self, call: Call) -> Question:
        try:
            params = {str(name): str(value) for name, value in json.loads(call.body).items()}
        except (ValueError, AttributeError) as error:
            raise BadQuestionError("the body must be a JSON object") from error
        return super().read(replace(call, params=params))


@dataclass(frozen=True)
class JsonAnswer:
    """Rows at a dotted path of the body; with an empty path the body is the array itself.

    The total is at a dotted path of the body, in a header, after the slash of `Content-Range`, or missing.
    The next page is given by a cursor or a link at a dotted path, or by the header `Link`.
    """

    records_path: str = ""
    total_path: str | None = None
    total_header: str | None = None
    content_range: bool = False
    cursor_path: str | None = None
    link_path: str | None = None
    link_header: bool = False
    missing_past_the_end: bool = False

    def page(self, page: Page) -> Reply:
        if self.missing_past_the_end and page.question.offset > 0 and not page.bodies:
            return self.refusal(404, "no such page", {})
        array = b"[" + b",".join(page.bodies) + b"]"
        headers = self._headers(page)
        return Reply(200, self._wrap(array, page) if self.records_path else array, headers)

    def _headers(self, page: Page) -> dict[str, str]:
        headers = {self.total_header: str(page.total)} if self.total_header else {}
        if self.content_range:
            first = page.question.offset
            headers["Content-Range"] = f"{first}-{first + len(page.bodies) - 1}/{page.total}"
        if self.link_header and (link := _link(page)):
            headers["Link"] = f'<{link}>; rel="next"'
        return headers

    def refusal(self, status: int, detail: str, headers: Mapping[str, str]) -> Reply:
        return Reply(status, json.dumps({"detail": detail}).encode(), headers)

    def _wrap(self, array: bytes, page: Page) -> bytes:
        """Wrap the array in its body. The rows are JSON already, so a placeholder marks their position."""
        body: dict[str, Any] = {}
        if self.total_path:
            put(body, self.total_path, page.total)
        if self.cursor_path:
            put(body, self.cursor_path, _cursor(page))
        if self.link_path:
            put(body, self.link_path, _link(page))
        put(body, self.records_path, "@rows@")
        before, after = json.dumps(body).encode().split(b'"@rows@"')
        return before + array + after


@dataclass(frozen=True)
class Dialect:
    """The formats of one API. `fields` maps a field to its dotted path in a record, if it is not its name."""

    query: QueryFormat = OffsetQuery()
    answer: AnswerFormat = JsonAnswer("records", "total")
    method: str = "GET"
    path: str = "/movements"
    fields: Mapping[str, str] = field(default_factory=dict)


NESTED_FIELDS = {
    "movement_id": "id",
    "sku_id": "item.sku",
    "warehouse_id": "site.code",
    "units_moved": "quantity.units",
    "timestamp_utc": "moved.at",
}
DIALECTS: Mapping[str, Dialect] = {
    "plain": Dialect(),
    "envelope": Dialect(answer=JsonAnswer("data", "total")),
    "nested": Dialect(answer=JsonAnswer("data.movements", "meta.page.total"), fields=NESTED_FIELDS),
    "header": Dialect(answer=JsonAnswer(total_header="X-Total-Count")),
    "bare": Dialect(answer=JsonAnswer()),
    "page": Dialect(query=PageQuery(), answer=JsonAnswer("records", "total", missing_past_the_end=True)),
    "range": Dialect(query=RangeHeader(), answer=JsonAnswer(content_range=True)),
    "json-body": Dialect(query=BodyOffset(), answer=JsonAnswer("records", "total"), method="POST"),
    "cursor": Dialect(query=CursorQuery(), answer=JsonAnswer("records", cursor_path="next")),
    "next-link": Dialect(query=CursorQuery(), answer=JsonAnswer("records", "total", link_path="next")),
    "link-header": Dialect(query=CursorQuery(), answer=JsonAnswer(link_header=True)),
}


def _cursor(page: Page) -> str | None:
    """Return an opaque cursor to the next page, or None after the last one."""
    end = page.question.offset + len(page.bodies)
    return f"after-{end:x}" if page.bodies and end < page.total else None


def _link(page: Page) -> str | None:
    cursor, question = _cursor(page), page.question
    if cursor is None:
        return None
    named = {"warehouse": question.warehouse, "limit": question.limit}
    return "?" + urlencode({"cursor": cursor} | {name: value for name, value in named.items() if value})


def put(tree: dict[str, Any], path: str, value: Any) -> None:
    """Set the value at a dotted path, creating parents as needed."""
    *parents, leaf = path.split(".")
    for parent in parents:
        tree = tree.setdefault(parent, {})
    tree[leaf] = value


def _count(params: Mapping[str, str], name: str) -> int | None:
    if name not in params:
        return None
    try:
        return _at_least(0, int(params[name]), name)
    except ValueError as error:
        raise BadQuestionError(f"{name} must be a whole number, 0 or more: {params[name]!r}") from error


def _at_least(least: int, number: int, name: str) -> int:
    if number < least:
        raise BadQuestionError(f"{name} is too small")
    return number


def _instant(params: Mapping[str, str], name: str) -> datetime | None:
    if name not in params:
        return None
    try:
        instant = datetime.fromisoformat(params[name])
    except ValueError as error:
        raise BadQuestionError(f"{name} must be an ISO 8601 time: {params[name]!r}") from error
    return instant.astimezone(UTC) if instant.tzinfo else instant.replace(tzinfo=UTC)

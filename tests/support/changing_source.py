"""A source whose records change between requests, paged in every style."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any, Literal
from urllib.parse import parse_qsl, urlsplit

from tests.support.scripted_server import Reply

Style = Literal["offset", "page", "fixed page", "cursor", "next_link"]
POSITION = {"offset": "offset", "page": "page", "fixed page": "page"}


@dataclass(frozen=True)
class Edit:
    """A change just before the n-th request: of the record at a position, if there is one.

    `insert` puts a new record before it, `twin` an equal one beside it, `move` puts it before record `to`.
    """

    request: int
    kind: Literal["insert", "twin", "delete", "replace", "move"]
    position: int
    to: int = 0


@dataclass(frozen=True)
class Row:
    """A record: its place in the order, and its value, which is its id if records have one.

    `moves` is how often it has moved: what orders it, its time, changes then.
    """

    key: Fraction
    value: str
    moves: int = 0


@dataclass
class ChangingSource:
    """A source of records in a fixed order; `edits` change them while they are read.

    `stable` cursors are keysets, others are positions. The page size of `fixed page` is `page_size`; no page
    holds more than `clamp` records. Without `ids` records of the same value are equal.
    """

    style: Style
    values: Sequence[str]
    edits: Sequence[Edit] = ()
    ids: bool = True
    total: bool = True
    stable: bool = False
    page_size: int = 5
    clamp: int = 1000
    rows: list[Row] = field(init=False)
    requests: int = 0
    _new: int = 0

    def __post_init__(self) -> None:
        self.rows = [Row(Fraction(number), value) for number, value in enumerate(self.values)]
        self.stayed, self.ever = list(self.rows), Counter(self.values)

    def answer(self, url: str) -> Reply:
        """Answer a request, after the edits that are due."""
        self.requests += 1
        for edit in self.edits:
            if edit.request == self.requests:
                self._apply(edit)
        query = dict(parse_qsl(urlsplit(url).query))
        size = min(int(query.get("limit", self.page_size)), self.clamp)
        start = self._start(query, size)
        page = self.rows[start : start + size]
        body: dict[str, Any] = {"records": [self._record(row) for row in page]}
        if self.total:
            body["total"] = len(self.rows)
        if self.style in ("cursor", "next_link") and start + size < len(self.rows):
            cursor = f"k{page[-1].key}" if self.stable else str(start + size)
            body["next"] = cursor if self.style == "cursor" else f"/movements?limit={size}&cursor={cursor}"
        return Reply(body=json.dumps(body).encode())

    def spec(self, proof: str | None = None, order: bool = True) -> dict[str, Any]:
        """Return the parts of a spec that reads it."""
        paging: dict[str, Any] = {"style": self.style.split()[-1], "page_size": self.page_size}
        if self.style == "fixed page":
            paging["limit_param"] = None
        if self.style in ("page", "fixed page"):
            paging["proof"] = proof
        if self.style in ("cursor", "next_link"):
            paging |= {"stable": self.stable, f"{self.style.removesuffix('_link')}_path": "next"}
        return {
            "paging": paging,
            "order": {"stable": order},
            "total": {"from": "body", "path": "total"} if self.total else {"from": "none"},
            "fields": {"movement_id": "id"} if self.ids else {},
        }

    def _start(self, query: dict[str, str], size: int) -> int:
        if self.style in POSITION:
            return int(query[POSITION[self.style]]) * (size if self.style.endswith("page") else 1)
        if not self.stable:
            return int(query.get("cursor", 0))
        return (
            sum(row.key <= Fraction(query["cursor"].removeprefix("k")) for row in self.rows)
            if "cursor" in query
            else 0
        )

    def _record(self, row: Row) -> dict[str, Any]:
        record = {"sku_id": row.value, "warehouse_id": "WH-01", "units_moved": 1}
        return record | {"timestamp_utc": f"2026-03-01T08:{row.moves:02}:00Z"} | self._id(row)

    def _id(self, row: Row) -> dict[str, str]:
        return {"id": row.value} if self.ids else {}

    def _apply(self, edit: Edit) -> None:
        row = self.rows[edit.position] if edit.position < len(self.rows) else None
        if row and edit.kind in ("delete", "replace", "move"):
            self.rows.remove(row)
            self.stayed = [each for each in self.stayed if each is not row]
        if edit.kind in ("insert", "replace"):
            self._new += 1
            self._insert(edit.position, f"NEW-{self._new}")
        if row and edit.kind == "move":
            self._insert(edit.to, row.value, row.moves + 1)
        if row and edit.kind == "twin" and not self.ids:
            self._insert(edit.position, row.value, row.moves)

    def _insert(self, position: int, value: str, moves: int = 0) -> None:
        """Insert a record before a position, and before all records that are equal to the one there."""
        position = min(position, len(self.rows))
        while 0 < position < len(self.rows) and self._are_equal(position - 1, position):
            position -= 1
        low = self.rows[position - 1].key if position else self._key(0) - 2
        high = self._key(position) if position < len(self.rows) else low + 2
        self.rows.insert(position, Row((low + high) / 2, value, moves))
        self.ever[value] += 1

    def _are_equal(self, *positions: int) -> bool:
        return len({(self.rows[each].value, self.rows[each].moves) for each in positions}) == 1

    def _key(self, position: int) -> Fraction:
        return self.rows[position].key if self.rows else Fraction(0)

"""A WMS on loopback whose records come late, are corrected and deleted, in every paging style."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit

import yaml

from sku_velocity.model.movement import EARLIEST, LATEST
from tests.support import steps_driver
from tests.support.scripted_server import Reply, ScriptedServer, answering
from tests.support.steps_driver import Content
from tests.support.store_rows import hour

PAGE_SIZE = 5


@dataclass
class LateSource:
    """A source of movements by id, ordered by time and id.

    `style` is how it pages, `total` whether it reports the number of records, `changes` whether it can be
    asked for what was modified since. From request `broken_from` on it refuses the token; what a request that
    contains `garbled` gets has no list.
    """

    style: str = "offset"
    total: bool = True
    changes: bool = False
    records: dict[str, dict[str, Any]] = field(default_factory=dict)
    server: ScriptedServer = field(init=False)
    broken_from: int | None = None
    garbled: str | None = None
    _next: int = 0

    def add(self, at: datetime, **parts: Any) -> str:
        """Add a record, and return its id."""
        self._next += 1
        name = f"m-{self._next}"
        self.records[name] = {
            "id": name,
            "sku_id": "SKU-1",
            "warehouse_id": "WH-01",
            "units_moved": 1,
            "timestamp_utc": at.isoformat(),
            "modified": datetime.now(UTC).isoformat(),
        } | parts
        return name

    def fill(self, start: float, end: float, count: int) -> list[str]:
        """Add records at equal distances between two hours of the first of March. Return their ids."""
        step = (end - start) / count
        return [self.add(hour(start + step * number)) for number in range(count)]

    def correct(self, name: str, **parts: Any) -> None:
        self.records[name] |= {"modified": datetime.now(UTC).isoformat()} | parts

    def delete(self, name: str) -> None:
        del self.records[name]

    @property
    def content(self) -> Content:
        """What a reader of a store that equals the source sees."""
        return self.between(0, 24)

    def between(self, start: float, end: float) -> Content:
        """Return what such a reader sees between two hours."""
        return Counter(
            (each["id"], each["sku_id"], each["units_moved"], each["timestamp_utc"][:19])
            for each in self.records.values()
            if hour(start) <= datetime.fromisoformat(each["timestamp_utc"]) < hour(end)
            and isinstance(each["units_moved"], int)
        )

    @property
    def requests(self) -> int:
        return len(self.server.requests)

    def answer(self, url: str) -> Reply:
        if self.broken_from is not None and self.requests >= self.broken_from:
            return Reply(status=403)
        if self.garbled and self.garbled in url:
            return Reply(body=b"{}")
        query = dict(parse_qsl(urlsplit(url).query))
        since, until = (
            datetime.fromisoformat(query.get(name, bound.isoformat()))
            for name, bound in (("since", EARLIEST), ("until", LATEST))
        )
        rows = [
            each
            for each in self.records.values()
            if since <= datetime.fromisoformat(each["timestamp_utc"]) < until
        ]
        if "modified_since" in query:
            modified_since = datetime.fromisoformat(query["modified_since"])
            rows = [each for each in rows if datetime.fromisoformat(each["modified"]) >= modified_since]
        rows.sort(key=_key)
        size = int(query["limit"])
        start = self._start(query, rows, size)
        page = rows[start : start + size]
        body: dict[str, Any] = {"records": page}
        if self.total:
            body["total"] = len(rows)
        if self.style in ("cursor", "next_link"):
            body["next"] = None
            if start + size < len(rows):
                cursor = json.dumps(_key(page[-1]))
                bounds = {name: value for name, value in query.items() if name != "cursor"}
                body["next"] = cursor if self.style == "cursor" else _link(bounds | {"cursor": cursor})
        return Reply(body=json.dumps(body).encode())

    def _start(self, query: dict[str, str], rows: list[dict[str, Any]], size: int) -> int:
        match self.style:
            case "offset":
                return int(query["offset"])
            case "page":
                return int(query["page"]) * size
        after = query.get("cursor")
        return sum(_key(row) <= tuple(json.loads(after)) for row in rows) if after else 0

    def spec(self, **parts: Any) -> dict[str, Any]:
        paging: dict[str, Any] = {"style": self.style, "page_size": PAGE_SIZE}
        if self.style in ("cursor", "next_link"):
            paging |= {"stable": True, f"{self.style.removesuffix('_link')}_path": "next"}
        changes = {"changes": {"params": {"modified_since": "{since}"}}} if self.changes else {}
        return {
            "name": "acme",
            "base_url": self.server.url,
            "request": {"params": {"warehouse": "{warehouse}"}},
            "window": {"params": {"start": "since", "end": "until"}},
            "records": {"path": "records"},
            "total": {"from": "body", "path": "total"} if self.total else {"from": "none"},
            "order": {"stable": True},
            "paging": paging,
            "fields": {"movement_id": "id"},
            "pace": {"requests_per_second": 5_000},
            "auth": {"kind": "none"},
            **changes,
            **parts,
        }

    def write_spec(self, directory: Path, **parts: Any) -> str:
        """Write the spec into a directory, with `parts` replaced, and return its path."""
        path = directory / "acme.yaml"
        path.write_text(yaml.safe_dump(self.spec(**parts)))
        return str(path)


def published(url: str) -> Content:
    """Return what a reader of a store sees, as `LateSource.content` has it."""
    rows = steps_driver.published(url)
    return Counter({(*row[:3], row[3].replace(" ", "T")): count for row, count in rows.items()})


def _key(row: dict[str, Any]) -> tuple[str, str]:
    return row["timestamp_utc"], row["id"]


def _link(query: dict[str, str]) -> str:
    return f"/movements?{urlencode(query)}"


@contextmanager
def serve_late(**parts: Any) -> Iterator[LateSource]:
    source = LateSource(**parts)
    with answering(source.answer) as source.server:
        yield source

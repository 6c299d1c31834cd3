"""A real HTTP server on loopback with a list of records that a test may change, and the reading of it."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from sku_velocity.errors import VelocityError
from sku_velocity.model.run import RunReport
from sku_velocity.model.window import Window
from sku_velocity.source.client import SourceClient
from sku_velocity.source.spec import SourceSpec, parse_spec
from sku_velocity.source.window import WindowReader
from sku_velocity.store import Store
from tests.support.scripted_server import QuietServer
from tests.support.steps_driver import no_sleep, read_and_prove

DAY = Window(datetime(2026, 3, 1, tzinfo=UTC), datetime(2026, 3, 2, tzinfo=UTC))


@dataclass
class ServedRecords:
    """A source of records: dicts, or JSON text to send as it is. From offset `broken_from` on it fails."""

    url: str
    records: list[Any] = field(default_factory=list)
    broken_from: int | None = None

    def page(self, offset: int, limit: int) -> bytes:
        page = self.records[offset : offset + limit]
        texts = [each if isinstance(each, str) else json.dumps(each) for each in page]
        return f'{{"records": [{", ".join(texts)}], "total": {len(self.records)}}}'.encode()


def record(number: int, **parts: Any) -> dict[str, Any]:
    """Return a movement of one second of the day."""
    at = f"2026-03-01T{number // 3600 % 24:02}:{number // 60 % 60:02}:{number % 60:02}Z"
    fields = {"id": f"m-{number}", "sku_id": "SKU-1", "warehouse_id": "WH-01", "units_moved": 1}
    return fields | {"timestamp_utc": at} | parts


@contextmanager
def serve_records(records: list[Any]) -> Iterator[ServedRecords]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            query = dict(parse_qsl(urlsplit(self.path).query))
            offset, limit = int(query["offset"]), int(query["limit"])
            is_broken = served.broken_from is not None and offset >= served.broken_from
            self.send_response(403 if is_broken else 200)
            self.end_headers()
            self.wfile.write(b"" if is_broken else served.page(offset, limit))

        def log_message(self, format: str, *args: object) -> None:
            pass

    with QuietServer(("127.0.0.1", 0), Handler) as http:
        served = ServedRecords(f"http://127.0.0.1:{http.server_address[1]}", records)
        thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield served
        finally:
            http.shutdown()
            thread.join()


def spec_of(served: ServedRecords, **parts: Any) -> SourceSpec:
    return parse_spec(
        {
            "name": "acme",
            "base_url": served.url,
            "request": {"params": {"warehouse": "{warehouse}"}},
            "window": {"params": {"start": "since", "end": "until"}},
            "records": {"path": "records"},
            "total": {"from": "body", "path": "total"},
            "paging": {"page_size": 11},
            "fields": {"movement_id": "id"},
            "pace": {"requests_per_second": 10_000},
            "auth": {"kind": "none"},
            **parts,
        },
        "test",
    )


def read(
    served: ServedRecords,
    url: str,
    run_id: str = "run",
    span: Window = DAY,
    max_reject_ratio: float = 0.05,
    accept_shrunk: bool = False,
    **parts: Any,
) -> RunReport | None:
    """Read a window as the flow does; a second call with the same run is a Retry. None: it broke off."""

    async def run() -> RunReport | None:
        async with (
            SourceClient.open(spec_of(served, **parts), None, sleep=no_sleep) as client,
            Store.open(url) as store,
        ):
            reader = WindowReader.of(client, "WH-01", span)
            try:
                return await read_and_prove(reader, store, run_id, 1, max_reject_ratio, accept_shrunk)
            except* VelocityError:
                pass
            return None

    return asyncio.run(run())


def failed(report: RunReport | None) -> dict[str, str]:
    """Return the failed checks of a report, and what each found."""
    assert report
    return {check.name: check.detail for check in report.checks if check.passed is False}

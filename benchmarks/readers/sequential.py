"""The simple alternative: a script with httpx and tenacity, one page after the other, into SQLite."""

import argparse
import sqlite3
from collections.abc import Iterator
from typing import Any

import httpx
from tenacity import retry, retry_if_exception_type, stop_after_attempt, wait_exponential_jitter

PAGE = 1000
TABLE = """
CREATE TABLE IF NOT EXISTS movements (
    movement_id TEXT PRIMARY KEY, sku_id TEXT NOT NULL, warehouse_id TEXT NOT NULL,
    units_moved INTEGER NOT NULL, timestamp_utc TEXT NOT NULL
)
"""
UPSERT = """
INSERT OR REPLACE INTO movements
VALUES (:movement_id, :sku_id, :warehouse_id, :units_moved, :timestamp_utc)
"""


@retry(
    retry=retry_if_exception_type((httpx.TransportError, httpx.HTTPStatusError)),
    stop=stop_after_attempt(5),
    wait=wait_exponential_jitter(multiplier=0.5, max=10),
    reraise=True,
)
def fetch(client: httpx.Client, offset: int) -> dict[str, Any]:
    params: dict[str, str | int] = {"warehouse": "WH-01", "offset": offset, "limit": PAGE}
    answer = client.get("/movements", params=params)
    answer.raise_for_status()
    body: dict[str, Any] = answer.json()
    return body


def pages(client: httpx.Client) -> Iterator[list[dict[str, Any]]]:
    """Yield each page; the next one begins after the received rows, so that a smaller page loses none."""
    offset = 0
    while True:
        body = fetch(client, offset)
        if not body["records"]:
            return
        yield body["records"]
        offset += len(body["records"])
        if offset >= body["total"]:
            return


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--url", required=True)
    parser.add_argument("--database", required=True)
    options = parser.parse_args()
    with httpx.Client(base_url=options.url, timeout=30) as client, sqlite3.connect(options.database) as store:
        store.execute(TABLE)
        for records in pages(client):  # one transaction: all pages or nothing
            store.executemany(UPSERT, records)


if __name__ == "__main__":
    main()

"""A page's rows: movements and items in the way that is fastest on each database, and dead letters."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from itertools import chain
from typing import Any

from sqlalchemy import Row, func, insert, select
from sqlalchemy.ext.asyncio import AsyncConnection

from sku_velocity.model.chunk import PageResult
from sku_velocity.model.movement import DeadLetter, ItemRow, MovementRow, Reason
from sku_velocity.store.tables import (
    dead_letters,
    instant_text,
    movements,
    sync_runs,
)

# As in a MovementRow and an ItemRow, the run's key before it.
COLUMNS = ("run_key", "position", "movement_id", "sku_id", "warehouse_id", "units_moved", "timestamp_utc")
ITEM_COLUMNS = ("run_key", "position", "sku_id", "status", "description", "unit_volume")
ALIAS_COLUMNS = ("run_key", "position", "ordinal", "alias")
# Values that a statement of SQLite may bind (sqlite.org/limits.html, 9).
_VARIABLES = 32_766 if sqlite3.sqlite_version_info >= (3, 32) else 999


async def insert_page(connection: AsyncConnection, key: int, result: PageResult) -> None:
    """Put a page's rows where its positions are.

    Nothing stands there, for a chunk's rows and its `next_offset` move in one transaction. If anything did,
    the tables' primary keys would refuse the page.
    """
    if result.movements:
        await insert_movements(connection, key, result.movements)
    if result.items:
        await _insert_items(connection, key, result.items)
    if result.dead_letters:
        await connection.execute(insert(dead_letters), letter_values(key, result.dead_letters))


async def read_dead_letters(
    connection: AsyncConnection, flow_run_id: str, limit: int | None
) -> list[DeadLetter]:
    """A run's dead letters by position, the first `limit` of them where it is given."""
    rows = await connection.execute(
        select(dead_letters)
        .join(sync_runs)
        .where(sync_runs.c.flow_run_id == flow_run_id)
        .order_by(dead_letters.c.position)
        .limit(limit)
    )
    return [to_letter(row) for row in rows]


async def count_repeated_ids(connection: AsyncConnection, flow_run_id: str) -> int:
    """How many record ids stand in a run more than once."""
    repeated = (
        select(movements.c.movement_id)
        .join(sync_runs)
        .where(sync_runs.c.flow_run_id == flow_run_id, movements.c.movement_id.is_not(None))
        .group_by(movements.c.movement_id)
        .having(func.count() > 1)
        .subquery()
    )
    return (await connection.execute(select(func.count()).select_from(repeated))).scalar_one()


async def insert_movements(connection: AsyncConnection, key: int, rows: Sequence[MovementRow]) -> None:
    """Enter movements of a run, at positions where none stands."""
    if connection.dialect.name == "postgresql":
        values: list[tuple[Any, ...]] = [(key, *row) for row in rows]
    else:
        values = [(key, *row[:5], instant_text(row[5])) for row in rows]
    await _insert(connection, "movements", COLUMNS, values)


async def _insert_items(connection: AsyncConnection, key: int, rows: Sequence[ItemRow]) -> None:
    await _insert(connection, "items", ITEM_COLUMNS, [(key, *row[:5]) for row in rows])
    aliases = [(key, row[0], ordinal, alias) for row in rows for ordinal, alias in enumerate(row[5])]
    if aliases:
        await _insert(connection, "item_aliases", ALIAS_COLUMNS, aliases)


async def _insert(
    connection: AsyncConnection, table: str, columns: Sequence[str], rows: list[tuple[Any, ...]]
) -> None:
    if connection.dialect.name == "postgresql":
        # In the transaction that an earlier statement has begun: COPY alone would not begin it.
        driver: Any = (await connection.get_raw_connection()).driver_connection
        await driver.copy_records_to_table(table, records=rows, columns=columns)
    else:
        # In one step of SQLite's, not one a row: before each, its thread would wait until the event loop's
        # thread lets go of the interpreter, which a busy one does after 5 ms.
        at_once = _VARIABLES // len(columns)
        place = f"({', '.join('?' for _ in columns)})"
        for part in (rows[first : first + at_once] for first in range(0, len(rows), at_once)):
            places = ", ".join([place] * len(part))
            statement = f"INSERT INTO {table} ({', '.join(columns)}) VALUES {places}"
            await connection.exec_driver_sql(statement, tuple(chain.from_iterable(part)))


def letter_values(key: int, letters: Iterable[DeadLetter], stage: str = "validation") -> list[dict[str, Any]]:
    """Dead letters of a run as rows."""
    now = datetime.now(UTC)
    return [
        {
            "run_key": key,
            "stage": stage,
            "position": letter.position,
            "record_json": letter.record_json,
            "reasons": json.dumps([[reason.field, reason.message] for reason in letter.reasons]),
            "created_at": now,
        }
        for letter in letters
    ]


def to_letter(row: Row[Any]) -> DeadLetter:
    """A row as a dead letter."""
    reasons = tuple(Reason(field, message) for field, message in json.loads(row.reasons))
    return DeadLetter(row.position, row.record_json, reasons)

"""The rows of a page: movements, items and dead letters, inserted in the fastest way of each database."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from itertools import chain
from typing import Any

from sqlalchemy import Row, func, insert, select, union_all
from sqlalchemy.ext.asyncio import AsyncConnection

from sku_velocity.model.chunk import PageResult
from sku_velocity.model.movement import DeadLetter, ItemRow, MovementRow, Reason
from sku_velocity.model.run import IdCounts
from sku_velocity.store.tables import (
    dead_letters,
    instant_text,
    items,
    movements,
    sync_runs,
    unloaded_ids,
)

COLUMNS = ("run_key", *MovementRow._fields)
UNLOADED_COLUMNS = ("run_key", "position", "record_id")
ITEM_COLUMNS = ("run_key", *ItemRow._fields[:-1])  # without its aliases
ALIAS_COLUMNS = ("run_key", "position", "ordinal", "alias")
# Values that a SQLite statement may bind (sqlite.org/limits.html, 9).
_VARIABLES = 32_766 if sqlite3.sqlite_version_info >= (3, 32) else 999


async def insert_page(connection: AsyncConnection, key: int, result: PageResult) -> None:
    """Insert a page's rows at its positions.

    The positions are free, because a chunk's rows and its `next_offset` change in one transaction. If one
    were taken, the tables' primary keys would reject the page.
    """
    if result.movements:
        await insert_movements(connection, key, result.movements)
    if result.unloaded_ids:
        values = [(key, *each) for each in result.unloaded_ids.items()]
        await _insert(connection, "unloaded_ids", UNLOADED_COLUMNS, values)
    if result.items:
        await _insert_items(connection, key, result.items)
    if result.dead_letters:
        await connection.execute(insert(dead_letters), letter_values(key, result.dead_letters))


async def read_dead_letters(connection: AsyncConnection, run_id: str, limit: int | None) -> list[DeadLetter]:
    """Return a run's dead letters by position; at most `limit`, if given."""
    rows = await connection.execute(
        select(dead_letters)
        .join(sync_runs)
        .where(sync_runs.c.run_id == run_id)
        .order_by(dead_letters.c.position)
        .limit(limit)
    )
    return [to_letter(row) for row in rows]


async def count_ids(connection: AsyncConnection, run_id: str) -> IdCounts:
    """Count the record ids, or the SKUs of a master, that a run read, loaded or not."""
    key = select(sync_runs.c.run_key).where(sync_runs.c.run_id == run_id).scalar_subquery()
    loaded, unloaded = movements.c, unloaded_ids.c
    ids = union_all(
        select(loaded.movement_id.label("id")).where(loaded.run_key == key, loaded.movement_id.is_not(None)),
        select(items.c.sku_id).where(items.c.run_key == key),
        select(unloaded.record_id).where(unloaded.run_key == key),
    ).subquery()
    times = select(func.count().label("read")).select_from(ids).group_by(ids.c.id).subquery().c.read
    loaded_without = select(func.count()).where(loaded.run_key == key, loaded.movement_id.is_(None))
    counts = select(
        func.coalesce(func.sum(times), 0), func.count().filter(times > 1), loaded_without.scalar_subquery()
    )
    read, repeated, without = (await connection.execute(counts)).one()
    return IdCounts(int(read), repeated, without)


async def insert_movements(connection: AsyncConnection, key: int, rows: Sequence[MovementRow]) -> None:
    """Insert movements of a run at free positions."""
    if connection.dialect.name == "postgresql":
        values: list[tuple[Any, ...]] = [(key, *row) for row in rows]
    else:
        values = [(key, *row[:-1], instant_text(row.timestamp_utc)) for row in rows]
    await _insert(connection, "movements", COLUMNS, values)


async def _insert_items(connection: AsyncConnection, key: int, rows: Sequence[ItemRow]) -> None:
    await _insert(connection, "items", ITEM_COLUMNS, [(key, *row[:-1]) for row in rows])
    aliases = [
        (key, row.position, ordinal, alias) for row in rows for ordinal, alias in enumerate(row.aliases)
    ]
    if aliases:
        await _insert(connection, "item_aliases", ALIAS_COLUMNS, aliases)


async def _insert(
    connection: AsyncConnection, table: str, columns: Sequence[str], rows: list[tuple[Any, ...]]
) -> None:
    if connection.dialect.name == "postgresql":
        # In the transaction that an earlier statement has begun: COPY itself does not begin one.
        driver: Any = (await connection.get_raw_connection()).driver_connection
        await driver.copy_records_to_table(table, records=rows, columns=columns)
    else:
        # One SQLite step for many rows: before each step, its thread waits until the event loop's thread
        # releases the interpreter, which takes a busy one 5 ms.
        size = _VARIABLES // len(columns)
        row = f"({', '.join('?' for _ in columns)})"
        for part in (rows[first : first + size] for first in range(0, len(rows), size)):
            values = ", ".join([row] * len(part))
            statement = f"INSERT INTO {table} ({', '.join(columns)}) VALUES {values}"
            await connection.exec_driver_sql(statement, tuple(chain.from_iterable(part)))


def letter_values(key: int, letters: Iterable[DeadLetter], stage: str = "validation") -> list[dict[str, Any]]:
    """Convert dead letters of a run to rows."""
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
    """Convert a row to a dead letter."""
    reasons = tuple(Reason(field, message) for field, message in json.loads(row.reasons))
    return DeadLetter(row.position, row.record_json, reasons)

"""The rows of a page: movements, items and dead letters, inserted in the fastest way of each database."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Sequence
from itertools import chain, repeat
from typing import Any

from sqlalchemy import Connection, insert

from sku_velocity.model.chunk import PageResult
from sku_velocity.model.movement import ItemRow, MovementRow, Movements
from sku_velocity.store.letter_rows import letter_values
from sku_velocity.store.tables import dead_letters, microseconds

UNLOADED_COLUMNS = ("run_key", "position", "record_id")
ITEM_COLUMNS = ("run_key", *ItemRow._fields[:-1])  # without its aliases
ALIAS_COLUMNS = ("run_key", "position", "ordinal", "alias")
# Values that a SQLite statement may bind (sqlite.org/limits.html, 9).
_VARIABLES = 32_766 if sqlite3.sqlite_version_info >= (3, 32) else 999


def insert_page(connection: Connection, key: int, result: PageResult) -> None:
    """Insert a page's rows at its positions.

    The positions are free, because a chunk's rows and its `next_offset` change in one transaction. If one
    were taken, the tables' primary keys would reject the page.
    """
    if result.movements:
        insert_movements(connection, key, result.movements)
    if result.unloaded_ids:
        values = [(key, *each) for each in result.unloaded_ids.items()]
        _insert(connection, "unloaded_ids", UNLOADED_COLUMNS, values)
    if result.items:
        _insert_items(connection, key, result.items)
    if result.dead_letters:
        connection.execute(insert(dead_letters), letter_values(key, result.dead_letters))


def insert_movements(connection: Connection, key: int, rows: Sequence[MovementRow]) -> None:
    """Insert movements of a run at free positions."""
    columns: dict[str, Iterable[Any]] = {
        name: values
        for name, values in zip(MovementRow._fields, Movements.of(rows).columns, strict=True)
        if values.count(None) < len(rows)  # what no row has costs nothing
    }
    if connection.dialect.name != "postgresql":
        columns["timestamp_utc"] = map(microseconds, columns["timestamp_utc"])
    values = zip(repeat(key, len(rows)), *columns.values(), strict=True)
    _insert(connection, "movements", ("run_key", *columns), values)


def _insert_items(connection: Connection, key: int, rows: Sequence[ItemRow]) -> None:
    _insert(connection, "items", ITEM_COLUMNS, [(key, *row[:-1]) for row in rows])
    aliases = [
        (key, row.position, ordinal, alias) for row in rows for ordinal, alias in enumerate(row.aliases)
    ]
    if aliases:
        _insert(connection, "item_aliases", ALIAS_COLUMNS, aliases)


def _insert(
    connection: Connection, table: str, columns: Sequence[str], rows: Iterable[tuple[Any, ...]]
) -> None:
    if connection.dialect.name == "postgresql":
        # In the transaction that an earlier statement has begun: COPY itself does not begin one.
        driver: Any = connection.connection.dbapi_connection
        driver.run_async(lambda each: each.copy_records_to_table(table, records=rows, columns=columns))
    else:
        # One SQLite step for many rows: before each step, its thread waits until the event loop's thread
        # releases the interpreter, which takes a busy one 5 ms.
        size = _VARIABLES // len(columns) * len(columns)
        row = f"({', '.join('?' for _ in columns)})"
        values = tuple(chain.from_iterable(rows))
        for part in (values[first : first + size] for first in range(0, len(values), size)):
            row_places = ", ".join([row] * (len(part) // len(columns)))
            statement = f"INSERT INTO {table} ({', '.join(columns)}) VALUES {row_places}"
            connection.exec_driver_sql(statement, part)

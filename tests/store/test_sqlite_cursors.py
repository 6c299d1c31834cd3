"""No SQLite cursor outlives its error: releasing one later could deadlock the event loop."""

from __future__ import annotations

import gc
import sqlite3
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from sqlalchemy.ext.asyncio import AsyncConnection

from sku_velocity.errors import StoreUnavailableError
from sku_velocity.store import database as engine
from sku_velocity.store.database import Database

pytestmark = pytest.mark.anyio


@pytest.fixture
def file(tmp_path: Path) -> Iterator[Path]:
    """A database in which another connection is writing. Garbage collection is off meanwhile."""
    file = tmp_path / "store.db"
    with closing(sqlite3.connect(file, isolation_level=None)) as writer:
        writer.execute("CREATE TABLE t (a)")
        writer.execute("BEGIN IMMEDIATE")
        gc.disable()
        yield file
        gc.enable()


async def cursors_of(connection: AsyncConnection) -> list[sqlite3.Cursor]:
    """Return the cursors of a connection; from Python 3.13 on, which keeps closed ones, the open ones."""
    driver = (await connection.get_raw_connection()).driver_connection
    assert driver is not None
    await driver.rollback()  # its thread keeps the last cursor until it runs something else
    cursors = [each for each in gc.get_objects() if type(each) is sqlite3.Cursor]
    keeps_closed = sys.version_info >= (3, 13)  # its frame.clear() does not clear suspended frames
    return [
        cursor
        for cursor in cursors
        if cursor.connection is driver._conn and (is_open(cursor) or not keeps_closed)
    ]


def is_open(cursor: sqlite3.Cursor) -> bool:
    """Return False for a closed cursor, which holds nothing that would be released later."""
    try:
        cursor.fetchone()
    except sqlite3.ProgrammingError as error:
        return "closed cursor" not in str(error)
    return True


async def test_no_cursor_is_left_after_connecting_during_another_write(file: Path) -> None:
    database = Database(f"sqlite:///{file}")
    async with database.reading() as connection:
        mode = (await connection.exec_driver_sql("PRAGMA journal_mode")).scalar_one()
        assert mode == "delete"  # because the other connection was writing
        assert await cursors_of(connection) == []
    await database.close()


async def test_no_cursor_is_left_after_waiting_for_another_write_in_vain(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(engine._SQLITE, "timeout", 0)
    database = Database(f"sqlite:///{file}")
    with pytest.raises(StoreUnavailableError, match="locked"):
        async with database.writing():
            pass
    async with database.reading() as connection:
        assert await cursors_of(connection) == []
    await database.close()

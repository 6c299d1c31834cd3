"""From a plain URL to a database's connections: short reads, and writes that exclude each other."""

from __future__ import annotations

import asyncio
import json
import sqlite3
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, closing, contextmanager
from hashlib import blake2b
from pathlib import Path
from traceback import clear_frames
from typing import Any

import asyncpg
from sqlalchemy import URL, Connection, event, func, make_url, select
from sqlalchemy.engine.interfaces import DBAPIConnection, ExceptionContext
from sqlalchemy.exc import ArgumentError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from sku_velocity.errors import StoreConfigurationError
from sku_velocity.store.errors import explaining

BUSY_TIMEOUT = 30  # seconds that a writer of the same SQLite file is waited for
CONNECT_TIMEOUT = 10  # seconds
# At most as many transactions write at once; the rest of the pool is left to those who read.
WRITERS = 8
POOL: dict[str, Any] = {"pool_size": 2 * WRITERS, "max_overflow": 0, "hide_parameters": True}

EXAMPLES = "write sqlite:///file.db or postgresql://user:password@host/database"
SECRET_OPTIONS = {"password", "sslpassword"}


def holds_password(url: str) -> bool:
    """Whether a store's URL carries a password. One that cannot be read is held to."""
    try:
        parsed = _parse(url)
    except StoreConfigurationError:
        return True
    return bool(parsed.password) or not SECRET_OPTIONS.isdisjoint(parsed.query)


class Database:
    """The connections to one store. It belongs to the event loop that first uses it.

    Raises StoreConfigurationError where the URL does not name a store.
    """

    def __init__(self, url: str) -> None:
        parsed = _parse(url)
        self.where = _shown(parsed)
        self._engine = create_engine(parsed)
        self._writer = self._engine.execution_options(sqlite_begin="BEGIN IMMEDIATE")
        # SQLite has one writer at a time. Here they queue for as long as it takes, rather than poll for the
        # file's lock, or for a connection until the pool's patience ends.
        self._turn = asyncio.Semaphore(1 if self._engine.dialect.name == "sqlite" else WRITERS)

    @asynccontextmanager
    async def reading(self) -> AsyncIterator[AsyncConnection]:
        """A connection to read with. Raises StoreUnavailableError and StoreConfigurationError."""
        with explaining(self.where):
            async with self._engine.connect() as connection:
                yield connection

    @asynccontextmanager
    async def snapshot(self) -> AsyncIterator[AsyncConnection]:
        """A connection to read with that sees one moment of the store, however many statements it takes."""
        async with self.reading() as connection:
            if connection.dialect.name == "postgresql":  # SQLite keeps to that by itself
                await connection.execution_options(isolation_level="REPEATABLE READ")
            yield connection

    @asynccontextmanager
    async def writing(self) -> AsyncIterator[AsyncConnection]:
        """One transaction, undone as a whole where it fails. Raises as `reading` does.

        On SQLite it is the only one that writes from its first statement on; on PostgreSQL `lock`
        what must not change meanwhile.
        """
        with explaining(self.where):
            async with self._turn, self._writer.begin() as connection:
                yield connection

    async def close(self) -> None:
        await self._engine.dispose()


async def lock(connection: AsyncConnection, *name: str) -> None:
    """Hold what this name stands for until the transaction ends; others who ask for it wait."""
    if connection.dialect.name == "postgresql":  # on SQLite the transaction excludes all others
        digest = blake2b(json.dumps(name).encode(), digest_size=8).digest()
        key = int.from_bytes(digest, "big", signed=True)
        await connection.execute(select(func.pg_advisory_xact_lock(key)))


def create_engine(url: URL) -> AsyncEngine:
    """An engine for a URL that `_parse` let through."""
    if url.drivername == "sqlite":
        return _sqlite_engine(Path(url.database or ""))
    return _postgresql_engine(url)


def _postgresql_engine(url: URL) -> AsyncEngine:
    dsn = url.render_as_string(hide_password=False)

    async def connect() -> Any:  # asyncpg itself knows what sslmode, ?host=/socket/dir and PGHOST mean
        try:
            return await asyncpg.connect(dsn, timeout=CONNECT_TIMEOUT)
        except ValueError as error:
            raise StoreConfigurationError(
                f"store {_shown(url)}: {error}: correct the host, the port or the options in the store's URL"
            ) from error

    return create_async_engine("postgresql+asyncpg://", async_creator=connect, pool_pre_ping=True, **POOL)


def _sqlite_engine(file: Path) -> AsyncEngine:
    if not file.parent.is_dir():
        raise StoreConfigurationError(f"store sqlite:///{file}: there is no directory {file.parent}: make it")
    _check_file(file)
    # Without isolation_level=None the driver begins transactions by itself, and only before a write.
    arguments = {"timeout": BUSY_TIMEOUT, "isolation_level": None}
    address = URL.create("sqlite+aiosqlite", database=str(file))
    engine = create_async_engine(address, connect_args=arguments, **POOL)
    event.listen(engine.sync_engine, "connect", _set_up_sqlite)
    event.listen(engine.sync_engine, "begin", _begin_sqlite)
    event.listen(engine.sync_engine, "invalidate", _end_sqlite)
    event.listen(engine.sync_engine, "handle_error", _release_after_error)
    return engine


def _check_file(file: Path) -> None:
    """See that the file can be opened and is a database, before a thread of the driver's stumbles over it."""
    with (
        explaining(f"sqlite:///{file}"),
        closing(sqlite3.connect(file, timeout=0)) as connection,
        unless_busy(),
    ):
        connection.execute("PRAGMA schema_version")


@contextmanager
def unless_busy() -> Iterator[None]:
    """Do without what another process is just doing to the same SQLite file."""
    try:
        yield
    except sqlite3.OperationalError as error:
        if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY:  # above it, which kind of busy
            raise
        _release(error)


def _set_up_sqlite(connection: DBAPIConnection, record: Any) -> None:
    cursor = connection.cursor()
    cursor.execute("PRAGMA foreign_keys = ON")
    with unless_busy():  # the busy timeout does not hold here; another process is just switching it for us
        cursor.execute("PRAGMA journal_mode = WAL")
    cursor.close()


def _begin_sqlite(connection: Connection) -> None:
    connection.exec_driver_sql(connection.get_execution_options().get("sqlite_begin", "BEGIN"))


def _end_sqlite(connection: DBAPIConnection, record: Any, error: BaseException | None) -> None:
    # What was cancelled leaves a cursor behind in its traceback, and as long as that lives, closing the
    # connection does not end its transaction: the file would stay locked.
    connection.rollback()


def _release_after_error(context: ExceptionContext) -> None:
    _release(context.original_exception)


def _release(error: BaseException) -> None:
    """Let go of the cursor that an error's traceback holds.

    Otherwise Python's collector finds it some time, in the event loop's thread, and to let go of it takes the
    connection's mutex. Where that connection is just waiting for another one to write, the loop would wait
    with it, and the other one, on the same loop, for the loop.
    """
    clear_frames(error.__traceback__)


def _parse(url: str) -> URL:
    # No message below quotes a URL that was not understood, and none is chained to the parser's own
    # error: a password may stand anywhere in it.
    try:
        parsed = make_url(url)
    except (ArgumentError, ValueError):
        raise StoreConfigurationError(f"the store's URL cannot be read: {EXAMPLES}") from None
    if "+" in parsed.drivername:
        raise StoreConfigurationError(
            f"the store's URL asks for the driver {parsed.drivername}, but the driver is chosen for you: "
            + EXAMPLES
        )
    if parsed.drivername == "sqlite":
        return _checked_sqlite(parsed)
    if parsed.drivername in ("postgresql", "postgres"):
        return _checked_postgresql(parsed)
    raise StoreConfigurationError(f"no store speaks {parsed.drivername}: {EXAMPLES}")


def _checked_sqlite(url: URL) -> URL:
    if url.host or url.username or url.password or url.query:
        raise StoreConfigurationError(
            "the store's URL says more than a SQLite store's path: write sqlite:///file.db, "
            "or sqlite:////absolute/file.db, with three slashes before the path"
        )
    if not url.database or url.database == ":memory:" or url.database.startswith("file:"):
        raise StoreConfigurationError("a SQLite store is a file: write sqlite:///file.db")
    return url


def _checked_postgresql(url: URL) -> URL:
    if "@" in (url.host or ""):
        raise StoreConfigurationError(
            "the store's URL holds more than one '@': write one in a password as %40, and '/' as %2F"
        )
    return url.set(drivername="postgresql")


def _shown(url: URL) -> str:
    """The URL as everyone may read it: without its password, and without options, which may hold one."""
    text = url.set(query={}).render_as_string(hide_password=True)
    return f"{text}?host={url.query['host']}" if "host" in url.query else text

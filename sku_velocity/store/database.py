"""Database connections for a store URL: short reads, and writes that exclude each other."""

from __future__ import annotations

import asyncio
import fcntl
import json
import os
import sqlite3
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, closing, contextmanager
from hashlib import blake2b
from pathlib import Path
from typing import Any, TypeVar

from sqlalchemy import URL, Connection, Engine, event, func, make_url, select
from sqlalchemy import create_engine as create_sync_engine
from sqlalchemy.engine.interfaces import DBAPIConnection, ExceptionContext
from sqlalchemy.exc import ArgumentError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from sku_velocity.errors import StoreConfigurationError, StoreUnavailableError
from sku_velocity.store.errors import release_cursors, translating_errors

T = TypeVar("T")

BUSY_TIMEOUT = 30  # seconds to wait for another writer of the same SQLite file
CONNECT_TIMEOUT = 10  # seconds
# Transactions that write at once; the rest of the pool is for readers.
WRITERS = 8
# Exclusive locks that this process holds at once, each with a connection.
LOCKS = 2
LOCK_TIMEOUT = 600.0  # seconds to wait for another process's exclusive lock
LOCK_POLL = 0.2  # seconds
# Without isolation_level=None the driver begins transactions by itself, and only before a write.
_SQLITE = {"timeout": BUSY_TIMEOUT, "isolation_level": None, "check_same_thread": False}
# As many statements as a page needs stay prepared. Each length of page has an INSERT of its own, with 1 MB of
# values or more: at the driver's default, 128, memory would grow with the number of lengths.
_STATEMENTS = {"cached_statements": 8}
POOL: dict[str, Any] = {"pool_size": 2 * WRITERS, "max_overflow": 0, "hide_parameters": True}

EXAMPLES = "write sqlite:///file.db or postgresql://user:password@host/database"
SECRET_OPTIONS = {"password", "sslpassword"}


def holds_password(url: str) -> bool:
    """Return True if the URL contains a password. An unparsable URL counts as containing one."""
    try:
        parsed = parse_url(url)
    except StoreConfigurationError:
        return True
    return bool(parsed.password) or not SECRET_OPTIONS.isdisjoint(parsed.query)


class Database:
    """The connections to one store. A database belongs to the event loop that first uses it.

    Raises StoreConfigurationError if the URL does not name a store.
    """

    def __init__(self, url: str) -> None:
        parsed = parse_url(url)
        self.display_url = _display_url(parsed)
        self._engine = create_engine(parsed)
        self._file = StoreFile(Path(parsed.database or "")) if parsed.drivername == "sqlite" else None
        self._writer = self._engine.execution_options(sqlite_begin="BEGIN IMMEDIATE")
        self._thread_writer = _sqlite_writer(Path(parsed.database or "")) if self._file else None
        # SQLite has one writer at a time. Writers queue here without a limit, instead of polling the file's
        # lock or waiting for a connection until the pool's timeout.
        self._write_slots = asyncio.Semaphore(1 if self._engine.dialect.name == "sqlite" else WRITERS)
        self._lock_slots = asyncio.Semaphore(LOCKS)

    @asynccontextmanager
    async def reading(self) -> AsyncIterator[AsyncConnection]:
        """Open a connection for reads. Raises StoreUnavailableError and StoreConfigurationError."""
        with translating_errors(self.display_url):
            self._check_file()
            async with self._engine.connect() as connection:
                yield connection

    @asynccontextmanager
    async def snapshot(self) -> AsyncIterator[AsyncConnection]:
        """Open a connection for reads whose statements all see the same state of the store."""
        async with self.reading() as connection:
            if connection.dialect.name == "postgresql":  # SQLite always reads a snapshot
                await connection.execution_options(isolation_level="REPEATABLE READ")
            yield connection

    @asynccontextmanager
    async def writing(self) -> AsyncIterator[AsyncConnection]:
        """Open a transaction for writes; a failure rolls it back. Raises as `reading` does.

        On SQLite it excludes all other writers from its first statement on; on PostgreSQL use `lock` for
        what must not change meanwhile.
        """
        with translating_errors(self.display_url):
            async with self._write_slots:
                self._check_file()
                async with self._writer.begin() as connection:
                    yield connection
                    self._check_file()  # or a commit would go to a file that nobody can read any more

    async def write(self, work: Callable[[Connection], T]) -> T:
        """Run a function in a transaction for writes, and return its result. Raises as `writing` does.

        On SQLite it runs in another thread, as a whole: a hop for each of its statements would cost more than
        they do. If the caller is cancelled, the transaction ends first.
        """
        if self._thread_writer is None:
            async with self.writing() as connection:
                return await connection.run_sync(work)
        with translating_errors(self.display_url):
            async with self._write_slots:
                thread = asyncio.ensure_future(asyncio.to_thread(self._write, self._thread_writer, work))
                try:
                    return await asyncio.shield(thread)
                except asyncio.CancelledError:
                    await asyncio.wait([thread])
                    raise

    def _write(self, engine: Engine, work: Callable[[Connection], T]) -> T:
        self._check_file()
        with engine.begin() as connection:
            result = work(connection)
            self._check_file()  # or a commit would go to a file that nobody can read any more
            return result

    @asynccontextmanager
    async def exclusive(self, *name: str) -> AsyncIterator[None]:
        """Hold a lock of this name, in all processes that use the store. Readers and writers do not wait.

        A process that is killed releases it. On SQLite, all names share one lock. Raises
        StoreUnavailableError if another holder keeps it for longer than `LOCK_TIMEOUT`, or at the end if the
        lock was lost with its connection.
        """
        async with self._lock_slots:
            deadline = time.monotonic() + LOCK_TIMEOUT
            while True:
                async with AsyncExitStack() as stack:
                    with translating_errors(self.display_url):
                        is_held = await self._try_lock(stack, name)
                    if is_held:
                        try:
                            yield
                        finally:
                            with translating_errors(self.display_url):
                                await stack.aclose()
                        return
                if time.monotonic() > deadline:
                    raise StoreUnavailableError(
                        f"store {self.display_url}: another process has held the lock {' '.join(name)} for "
                        f"{LOCK_TIMEOUT:.0f} s: retry later"
                    )
                await asyncio.sleep(LOCK_POLL)

    async def _try_lock(self, stack: AsyncExitStack, name: Sequence[str]) -> bool:
        """Try to take a lock, which the stack releases."""
        if self._file:
            # The directory's, as no other file lasts as long; SQLite's own locks are of another kind.
            descriptor = os.open(self._file.directory, os.O_RDONLY)
            stack.callback(os.close, descriptor)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return False
            return True
        connection = await stack.enter_async_context(self._engine.connect())
        locked = await connection.execute(select(func.pg_try_advisory_xact_lock(_lock_key(name))))
        stack.push_async_callback(connection.commit)  # fails if the lock is lost
        return bool(locked.scalar_one())

    def _check_file(self) -> None:
        if self._file and not self._file.is_in_place():
            raise StoreConfigurationError(
                f"store {self.display_url}: the file was deleted or replaced while it was open, so nothing "
                "was written: restore it from a backup, or start a new run, which reads its window again"
            )

    async def close(self) -> None:
        await self._engine.dispose()
        if self._thread_writer is not None:
            self._thread_writer.dispose()


class Repository:
    """One subject of a store: owns its SQL. Each method is one transaction."""

    def __init__(self, database: Database) -> None:
        self.database = database


class StoreFile:
    """The identity of an existing SQLite file: a file that replaces it at the same path is another one."""

    def __init__(self, file: Path) -> None:
        self._file = file.absolute()
        self.directory = self._file.parent
        self._identity = self._read_identity()

    def is_in_place(self) -> bool:
        """Return True if the path still names the same file."""
        return self._read_identity() == self._identity

    def _read_identity(self) -> tuple[int, int] | None:
        try:
            status = self._file.stat()
        except (FileNotFoundError, NotADirectoryError):
            return None
        return status.st_dev, status.st_ino


async def lock(connection: AsyncConnection, *name: str) -> None:
    """Take an exclusive lock of this name until the transaction ends; other transactions wait for it."""
    if connection.dialect.name == "postgresql":  # on SQLite the transaction excludes all others
        await connection.execute(select(func.pg_advisory_xact_lock(_lock_key(name))))


def _lock_key(name: Sequence[str]) -> int:
    digest = blake2b(json.dumps(name).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big", signed=True)


def create_engine(url: URL) -> AsyncEngine:
    """Create an engine for a URL that `parse_url` returned."""
    if url.drivername == "sqlite":
        return _sqlite_engine(Path(url.database or ""))
    return _postgresql_engine(url)


def _postgresql_engine(url: URL) -> AsyncEngine:
    import asyncpg  # only when it is used: a store in SQLite opens sooner without

    dsn = url.render_as_string(hide_password=False)

    async def connect() -> Any:  # asyncpg itself handles sslmode, ?host=/socket/dir and PGHOST
        try:
            connection = await asyncpg.connect(dsn, timeout=CONNECT_TIMEOUT, statement_cache_size=0)
        except ValueError as error:
            raise StoreConfigurationError(
                f"store {_display_url(url)}: {error}: "
                "correct the host, the port or the options in the store's URL"
            ) from error
        if (encoding := connection.get_settings().server_encoding) != "UTF8":
            await connection.close()
            raise StoreConfigurationError(
                f"store {_display_url(url)}: the database's encoding is {encoding}, which cannot hold every "
                "record: create one with ENCODING 'UTF8' and name it in the store's URL"
            )
        return connection

    def adapted() -> Any:
        # Without caches no statement has a name: behind a pooler in transaction mode, such as PgBouncer,
        # each transaction may get another server connection, and names would meet those of other clients.
        driver: Any = engine.sync_engine.dialect.dbapi
        return driver.connect(async_creator_fn=connect, prepared_statement_cache_size=0)

    engine = create_async_engine(
        "postgresql+asyncpg://",
        creator=adapted,
        pool_pre_ping=True,
        isolation_level="READ COMMITTED",  # whatever the database's default: see what others committed
        json_deserializer=str,  # JSON is read as text, as from SQLite
        **POOL,
    )
    return engine


def _sqlite_engine(file: Path) -> AsyncEngine:
    if not file.parent.is_dir():
        raise StoreConfigurationError(
            f"store sqlite:///{file}: there is no directory {file.parent}: create it"
        )
    _check_file(file)
    address = URL.create("sqlite+aiosqlite", database=str(file.absolute()))
    engine = create_async_engine(address, connect_args=_SQLITE, **POOL)
    _listen(engine.sync_engine)
    return engine


def _sqlite_writer(file: Path) -> Engine:
    """Create an engine for transactions that run in a thread, one at a time."""
    address = URL.create("sqlite", database=str(file.absolute()))
    engine = create_sync_engine(address, connect_args=_SQLITE | _STATEMENTS, **(POOL | {"pool_size": 1}))
    _listen(engine)
    return engine.execution_options(sqlite_begin="BEGIN IMMEDIATE")


def _listen(engine: Engine) -> None:
    event.listen(engine, "connect", _set_up_sqlite)
    event.listen(engine, "begin", _begin_sqlite)
    event.listen(engine, "invalidate", _end_sqlite)
    event.listen(engine, "handle_error", _release_after_error)


def _check_file(file: Path) -> None:
    """Check that the file can be opened and is a database, before a thread of the driver fails on it."""
    with (
        translating_errors(f"sqlite:///{file}"),
        closing(sqlite3.connect(file, timeout=0)) as connection,
        ignoring_busy(),
    ):
        connection.execute("PRAGMA schema_version")


@contextmanager
def ignoring_busy() -> Iterator[None]:
    """Ignore the error that another process is busy with the same SQLite file."""
    try:
        yield
    except sqlite3.OperationalError as error:
        if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY:  # the higher bytes: the kind of busy
            raise
        release_cursors(error)


def _set_up_sqlite(connection: DBAPIConnection, record: Any) -> None:
    cursor = connection.cursor()
    cursor.execute("PRAGMA foreign_keys = ON")
    with ignoring_busy():  # the busy timeout does not apply here; another process is switching the mode
        cursor.execute("PRAGMA journal_mode = WAL")
    cursor.close()


def _begin_sqlite(connection: Connection) -> None:
    connection.exec_driver_sql(connection.get_execution_options().get("sqlite_begin", "BEGIN"))


def _end_sqlite(connection: DBAPIConnection, record: Any, error: BaseException | None) -> None:
    # A cancelled statement leaves a cursor in its traceback. While that cursor exists, closing the connection
    # does not end its transaction: the file would stay locked.
    connection.rollback()


def _release_after_error(context: ExceptionContext) -> None:
    release_cursors(context.original_exception)


def parse_url(url: str) -> URL:
    """Parse a store's URL. Raises StoreConfigurationError, without quoting the URL, if it names no store."""
    # No message below quotes a URL that could not be parsed, and none is chained to the parser's own
    # error: a password may be anywhere in it.
    try:
        parsed = make_url(url)
    except (ArgumentError, ValueError):
        raise StoreConfigurationError(f"the store's URL cannot be parsed: {EXAMPLES}") from None
    if parsed.drivername == "sqlite" and "?" in url:  # the parser drops what follows it in silence
        raise StoreConfigurationError(
            "the store's URL contains more than the path of a SQLite store: remove the '?' and what follows "
            "it; a path that contains '?' cannot be used"
        )
    if "+" in parsed.drivername:
        raise StoreConfigurationError(
            f"the store's URL names the driver {parsed.drivername}, but must not name a driver: {EXAMPLES}"
        )
    if parsed.drivername == "sqlite":
        return _check_sqlite(parsed)
    if parsed.drivername in ("postgresql", "postgres"):
        return _check_postgresql(parsed, options=url.rpartition("@")[2].partition("?")[2])
    raise StoreConfigurationError(
        f"the store's URL has the unsupported scheme {parsed.drivername}: {EXAMPLES}"
    )


def _check_sqlite(url: URL) -> URL:
    if url.host or url.username or url.password:
        raise StoreConfigurationError(
            "the store's URL contains more than the path of a SQLite store: write sqlite:///file.db, "
            "or sqlite:////absolute/file.db, with three slashes before the path"
        )
    if not url.database or url.database == ":memory:" or url.database.startswith("file:"):
        raise StoreConfigurationError("a SQLite store is a file: write sqlite:///file.db")
    return url


def _check_postgresql(url: URL, options: str) -> URL:
    if "@" in (url.host or ""):
        raise StoreConfigurationError(
            "the store's URL contains more than one '@': write '@' in a password as %40, and '/' as %2F"
        )
    if any(not option.partition("=")[2] for option in options.split("&") if option):
        raise StoreConfigurationError(
            "an option in the store's URL has no value, and would be ignored: give it one, or remove it"
        )
    if url.query.get("prepared_statements") == "off":  # none has a name, so it is always off
        url = url.difference_update_query(["prepared_statements"])
    return url.set(drivername="postgresql")


def _display_url(url: URL) -> str:
    """Return the URL without its password, and without its options, which may contain one."""
    text = url.set(query={}).render_as_string(hide_password=True)
    return f"{text}?host={url.query['host']}" if "host" in url.query else text

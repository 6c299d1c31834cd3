"""Translation of database errors: change a setting, or wait and run again."""

from __future__ import annotations

import socket
import sqlite3
import ssl
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from traceback import clear_frames

from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from sku_velocity.errors import StoreConfigurationError, StoreUnavailableError, VelocityError

Diagnosis = tuple[type[VelocityError], str]

_UNAVAILABLE: Diagnosis = (StoreUnavailableError, "check that the database is up, then run again")
_LOCKED: Diagnosis = (StoreUnavailableError, "another process is writing: run again when it has finished")
_FULL: Diagnosis = (StoreUnavailableError, "free space on its disk, then run again")
_DISK_ERROR: Diagnosis = (
    StoreUnavailableError,
    "check that its disk works and has free space, then run again",
)
_NO_HOST: Diagnosis = (StoreConfigurationError, "correct the host in the store's URL")
_NO_RIGHTS: Diagnosis = (
    StoreConfigurationError,
    "grant the user the rights to read, write and create tables in it",
)
_NO_ACCESS: Diagnosis = (
    StoreConfigurationError,
    "check the path and the permissions of the file and its directory",
)
_NOT_A_DATABASE: Diagnosis = (StoreConfigurationError, "use another path, or restore the file from a backup")
_NO_TLS: Diagnosis = (StoreConfigurationError, "correct the TLS options in the store's URL")

_BY_SQLITE_CODE: dict[int, Diagnosis] = {
    sqlite3.SQLITE_BUSY: _LOCKED,
    sqlite3.SQLITE_LOCKED: _LOCKED,
    sqlite3.SQLITE_PROTOCOL: _LOCKED,
    sqlite3.SQLITE_FULL: _FULL,
    sqlite3.SQLITE_IOERR: _DISK_ERROR,
    sqlite3.SQLITE_READONLY: _NO_ACCESS,
    sqlite3.SQLITE_CANTOPEN: _NO_ACCESS,
    sqlite3.SQLITE_PERM: _NO_ACCESS,
    sqlite3.SQLITE_NOTADB: _NOT_A_DATABASE,
    sqlite3.SQLITE_CORRUPT: _NOT_A_DATABASE,
}

# SQLSTATEs or their prefixes; the longest match applies.
# https://www.postgresql.org/docs/current/errcodes-appendix.html
_BY_SQLSTATE: dict[str, Diagnosis] = {
    "08": _UNAVAILABLE,
    "28": (StoreConfigurationError, "correct the user or the password in the store's URL"),
    "3D": (StoreConfigurationError, "create the database, or correct its name in the store's URL"),
    "3F": _NO_RIGHTS,
    "42501": _NO_RIGHTS,
    "25P03": _UNAVAILABLE,
    "25006": (StoreConfigurationError, "use the address of a server that accepts writes"),
    "40": _LOCKED,
    "55P03": _LOCKED,
    "53": _UNAVAILABLE,
    "53100": _FULL,
    "57": _UNAVAILABLE,
    "58": _UNAVAILABLE,
}


@contextmanager
def translating_errors(url: str) -> Iterator[None]:
    """Raise StoreUnavailableError or StoreConfigurationError in place of a driver's error about its database.

    `url` is the store's URL without secrets. An error of our own, such as a violated constraint, passes
    unchanged.
    """
    try:
        yield
    except database_errors() as error:
        release_cursors(error)
        _translate(url, error)
        raise


def database_errors() -> tuple[type[Exception], ...]:
    """Return all errors of a database. asyncpg raises its own unwrapped if rows are copied or streamed."""
    asyncpg = sys.modules.get("asyncpg")
    own = (asyncpg.PostgresError, asyncpg.InterfaceError) if asyncpg else ()
    return (DBAPIError, PoolTimeoutError, OSError, sqlite3.Error, *own)


def release_cursors(error: BaseException) -> None:
    """Release the SQLite cursors that the tracebacks of an error and of its causes refer to.

    Otherwise Python's garbage collector frees them later in the event loop's thread, which takes the
    connection's mutex. If that connection is then waiting for another writer on the same loop, the loop waits
    for the mutex and the writer for the loop: a deadlock. Frames that still run are not touched.
    """
    link: BaseException | None = error
    while link is not None:
        clear_frames(link.__traceback__)
        link = link.__cause__ or link.__context__


def _translate(url: str, error: BaseException) -> None:
    cause, is_disconnected = error, False
    if isinstance(error, DBAPIError) and error.orig:
        cause = error.orig.__cause__ or error.orig  # SQLAlchemy's error wraps asyncpg's own
        is_disconnected = error.connection_invalidated
    if diagnosis := _UNAVAILABLE if is_disconnected else _diagnose(cause):
        kind, advice = diagnosis
        raise kind(f"store {url}: {_first_line(cause)}: {advice}") from error


def _diagnose(error: BaseException) -> Diagnosis | None:
    if code := getattr(error, "sqlite_errorcode", None):
        return _BY_SQLITE_CODE.get(code & 0xFF)  # the low byte is the primary code
    if state := getattr(error, "sqlstate", None):
        return next((_BY_SQLSTATE[state[:n]] for n in (5, 2) if state[:n] in _BY_SQLSTATE), None)
    if isinstance(error, OSError):
        return _diagnose_network(error)
    if isinstance(error, PoolTimeoutError) or "closed" in str(error):
        return _UNAVAILABLE
    return None


def _diagnose_network(error: OSError) -> Diagnosis:
    if isinstance(error, ssl.SSLError) or "rejected SSL" in str(error):
        return _NO_TLS
    if isinstance(error, socket.gaierror):
        return _UNAVAILABLE if error.errno == socket.EAI_AGAIN else _NO_HOST
    if isinstance(error, PermissionError):
        return _NO_RIGHTS
    return _UNAVAILABLE


def _first_line(error: BaseException) -> str:
    lines = str(error).splitlines()
    return lines[0].strip() if lines else type(error).__name__

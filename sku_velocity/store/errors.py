"""What a database's refusal means: change a setting, or wait and run again."""

from __future__ import annotations

import socket
import sqlite3
import ssl
from collections.abc import Iterator
from contextlib import contextmanager

import asyncpg
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from sku_velocity.errors import StoreConfigurationError, StoreUnavailableError, VelocityError

_ASYNCPG_ERRORS = (asyncpg.PostgresError, asyncpg.InterfaceError)  # which COPY raises unwrapped
Verdict = tuple[type[VelocityError], str]

_AWAY: Verdict = (StoreUnavailableError, "see that the database is up, then run again")
_LOCKED: Verdict = (StoreUnavailableError, "another process is writing: run again when it has finished")
_FULL: Verdict = (StoreUnavailableError, "make room on its disk, then run again")
_ILL_DISK: Verdict = (StoreUnavailableError, "see that its disk is well and has room, then run again")
_NO_HOST: Verdict = (StoreConfigurationError, "correct the host in the store's URL")
_NO_RIGHTS: Verdict = (StoreConfigurationError, "grant the rights to read, write and create tables in it")
_NO_FILE: Verdict = (StoreConfigurationError, "check the path, and the rights on the file and its directory")
_NOT_OURS: Verdict = (StoreConfigurationError, "give another path, or restore the file from a backup")
_NO_TLS: Verdict = (StoreConfigurationError, "correct the TLS options in the store's URL")

_BY_SQLITE_CODE: dict[int, Verdict] = {
    sqlite3.SQLITE_BUSY: _LOCKED,
    sqlite3.SQLITE_LOCKED: _LOCKED,
    sqlite3.SQLITE_PROTOCOL: _LOCKED,
    sqlite3.SQLITE_FULL: _FULL,
    sqlite3.SQLITE_IOERR: _ILL_DISK,
    sqlite3.SQLITE_READONLY: _NO_FILE,
    sqlite3.SQLITE_CANTOPEN: _NO_FILE,
    sqlite3.SQLITE_PERM: _NO_FILE,
    sqlite3.SQLITE_NOTADB: _NOT_OURS,
    sqlite3.SQLITE_CORRUPT: _NOT_OURS,
}

# SQLSTATEs, or how they begin; the longest that fits counts.
# https://www.postgresql.org/docs/current/errcodes-appendix.html
_BY_SQLSTATE: dict[str, Verdict] = {
    "08": _AWAY,
    "28": (StoreConfigurationError, "correct the user or the password in the store's URL"),
    "3D": (StoreConfigurationError, "create the database, or correct its name in the store's URL"),
    "3F": _NO_RIGHTS,
    "42501": _NO_RIGHTS,
    "25006": (StoreConfigurationError, "give the address of a server that can be written to"),
    "40": _LOCKED,
    "55P03": _LOCKED,
    "53": _AWAY,
    "53100": _FULL,
    "57": _AWAY,
    "58": _AWAY,
}


@contextmanager
def explaining(where: str) -> Iterator[None]:
    """Raise StoreUnavailableError or StoreConfigurationError for what a driver raises about its database.

    `where` is the store's URL, fit to be read by everyone. A fault of our own, such as a violated
    constraint, passes unchanged.
    """
    try:
        yield
    except (DBAPIError, PoolTimeoutError, OSError, sqlite3.Error, *_ASYNCPG_ERRORS) as error:
        _explain(where, error)
        raise


def _explain(where: str, error: BaseException) -> None:
    cause, gone = error, False
    if isinstance(error, DBAPIError) and error.orig:
        cause = error.orig.__cause__ or error.orig  # asyncpg's own error stands behind SQLAlchemy's
        gone = error.connection_invalidated
    if verdict := _AWAY if gone else _judge(cause):
        kind, advice = verdict
        raise kind(f"store {where}: {_first_line(cause)}: {advice}") from error


def _judge(error: BaseException) -> Verdict | None:
    if code := getattr(error, "sqlite_errorcode", None):
        return _BY_SQLITE_CODE.get(code & 0xFF)  # the low byte is the primary code
    if state := getattr(error, "sqlstate", None):
        return next((_BY_SQLSTATE[state[:n]] for n in (5, 2) if state[:n] in _BY_SQLSTATE), None)
    if isinstance(error, OSError):
        return _judge_network(error)
    if isinstance(error, PoolTimeoutError) or "closed" in str(error):
        return _AWAY
    return None


def _judge_network(error: OSError) -> Verdict:
    if isinstance(error, ssl.SSLError) or "rejected SSL" in str(error):
        return _NO_TLS
    if isinstance(error, socket.gaierror):
        return _AWAY if error.errno == socket.EAI_AGAIN else _NO_HOST
    if isinstance(error, PermissionError):
        return _NO_RIGHTS
    return _AWAY


def _first_line(error: BaseException) -> str:
    lines = str(error).splitlines()
    return lines[0].strip() if lines else type(error).__name__

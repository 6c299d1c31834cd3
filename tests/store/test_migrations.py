"""The store's schema: created on first use, equal to the tables, and checked against the program."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import Connection, inspect, text

from sku_velocity.errors import StoreConfigurationError
from sku_velocity.store import Store, migrate
from sku_velocity.store.database import Database
from sku_velocity.store.schema import VERSION_TABLE, check_version, known_versions
from sku_velocity.store.tables import metadata

pytestmark = pytest.mark.anyio

TABLES = {*metadata.tables, VERSION_TABLE}


async def inspect_store(url: str, query: Any) -> Any:
    database = Database(url)
    async with database.writing() as connection:
        result = await connection.run_sync(query)
    await database.close()
    return result


def table_names(connection: Connection) -> set[str]:
    return set(inspect(connection).get_table_names())


def differences(connection: Connection) -> list[Any]:
    def exists_here(_: Any, name: str | None, *found: Any) -> bool:
        return name != "ix_movements_timestamp_utc" or connection.dialect.name == "postgresql"

    options = {"version_table": VERSION_TABLE, "compare_type": True, "include_object": exists_here}
    return list(compare_metadata(MigrationContext.configure(connection, opts=options), metadata))


async def test_opening_an_empty_store_creates_its_tables(empty_url: str) -> None:
    async with Store.open(empty_url):
        pass
    assert await inspect_store(empty_url, table_names) == TABLES


async def test_the_migrated_schema_equals_the_tables(empty_url: str) -> None:
    assert await migrate(empty_url) == known_versions()[-1]
    assert await inspect_store(empty_url, differences) == []


async def test_the_migrated_tables_have_all_checks(empty_url: str) -> None:
    def checks(connection: Connection) -> set[Any]:
        found = inspect(connection)
        return {check["name"] for name in TABLES for check in found.get_check_constraints(name)}

    await migrate(empty_url)
    assert await inspect_store(empty_url, checks) == {"ck_movements_units_moved", "ck_published_ranges_range"}


async def test_sqlite_stores_movements_in_key_order(sqlite_url: str) -> None:
    def definition(connection: Connection) -> str:
        sql = "SELECT sql FROM sqlite_master WHERE name = 'movements'"
        return str(connection.execute(text(sql)).scalar_one())

    await migrate(sqlite_url)
    assert "WITHOUT ROWID" in await inspect_store(sqlite_url, definition)


async def test_a_migration_to_the_same_revision_changes_nothing(empty_url: str) -> None:
    first = await migrate(empty_url)
    assert await migrate(empty_url) == first
    assert await inspect_store(empty_url, table_names) == TABLES


async def test_several_clients_can_open_an_empty_store_at_once(empty_url: str) -> None:
    async def find_nothing() -> None:
        async with Store.open(empty_url) as store:
            assert await store.runs.find("nobody") is None

    await asyncio.gather(*(find_nothing() for _ in range(6)))
    assert await inspect_store(empty_url, table_names) == TABLES


async def test_a_failed_migration_leaves_nothing_behind(empty_url: str) -> None:
    def take_a_name(connection: Connection) -> None:
        connection.execute(text("CREATE TABLE published_ranges (a INTEGER)"))

    await inspect_store(empty_url, take_a_name)
    with pytest.raises(Exception, match="published_ranges"):
        await migrate(empty_url)
    assert await inspect_store(empty_url, table_names) == {"published_ranges"}


async def test_another_programs_migrations_in_the_database_are_left_alone(empty_url: str) -> None:
    def migrate_another(connection: Connection) -> None:
        connection.execute(text("CREATE TABLE alembic_version (version_num TEXT)"))
        connection.execute(text("INSERT INTO alembic_version VALUES ('theirs')"))

    await inspect_store(empty_url, migrate_another)
    async with Store.open(empty_url) as store:
        assert await store.chunks.of("nobody") == []


async def test_a_newer_schema_error_says_to_update_the_program(empty_url: str) -> None:
    def set_newer_version(connection: Connection) -> None:
        connection.execute(text(f"UPDATE {VERSION_TABLE} SET version_num = '9999'"))

    await migrate(empty_url)
    await inspect_store(empty_url, set_newer_version)
    with pytest.raises(StoreConfigurationError, match="9999.*update sku-velocity"):
        async with Store.open(empty_url):
            pass
    with pytest.raises(StoreConfigurationError, match="update sku-velocity"):
        await migrate(empty_url)


def test_an_older_schema_error_names_the_migrate_command() -> None:
    with pytest.raises(StoreConfigurationError) as caught:
        check_version("0001", ["0001", "0002"], "sqlite:///a.db")
    assert "sku-velocity migrate --store sqlite:///a.db" in str(caught.value)

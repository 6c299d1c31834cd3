"""The store's schema version: read, checked and migrated."""

from __future__ import annotations

import re
from collections.abc import Sequence
from importlib.resources import files

from sqlalchemy import Column, Connection, MetaData, Table, Text, insert, inspect, select

from sku_velocity.errors import StoreConfigurationError
from sku_velocity.store.database import Database, lock
from sku_velocity.store.tables import metadata
from sku_velocity.store.views import views

VERSION_TABLE = "sku_velocity_schema"  # not Alembic's default: the database may hold another program's tables
_version = Table(VERSION_TABLE, MetaData(), Column("version_num", Text, primary_key=True))  # as Alembic's
_MIGRATION = re.compile(r"v(\d{4})_\w+\.py")


async def prepare(database: Database) -> None:
    """Create the schema of an empty store, and check that any other has this program's schema.

    Raises StoreConfigurationError, with what to do, if its schema is older or newer.
    """
    async with database.reading() as connection:
        current = await connection.run_sync(read_version)
    if current is None:
        await upgrade(database)
    else:
        check_version(current, known_versions(), database.display_url)


async def upgrade(database: Database) -> str:
    """Bring the store to the newest schema. Return its revision. Concurrent migrations run one by one.

    Raises StoreConfigurationError if the store's schema is newer than this program.
    """
    known = known_versions()
    async with database.writing() as connection:
        await lock(connection, "schema")
        current = await connection.run_sync(read_version)
        if current is not None and current not in known:
            raise _newer(current, database.display_url)
        await connection.run_sync(_create if current is None else _run_migrations)
    return known[-1]


def check_version(current: str, known: Sequence[str], url: str) -> None:
    """Check that a store's revision is the last of those known (oldest first). Raises as `prepare` does."""
    if current not in known:
        raise _newer(current, url)
    if current != known[-1]:
        raise StoreConfigurationError(
            f"store {url}: its schema is {current}, this program needs {known[-1]}: "
            f"run `sku-velocity migrate --store {url}`"
        )


def read_version(connection: Connection) -> str | None:
    """Return the store's revision, or None if it is empty."""
    if not inspect(connection).has_table(VERSION_TABLE):
        return None
    return connection.execute(select(_version.c.version_num)).scalar_one_or_none()


def known_versions() -> list[str]:
    """Return the revisions of this program's migrations, oldest first: each file's name has its number."""
    versions = files("sku_velocity.store.migrations") / "versions"
    found = (_MIGRATION.fullmatch(file.name) for file in versions.iterdir())
    return sorted(name[1] for name in found if name)


def _newer(current: str, url: str) -> StoreConfigurationError:
    return StoreConfigurationError(
        f"store {url}: its schema is {current}, newer than this program: update sku-velocity"
    )


def _create(connection: Connection) -> None:
    """Create the newest schema: the tables, the views, and the revision that later migrations start from."""
    metadata.create_all(connection, checkfirst=False)
    for view in views(connection.dialect.name):
        connection.exec_driver_sql(view)
    _version.create(connection)
    connection.execute(insert(_version).values(version_num=known_versions()[-1]))


def _run_migrations(connection: Connection) -> None:
    # Imported here: the import is slow, and a store is opened far more often than migrated.
    from alembic import command
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", "sku_velocity.store:migrations")
    config.attributes["connection"] = connection
    command.upgrade(config, "head")

"""The store's schema version: read, checked and brought up to date."""

from __future__ import annotations

import re
from collections.abc import Sequence
from importlib.resources import files

from sqlalchemy import Column, Connection, MetaData, Table, Text, inspect, select

from sku_velocity.errors import StoreConfigurationError
from sku_velocity.store.database import Database, lock

VERSION_TABLE = "sku_velocity_schema"  # a name of its own: the database may hold another program's tables
_version = Table(VERSION_TABLE, MetaData(), Column("version_num", Text))  # as Alembic makes it
_MIGRATION = re.compile(r"v(\d{4})_\w+\.py")


async def prepare(database: Database) -> None:
    """Migrate an empty store, and see that any other has this program's schema.

    Raises StoreConfigurationError, saying what to do, where its schema is older or newer.
    """
    async with database.reading() as connection:
        current = await connection.run_sync(read_version)
    if current is None:
        await upgrade(database)
    else:
        check_version(current, known_versions(), database.where)


async def upgrade(database: Database) -> str:
    """Bring the store to the newest schema, and give its revision. Two at once are one after the other.

    Raises StoreConfigurationError where the store's schema is newer than this program.
    """
    known = known_versions()
    async with database.writing() as connection:
        await lock(connection, "schema")
        current = await connection.run_sync(read_version)
        if current is not None and current not in known:
            raise _newer(current, database.where)
        await connection.run_sync(_run_migrations)
    return known[-1]


def check_version(current: str, known: Sequence[str], where: str) -> None:
    """See that a store's revision is the last of those known (oldest first). Raises as `prepare` does."""
    if current not in known:
        raise _newer(current, where)
    if current != known[-1]:
        raise StoreConfigurationError(
            f"store {where}: its schema is {current}, this program needs {known[-1]}: "
            f"run `python -m flows migrate --store {where}`"
        )


def read_version(connection: Connection) -> str | None:
    """The store's revision, or None where it is empty."""
    if not inspect(connection).has_table(VERSION_TABLE):
        return None
    return connection.execute(select(_version.c.version_num)).scalar_one_or_none()


def known_versions() -> list[str]:
    """The revisions that this program can make, oldest first: each has a file that bears its number."""
    versions = files("sku_velocity.store.migrations") / "versions"
    found = (_MIGRATION.fullmatch(file.name) for file in versions.iterdir())
    return sorted(name[1] for name in found if name)


def _newer(current: str, where: str) -> StoreConfigurationError:
    return StoreConfigurationError(
        f"store {where}: its schema is {current}, which this program does not know: "
        "a newer one has migrated it: update sku-velocity"
    )


def _run_migrations(connection: Connection) -> None:
    # Only here: it is a long import, and a store is opened far more often than migrated.
    from alembic import command
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", "sku_velocity.store:migrations")
    config.attributes["connection"] = connection
    command.upgrade(config, "head")

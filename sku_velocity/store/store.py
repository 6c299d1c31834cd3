"""The store: what it is opened by, and its repositories."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Self

from sku_velocity.store import schema
from sku_velocity.store.activity import Activities
from sku_velocity.store.archive import Archive
from sku_velocity.store.chunks import Chunks
from sku_velocity.store.database import Database
from sku_velocity.store.dead_letters import DeadLetters
from sku_velocity.store.masters import Masters
from sku_velocity.store.paces import Paces
from sku_velocity.store.precedents import Precedents
from sku_velocity.store.pruning import Pruning
from sku_velocity.store.publications import Publications
from sku_velocity.store.pushes import Pushes
from sku_velocity.store.rechecks import Rechecks
from sku_velocity.store.replays import Replays
from sku_velocity.store.runs import Runs
from sku_velocity.store.sent_figures import SentFigures
from sku_velocity.store.size import Size
from sku_velocity.store.status import Status
from sku_velocity.store.velocity import Velocity


class Store:
    """The store of windows: written page by page, published once they are proven.

    A store belongs to the event loop that opened it. Each method of its repositories is one transaction, and
    raises StoreUnavailableError if the database is unavailable, locked or full, and StoreConfigurationError
    if it cannot be used as configured or has no such run. No message contains a password.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self.runs = Runs(database)
        self.chunks = Chunks(database)
        self.publications = Publications(database)
        self.precedents = Precedents(database)
        self.masters = Masters(database)
        self.dead_letters = DeadLetters(database)
        self.replays = Replays(database)
        self.rechecks = Rechecks(database)
        self.pushes = Pushes(database)
        self.sent_figures = SentFigures(database)
        self.activity = Activities(database)
        self.velocity = Velocity(database)
        self.status = Status(database)
        self.size = Size(database)
        self.pruning = Pruning(database)
        self.archive = Archive(database)
        self.paces = Paces(database)

    def __repr__(self) -> str:
        return f"Store({self._database.display_url})"

    @classmethod
    @asynccontextmanager
    async def open(cls, url: str) -> AsyncIterator[Self]:
        """Open the store at `sqlite:///file.db` or `postgresql://user:password@host/database`.

        Creates the tables of an empty store. Raises StoreConfigurationError, with what to do, if its schema
        is older or newer than this program's.
        """
        database = Database(url)
        try:
            await schema.prepare(database)
            yield cls(database)
        finally:
            await database.close()


async def migrate(url: str) -> str:
    """Migrate the store at this URL to the newest schema. Return its revision.

    Raises what `Store.open` raises, except for an older schema.
    """
    database = Database(url)
    try:
        return await schema.upgrade(database)
    finally:
        await database.close()

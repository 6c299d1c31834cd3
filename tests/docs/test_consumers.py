"""docs/consumers.md: what it shows keeps a copy equal to what is published."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import duckdb
import jinja2
import pytest
from sqlalchemy import text

from sku_velocity.model.chunk import Chunk, Page
from sku_velocity.model.run import SyncRun
from sku_velocity.output.schemas import MOVEMENTS
from sku_velocity.store import Store
from sku_velocity.store.database import Database
from tests.support.archived import archive
from tests.support.checkout import CHECKOUT
from tests.support.store_rows import _ids, a_page, a_row, hour, hours, query

pytestmark = pytest.mark.anyio

PAGE = (CHECKOUT / "docs" / "consumers.md").read_text()
LIST, DELETE, INSERT = re.findall(r"```sql\n(.*?);\n```", PAGE, flags=re.DOTALL)
(DBT,) = re.findall(r"```jinja\n(.*?)```", PAGE, flags=re.DOTALL)
DUCKDB, FROM_ARCHIVE = re.findall(r"```duckdb\n(.*?)```", PAGE, flags=re.DOTALL)
_DUCKDB = {"string": "VARCHAR", "int64": "BIGINT", "timestamp[us, tz=UTC]": "TIMESTAMPTZ"}
# Windows, each with the hours that it has a row at: first ones, a revision, an empty one, a cut.
HISTORY: list[tuple[tuple[int, int], list[int]]] = [
    ((0, 4), [0, 1, 2, 3]),
    ((4, 8), [4, 5]),
    ((0, 4), [0, 2]),
    ((4, 8), []),
    ((1, 3), [1, 2]),
    ((0, 8), [7]),
]


async def publish(store: Store, window: tuple[int, int], at: Sequence[int]) -> None:
    run = SyncRun(next(_ids), "acme", "WH-01", hours(*window), len(at))
    size = max(len(at), 1)
    await store.runs.begin(run, [Chunk(0, 0, size, size)])
    rows = [a_row(place, hour(number)) for place, number in enumerate(at)]
    await store.chunks.land_page(run.id, 0, a_page(Page(0, size), rows))
    await store.publications.publish(run.id, "{}")


async def execute(database: Database, *statements: str, **values: Any) -> None:
    async with database.writing() as connection:
        for statement in statements:
            await connection.execute(text(statement), values)


async def content(database: Database, table: str) -> Counter[Any]:
    columns = "warehouse_id, run_id, position, timestamp_utc, units_moved"
    return Counter(map(tuple, await query(database, f"SELECT {columns} FROM {table}")))


async def archive_windows(store: Store, url: str, database: Database, out: Path) -> Counter[Any]:
    """Archive what is published, and publish one more window. Return what a copy must have."""
    before = await content(database, "published_movements")
    assert await archive(store, url, out, hour(8)) > 0
    assert not await content(database, "published_movements")
    await publish(store, (8, 12), [9, 10])
    return before + await content(database, "published_movements")


async def test_the_statements_follow_what_is_published(
    store: Store, store_url: str, database: Database, tmp_path: Path
) -> None:
    await execute(database, "CREATE TABLE copied_movements AS SELECT * FROM published_movements WHERE 1 = 0")

    async def follow(since: int) -> int:
        for found in await query(database, LIST, since=since):
            since = found.publication
            await execute(database, DELETE, INSERT, **_named(found._mapping, DELETE + INSERT))
        return since

    since = 0
    for number, (window, at) in enumerate(HISTORY):
        await publish(store, window, at)
        if number % 2:  # several publications at once
            since = await follow(since)
            published = await content(database, "published_movements")
            assert await content(database, "copied_movements") == published
    kept = await archive_windows(store, store_url, database, tmp_path / "out")
    await follow(since)
    assert await content(database, "copied_movements") == kept


async def test_a_new_consumer_adds_the_archive(
    store: Store, store_url: str, database: Database, tmp_path: Path
) -> None:
    for window, at in HISTORY:
        await publish(store, window, at)
    kept = await archive_windows(store, store_url, database, tmp_path / "out")
    copy = duckdb.connect()
    copy.execute("CREATE SCHEMA store")
    copy.execute("CREATE TABLE store.published_windows (publication BIGINT, state VARCHAR)")
    for row in await query(database, "SELECT publication, state FROM published_windows"):
        copy.execute("INSERT INTO store.published_windows VALUES (?, ?)", list(row))
    kinds = ", ".join(f"{field.name} {_DUCKDB[str(field.type)]}" for field in MOVEMENTS)
    copy.execute(f"CREATE TABLE copied_movements (source VARCHAR, {kinds})")
    copy.execute(FROM_ARCHIVE.replace("/srv/archive", str(tmp_path / "out")))
    found = copy.execute("SELECT warehouse_id, run_id, position, units_moved FROM copied_movements")
    visible = Counter(
        row[:3] + row[4:] for row in (await content(database, "published_movements")).elements()
    )
    assert Counter(found.fetchall()) + visible == Counter(row[:3] + row[4:] for row in kept.elements())
    assert copy.execute("SELECT DISTINCT source FROM copied_movements").fetchall() == [("acme",)]


def _named(values: Any, statement: str) -> dict[str, Any]:
    return {name: value for name, value in values.items() if f":{name}" in statement}


@pytest.mark.parametrize("store_url", ["postgresql"], indirect=True)  # which understands it as well
async def test_the_duckdb_script_follows_too(
    store: Store, store_url: str, database: Database, tmp_path: Path
) -> None:
    statements = [each for each in re.sub(r"--.*|store\.", "", DUCKDB).split(";") if each.strip()]
    attach, *rest = [each for each in statements if each.strip() not in ("BEGIN", "COMMIT")]
    assert "ATTACH" in attach
    for window, at in HISTORY:
        await publish(store, window, at)
        await execute(database, *rest)
        assert await content(database, "copied_movements") == await content(database, "published_movements")
    kept = await archive_windows(store, store_url, database, tmp_path / "out")
    await execute(database, *rest)
    assert await content(database, "copied_movements") == kept


async def test_the_dbt_model_follows_too(
    store: Store, store_url: str, database: Database, tmp_path: Path
) -> None:
    """dbt itself deletes the rows with the keys of the new ones, and inserts those."""
    settings: dict[str, Any] = {}

    async def follow(is_first: bool) -> None:
        names = {"config": lambda **given: settings.update(given) or "", "this": "model"}
        sql = jinja2.Template(DBT).render(is_incremental=lambda: not is_first, **names)
        if is_first:
            await execute(database, f"CREATE TABLE model AS {sql}")
        else:
            key = " AND ".join(f"n.{name} = model.{name}" for name in settings["unique_key"])
            await execute(
                database,
                f"CREATE TEMP TABLE news AS {sql}",
                f"DELETE FROM model WHERE EXISTS (SELECT 1 FROM news n WHERE {key})",
                "INSERT INTO model SELECT * FROM news",
                "DROP TABLE news",
            )
        hook = jinja2.Template(settings["post_hook"]).render(this="model")
        await execute(database, hook.replace("{{ this }}", "model"))

    for number, (window, at) in enumerate(HISTORY):
        await publish(store, window, at)
        await follow(is_first=not number)
        assert await content(database, "model") == await content(database, "published_movements")
    kept = await archive_windows(store, store_url, database, tmp_path / "out")
    await follow(is_first=False)
    assert await content(database, "model") == kept

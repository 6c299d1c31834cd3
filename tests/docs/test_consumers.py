"""docs/consumers.md: what it shows keeps a copy equal to what is published."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from typing import Any

import jinja2
import pytest
from sqlalchemy import text

from sku_velocity.model.chunk import Chunk, Page
from sku_velocity.model.run import SyncRun
from sku_velocity.store import Store
from sku_velocity.store.database import Database
from tests.support.checkout import CHECKOUT
from tests.support.store_rows import _ids, a_page, a_row, hour, hours, query

pytestmark = pytest.mark.anyio

PAGE = (CHECKOUT / "docs" / "consumers.md").read_text()
LIST, DELETE, INSERT = re.findall(r"```sql\n(.*?);\n```", PAGE, flags=re.DOTALL)
(DBT,) = re.findall(r"```jinja\n(.*?)```", PAGE, flags=re.DOTALL)
(DUCKDB,) = re.findall(r"```duckdb\n(.*?)```", PAGE, flags=re.DOTALL)
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


async def test_the_statements_follow_what_is_published(store: Store, database: Database) -> None:
    await execute(database, "CREATE TABLE copied_movements AS SELECT * FROM published_movements WHERE 1 = 0")
    since = 0
    for number, (window, at) in enumerate(HISTORY):
        await publish(store, window, at)
        if number % 2:  # several publications at once
            for found in await query(database, LIST, since=since):
                since = found.publication
                await execute(database, DELETE, INSERT, **_named(found._mapping, DELETE + INSERT))
            published = await content(database, "published_movements")
            assert await content(database, "copied_movements") == published


def _named(values: Any, statement: str) -> dict[str, Any]:
    return {name: value for name, value in values.items() if f":{name}" in statement}


@pytest.mark.parametrize("store_url", ["postgresql"], indirect=True)  # which understands it as well
async def test_the_duckdb_script_follows_too(store: Store, database: Database) -> None:
    statements = [each for each in re.sub(r"--.*|store\.", "", DUCKDB).split(";") if each.strip()]
    attach, *rest = [each for each in statements if each.strip() not in ("BEGIN", "COMMIT")]
    assert "ATTACH" in attach
    for window, at in HISTORY:
        await publish(store, window, at)
        await execute(database, *rest)
        assert await content(database, "copied_movements") == await content(database, "published_movements")


async def test_the_dbt_model_follows_too(store: Store, database: Database) -> None:
    """dbt itself deletes the rows with the keys of the new ones, and inserts those."""
    settings: dict[str, Any] = {}
    sql, first = "", True
    for window, at in HISTORY:
        await publish(store, window, at)

        def is_incremental(first: bool = first) -> bool:
            return not first

        names = {"config": lambda **given: settings.update(given) or "", "this": "model"}
        sql = jinja2.Template(DBT).render(is_incremental=is_incremental, **names)
        if first:
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
        first = False
        assert await content(database, "model") == await content(database, "published_movements")

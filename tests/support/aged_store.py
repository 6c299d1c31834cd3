"""A store with runs and refreshes of any age, and all that a reader or an operator sees of it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from itertools import count
from typing import Any, Literal

from sqlalchemy import Date, Text, case, literal, select, text, update
from sqlalchemy.ext.asyncio import AsyncConnection

from sku_velocity.model.chunk import Chunk, Page, PageResult
from sku_velocity.model.movement import DeadLetter, ItemRow, MovementRow, Reason
from sku_velocity.model.run import NO_WAREHOUSE, MasterVersion, RunState, SyncRun
from sku_velocity.model.velocity import Refresh
from sku_velocity.model.window import Window
from sku_velocity.store import Store
from sku_velocity.store.database import Database
from sku_velocity.store.tables import UtcDateTime, metadata, sync_runs, velocity_figures
from sku_velocity.store.velocity import COLUMNS
from tests.support.published_store import table

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
MIDNIGHT = datetime(2026, 2, 1, tzinfo=UTC)
LETTER = DeadLetter(0, "{}", (Reason("sku_id", "must contain only A-Z"),))
SEEN = (
    "SELECT * FROM published_movements ORDER BY run_id, position",
    "SELECT * FROM published_windows ORDER BY publication",
    "SELECT * FROM published_items ORDER BY run_id, position",
    "SELECT * FROM published_aliases ORDER BY source, alias",
    "SELECT * FROM current_velocity ORDER BY source, warehouse_id, sku_id",
    "SELECT * FROM dead_letters WHERE state = 'open' AND run_key IN (SELECT run_key FROM published_ranges) "
    "ORDER BY run_key, stage, position",
)
DANGLING = (
    "SELECT run_id FROM sync_runs WHERE run_id LIKE 'pruned:%'",
    *(
        f"SELECT run_key FROM {each.name} WHERE run_key NOT IN (SELECT run_key FROM sync_runs)"
        for each in metadata.tables.values()
        if "run_key" in each.c and each is not sync_runs
    ),
    "SELECT as_of FROM sku_velocity v WHERE NOT EXISTS (SELECT 1 FROM velocity_refreshes r "
    "WHERE r.warehouse_id = v.warehouse_id AND r.as_of = v.as_of)",
)
AGED = {"sync_runs": ("created_at", "finished_at", "superseded_at"), "chunks": ("landed_at",)}
_ids = count()


@dataclass(frozen=True)
class Made:
    """A run to create: of a warehouse, or of the master if that is empty. `age` is in days."""

    ending: Literal["publish", "refuse", "leave"] = "publish"
    age: int = 0
    warehouse: str = "WH-01"
    hour: int = 0
    hours: int = 1
    rows: int = 2
    is_mapped: bool = False

    @property
    def window(self) -> Window:
        if self.warehouse == NO_WAREHOUSE:
            return Window.everything()
        start = MIDNIGHT + timedelta(hours=self.hour)
        return Window(start, start + timedelta(hours=self.hours))


async def make_run(store: Store, made: Made, master: str | None = None) -> str:
    """Create a run with its rows and a dead letter, ended as `made.ending` says. Return its id."""
    source = "acme" if made.warehouse else "erp"
    version = MasterVersion(source="erp", version=master) if master else None
    run = SyncRun(f"aged-{next(_ids)}", source, made.warehouse, made.window, made.rows, master=version)
    await store.runs.begin(run, [Chunk(0, 0, made.rows + 1, made.rows + 1)])
    await store.chunks.land_page(run.id, 0, _page(made))
    if made.ending == "publish":
        await store.publications.publish(run.id, "{}")
        if made.warehouse:
            await store.pushes.begin(run.id, 0, "slots")
    elif made.ending == "refuse":
        await store.runs.refuse(run.id, "{}")
    return run.id


def _page(made: Made) -> PageResult:
    rows, page = range(1, made.rows + 1), Page(0, made.rows + 1)
    if made.warehouse:
        at = made.window.start
        moved = [MovementRow(place, None, f"SKU-{place}", made.warehouse, place, at) for place in rows]
        return PageResult(page, made.rows + 1, moved, [LETTER])
    items = [ItemRow(place, f"SKU-{place}", "active", *[None] * 5, (f"sku {place}",)) for place in rows]
    return PageResult(page, made.rows + 1, [], [LETTER], items=items)


async def make_runs(store: Store, url: str, plan: list[Made], now: datetime = NOW) -> list[str]:
    """Create the runs in order, with their ages, those that are mapped with the master published so far."""
    ids, master = [], None
    for made in plan:
        ids.append(await make_run(store, made, master if made.is_mapped and made.warehouse else None))
        if made.ending == "publish" and not made.warehouse:
            master = ids[-1]
    async with writing(url) as connection:
        for id, made in zip(ids, plan, strict=True):
            await backdate(connection, id, now - timedelta(days=made.age))
    return ids


async def backdate(
    connection: AsyncConnection, run_id: str, at: datetime, aged: Mapping[str, Sequence[str]] = AGED
) -> None:
    """Set all timestamps of a run to one instant."""
    key = select(sync_runs.c.run_key).where(sync_runs.c.run_id == run_id).scalar_subquery()
    for name, columns in aged.items():
        made = metadata.tables[name].c
        # Timestamps that are not set stay so.
        values = {column: case((made[column].is_not(None), literal(at, UtcDateTime))) for column in columns}
        await connection.execute(update(metadata.tables[name]).where(made.run_key == key).values(values))


async def make_refresh(store: Store, warehouse: str, days: int, skus: int = 2) -> None:
    """Store a warehouse's velocity as of `days` ago."""
    as_of = NOW.date() - timedelta(days=days)
    whole = {7: 1.0, 28: 1.0, 91: 1.0}
    refresh = Refresh("acme", warehouse, as_of, "UTC", None, skus, skus, skus, whole, {}, [], {})
    await store.velocity.replace(refresh, [_figures(warehouse, as_of, f"SKU-{n}") for n in range(skus)])


def _figures(warehouse: str, as_of: date, sku: str) -> tuple[Any, ...]:
    named: dict[str, Any] = {"source": "acme", "warehouse_id": warehouse, "as_of": as_of, "sku_id": sku}
    named |= {"class_changed": False}
    by_type = {Text: "A", Date: as_of, UtcDateTime: NOW}
    others = {each.name: by_type.get(type(each.type), 0) for each in velocity_figures.columns}
    return tuple((others | named)[name] for name in COLUMNS)


@asynccontextmanager
async def writing(url: str) -> AsyncIterator[AsyncConnection]:
    """A transaction on the store's database that bypasses the store's rules."""
    database = Database(url)
    try:
        async with database.writing() as connection:
            yield connection
    finally:
        await database.close()


async def clear(url: str) -> None:
    """Delete everything in the store."""
    async with writing(url) as connection:
        for each in reversed(metadata.sorted_tables):
            await connection.execute(each.delete())


async def seen(url: str) -> list[list[tuple[Any, ...]]]:
    """Return what readers of the store see, and the dead letters of what they see."""
    return await _found(url, SEEN)


async def dangling(url: str) -> list[tuple[Any, ...]]:
    """Return rows without their run, and runs and refreshes that are only partly deleted."""
    return [row for rows in await _found(url, DANGLING) for row in rows]


async def _found(url: str, queries: Sequence[str]) -> list[list[tuple[Any, ...]]]:
    async with writing(url) as connection:
        return [[tuple(row) for row in await connection.execute(text(sql))] for sql in queries]


async def run_ids(url: str) -> set[str]:
    return {row[0] for row in await table(url, "SELECT run_id FROM sync_runs")}


async def masters_in_use(url: str) -> set[str]:
    """Return the master versions of runs that are published or can still be resumed."""
    in_use = f"SELECT master FROM sync_runs WHERE master IS NOT NULL AND state <> '{RunState.SUPERSEDED}'"
    return {MasterVersion.model_validate_json(row[0]).version for row in await table(url, in_use)}

"""The size of the store, and of how much time its movements are."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import BigInteger, ColumnElement, bindparam, case, extract, func, select, text, type_coerce
from sqlalchemy.ext.asyncio import AsyncConnection

from sku_velocity.model.run import NO_WAREHOUSE
from sku_velocity.model.status import GROWTH_DAYS, StoreSize
from sku_velocity.store.database import Repository
from sku_velocity.store.tables import UtcDateTime, metadata, published_ranges, sync_runs

MEASURED = 256 * 2**20  # bytes of a SQLite file up to which its tables are measured: that reads all of it
DAY = 86_400  # seconds
AHEAD = timedelta(days=1)  # a range that ends later is not limited by time

_FILE = text(
    "SELECT page_count * page_size, freelist_count * page_size "
    "FROM pragma_page_count, pragma_page_size, pragma_freelist_count"
)
_HAS_DBSTAT = text("SELECT count(*) FROM pragma_compile_options WHERE compile_options = 'ENABLE_DBSTAT_VTAB'")
_TABLES_OF_FILE = text(
    "SELECT m.tbl_name, sum(s.pgsize) FROM dbstat('main', 1) s JOIN sqlite_master m ON m.name = s.name "
    "WHERE m.tbl_name IN :tables GROUP BY m.tbl_name"
).bindparams(bindparam("tables", expanding=True))
_TABLES = text(
    "SELECT relname, pg_total_relation_size(oid) FROM pg_class "
    "WHERE relkind = 'r' AND relnamespace = current_schema()::regnamespace AND relname IN :tables"
).bindparams(bindparam("tables", expanding=True))


class Size(Repository):
    """The size of the store."""

    async def measure(self, now: datetime) -> StoreSize:
        """Measure the store.

        Cheap: PostgreSQL knows the sizes, and the tables of a large SQLite file are not measured.
        """
        names = {"tables": list(metadata.tables)}
        async with self.database.reading() as connection:
            held, recent = await _read_days(connection, now)
            if connection.dialect.name != "sqlite":
                tables = _largest_first(await connection.execute(_TABLES, names))
                return StoreSize(sum(tables.values()), None, tables, held, recent)
            size, free = (await connection.execute(_FILE)).one()
            if size > MEASURED or not (await connection.execute(_HAS_DBSTAT)).scalar_one():
                return StoreSize(size, free, None, held, recent)
            tables = _largest_first(await connection.execute(_TABLES_OF_FILE, names))
            return StoreSize(size, free, tables, held, recent)


def _largest_first(rows: Iterable[Any]) -> dict[str, int]:
    return dict(sorted(((row[0], row[1]) for row in rows), key=lambda each: -each[1]))


async def _read_days(connection: AsyncConnection, now: datetime) -> tuple[float, float]:
    """Return the days of warehouses whose movements the store holds: all of them, and those up to now."""
    ranges, since = published_ranges.c, now - timedelta(days=GROWTH_DAYS)
    start = case((ranges.range_start < since, since), else_=ranges.range_start)
    end = case((ranges.range_end > now, now), else_=ranges.range_end)
    is_recent = (ranges.range_end > since) & (ranges.range_start < now)
    dialect = connection.dialect.name
    held = func.sum(_seconds(dialect, ranges.range_start, ranges.range_end))
    recent = func.sum(case((is_recent, _seconds(dialect, start, end)), else_=0))
    found = (
        select(func.coalesce(held, 0), func.coalesce(recent, 0))
        .join(sync_runs)
        .where(
            ranges.warehouse_id != NO_WAREHOUSE,
            ranges.range_end <= now + AHEAD,
            sync_runs.c.archived_at.is_(None),
        )
    )
    seconds = (await connection.execute(found)).one()
    return float(seconds[0]) / DAY, float(seconds[1]) / DAY


def _seconds(
    dialect: str, start: ColumnElement[datetime], end: ColumnElement[datetime]
) -> ColumnElement[Any]:
    """Return an expression for the length of a stretch of time."""
    if dialect == "sqlite":
        return (type_coerce(end, BigInteger) - type_coerce(start, BigInteger)) / 1e6
    return extract("epoch", type_coerce(end, UtcDateTime) - type_coerce(start, UtcDateTime))

"""Velocity in the store: each refresh with a row per SKU, and the classes that the next compares with."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import UTC, date, datetime
from typing import Any

from sqlalchemy import delete, func, insert, select
from sqlalchemy.ext.asyncio import AsyncConnection

from sku_velocity.model.push import SkuFigures
from sku_velocity.model.velocity import EarlierClass, EarlierClasses, Refresh
from sku_velocity.model.velocity_fields import CLASSES, PENDING
from sku_velocity.model.window import iso
from sku_velocity.store.database import Repository, lock
from sku_velocity.store.tables import microseconds, velocity_figures, velocity_refreshes

COLUMNS = tuple(column.name for column in velocity_figures.columns)
_INSERT = f"INSERT INTO sku_velocity ({', '.join(COLUMNS)}) VALUES ({', '.join('?' * len(COLUMNS))})"


class Velocity(Repository):
    """The velocity of each warehouse's SKUs, by the refreshes of each day."""

    async def current(self, source: str, warehouse: str, names: Sequence[str]) -> list[SkuFigures]:
        """Return these figures of a warehouse's SKUs by its newest refresh."""
        refreshes, rows = velocity_refreshes.c, velocity_figures.c
        newest = (
            select(func.max(refreshes.as_of))
            .where(refreshes.source == source, refreshes.warehouse_id == warehouse)
            .scalar_subquery()
        )
        found = select(rows.sku_id, *(rows[name] for name in names)).where(
            rows.source == source, rows.warehouse_id == warehouse, rows.as_of == newest
        )
        async with self.database.reading() as connection:
            return [
                SkuFigures(warehouse, sku, dict(zip(names, map(_to_json, values), strict=True)))
                for sku, *values in await connection.execute(found)
            ]

    async def classes_before(self, source: str, warehouse: str, as_of: date) -> EarlierClasses | None:
        """Return each SKU's classes by the last refresh before `as_of`, or None if there is none."""
        refreshes, rows = velocity_refreshes.c, velocity_figures.c
        last = select(func.max(refreshes.as_of)).where(
            refreshes.source == source, refreshes.warehouse_id == warehouse, refreshes.as_of < as_of
        )
        async with self.database.reading() as connection:
            earlier = (await connection.execute(last)).scalar_one()
            if earlier is None:
                return None
            found = await connection.execute(
                select(rows.sku_id, *(rows[name] for name in (*CLASSES, *PENDING))).where(
                    rows.source == source, rows.warehouse_id == warehouse, rows.as_of == earlier
                )
            )
            return EarlierClasses(earlier, {sku: EarlierClass(*classes) for sku, *classes in found})

    async def replace(self, refresh: Refresh, rows: Sequence[tuple[Any, ...]]) -> None:
        """Store a refresh, with rows as in `COLUMNS`, in place of an earlier one of the same day."""
        async with self.database.writing() as connection:
            await lock(connection, "velocity", refresh.source, refresh.warehouse)
            for table in (velocity_figures, velocity_refreshes):
                await connection.execute(
                    delete(table).where(
                        table.c.source == refresh.source,
                        table.c.warehouse_id == refresh.warehouse,
                        table.c.as_of == refresh.as_of,
                    )
                )
            await connection.execute(insert(velocity_refreshes), _values(refresh))
            if rows:
                await _insert_rows(connection, rows)


async def _insert_rows(connection: AsyncConnection, rows: Sequence[tuple[Any, ...]]) -> None:
    if connection.dialect.name == "postgresql":
        driver: Any = (await connection.get_raw_connection()).driver_connection
        await driver.copy_records_to_table("sku_velocity", records=rows, columns=COLUMNS)
    else:
        await connection.exec_driver_sql(_INSERT, [tuple(map(_to_sqlite, row)) for row in rows])


def _to_json(value: Any) -> Any:
    if isinstance(value, datetime):
        return iso(value)
    return value.isoformat() if isinstance(value, date) else value


def _to_sqlite(value: Any) -> Any:
    if isinstance(value, datetime):
        return microseconds(value)
    return value.isoformat() if isinstance(value, date) else value


def _values(refresh: Refresh) -> dict[str, Any]:
    incomplete = {day.isoformat(): share for day, share in refresh.incomplete_days.items()}
    return {
        "source": refresh.source,
        "warehouse_id": refresh.warehouse,
        "as_of": refresh.as_of,
        "time_zone": refresh.time_zone,
        "compared_with": refresh.compared_with,
        "skus": refresh.skus,
        "units": refresh.units,
        "lines": refresh.lines,
        **{f"completeness_{days}": share for days, share in refresh.completeness.items()},
        "incomplete_days": json.dumps(incomplete),
        "open_days": json.dumps([day.isoformat() for day in refresh.open_days]),
        "settings": json.dumps(dict(refresh.settings)),
        "master": refresh.master,
        "count_types": None if refresh.count_types is None else json.dumps(refresh.count_types),
        "refreshed_at": datetime.now(UTC),
    }

"""Reads the activity of a period from the stored days of a rollup."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from sqlalchemy import ColumnElement, func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from sku_velocity.model.activity import DailyColumns, LastYear
from sku_velocity.model.calendar import Period, covered_shares
from sku_velocity.model.window import Window
from sku_velocity.store.rollup_days import RollupKey
from sku_velocity.store.tables import rollup_days, rollups

if TYPE_CHECKING:  # a store that is only written to does not need it
    import pyarrow as pa

YEAR, NEXT = 364, 28  # days: the same weekdays a year ago, and the days after them
NEVER = -(2**63)  # in microseconds
COLUMN_TYPES = ("int64", "int32", "int64", "int32", "int32")  # codes, days, units, lines, orders

days = rollup_days.c


async def read_daily(connection: AsyncConnection, key: RollupKey, period: Period) -> DailyColumns:
    """Return the sums of a period by SKU and day, and each SKU's first and last movement."""
    import numpy as np

    from sku_velocity.store.rollup_content import DAY as CONTENT
    from sku_velocity.store.rollup_content import codes_in, numbers, unpack

    packed = (
        await connection.execute(select(rollups.c.first_movements).where(key.of(rollups)))
    ).scalar_one_or_none()
    if packed is None:
        return DailyColumns.empty()
    firsts = unpack(packed)  # of every SKU of the rollup
    rows = select(func.coalesce(func.sum(days.skus), 0)).where(key.of(rollup_days), in_period(period))
    size = (await connection.execute(rows)).scalar_one()
    columns = [np.empty(size, dtype=kind) for kind in COLUMN_TYPES]
    last, end = np.full(len(firsts), NEVER), 0
    async for index, table in _contents(connection, key, period, CONTENT.names):
        begin, end = end, end + len(table)
        codes = codes_in(table["sku_id"], firsts["sku_id"])
        last[codes] = np.maximum(last[codes], numbers(table["last"]))
        sums = (numbers(table[name]) for name in ("units", "lines", "orders"))
        for column, values in zip(columns, (codes, index, *sums), strict=True):
            column[begin:end] = values
    has_moved = last != NEVER
    place = np.cumsum(has_moved) - 1
    skus = np.asarray(firsts["sku_id"].filter(has_moved).to_pylist(), dtype=object)
    first = numbers(firsts["first"])[has_moved]
    return DailyColumns(skus, first, last[has_moved], place[columns[0]], *columns[1:])


async def read_hourly(connection: AsyncConnection, key: RollupKey, period: Period) -> dict[int, int]:
    """Return the units of each hour of a period that has any, by its index."""
    query = select(days.day, days.hourly).where(key.of(rollup_days), in_period(period))
    return {
        (row.day - period.first).days * 24 + int(hour): units
        for row in await connection.execute(query)
        for hour, units in json.loads(row.hourly).items()
    }


async def read_last_year(
    connection: AsyncConnection,
    key: RollupKey,
    period: Period,
    counted: Sequence[Window],
    daily: DailyColumns,
) -> LastYear | None:
    """Return the units of the same days a year ago, and of the days after them."""
    end = period.as_of - timedelta(days=YEAR)
    spans = Period(period.zone, end, period.days), Period(period.zone, end + timedelta(days=NEXT), NEXT)
    windows = [each for each in counted if each.start < spans[1].window.end]
    shares = [covered_shares(span, windows) for span in spans]
    if not any(shares[0]) or not any(shares[1]):
        return None
    same, following = [await _read_sums(connection, key, span, daily) for span in spans]
    return LastYear(same[0], following[0], same[1], following[1], shares[0], shares[1])


async def _read_sums(
    connection: AsyncConnection, key: RollupKey, span: Period, daily: DailyColumns
) -> tuple[Any, Any]:
    """Return the units of each SKU in a span, and the lines of each day."""
    import numpy as np
    import pyarrow as pa

    from sku_velocity.store.rollup_content import numbers

    units, lines = np.zeros(len(daily.skus), dtype=np.int64), np.zeros(span.days, dtype=np.int64)
    skus = pa.array(daily.skus, pa.string())
    async for index, table in _contents(connection, key, span, ("sku_id", "units", "lines")):
        lines[index] = numbers(table["lines"]).sum()
        places = pa.compute.index_in(table["sku_id"].combine_chunks(), value_set=skus)
        known = np.asarray(places.is_valid())
        units[np.asarray(places.drop_null())] += numbers(table["units"])[known]  # a SKU is once in a day
    return units, lines


async def _contents(
    connection: AsyncConnection, key: RollupKey, period: Period, names: Sequence[str]
) -> AsyncIterator[tuple[int, pa.Table]]:
    """Yield each stored day of a period, by its index, one at a time."""
    from sku_velocity.store.rollup_content import unpack

    query = select(days.day, days.content).where(key.of(rollup_days), in_period(period))
    async with connection.stream(query.order_by(days.day).execution_options(yield_per=1)) as result:
        async for row in result:
            yield (row.day - period.first).days, unpack(row.content, names)


def in_period(period: Period) -> ColumnElement[bool]:
    return days.day.between(period.first, period.as_of)

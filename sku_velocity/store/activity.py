"""What moved in a period, grouped by the database: by SKU and local day, and by local hour."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import Any

import asyncpg
from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Integer,
    Text,
    and_,
    cast,
    column,
    func,
    literal_column,
    or_,
    select,
    table,
    type_coerce,
)
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection

from sku_velocity.errors import VelocityError
from sku_velocity.model.activity import Activity, DailyColumns
from sku_velocity.model.calendar import DAY, HOUR, Period
from sku_velocity.model.run import NO_WAREHOUSE
from sku_velocity.model.window import Window
from sku_velocity.store.tables import UtcDateTime, as_instant, instant_text, published_ranges, sync_runs

PARTITION = 20_000  # rows that are taken from the database at a time

published = table(
    "published_movements",
    column("source", Text),
    column("warehouse_id", Text),
    column("sku_id", Text),
    column("units_moved", BigInteger),
    column("timestamp_utc", UtcDateTime),
    column("flow_run_id", Text),
)


async def read_warehouses(connection: AsyncConnection) -> list[tuple[str, str]]:
    """Each source and warehouse of which something is published, in order."""
    ranges = published_ranges.c
    of_warehouses = ranges.warehouse_id != NO_WAREHOUSE  # which is a master's
    pairs = select(ranges.source, ranges.warehouse_id).where(of_warehouses).distinct()
    rows = await connection.execute(pairs)
    return sorted((row.source, row.warehouse_id) for row in rows)


async def read_activity(connection: AsyncConnection, source: str, warehouse: str, period: Period) -> Activity:
    """What a warehouse moved in a period. Of the windows outside it not a row is read.

    Raises VelocityError where units add up to more than 64 bits hold.
    """
    ranges = published_ranges.c
    reaching = and_(
        ranges.source == source,
        ranges.warehouse_id == warehouse,
        ranges.range_start < period.window.end,
        ranges.range_end > period.window.start,
    )
    rows = await connection.execute(select(ranges.range_start, ranges.range_end).where(reaching))
    shown = [Window(row.range_start, row.range_end) for row in rows]
    runs = select(sync_runs.c.flow_run_id).join(published_ranges).where(reaching)
    moved = published.c
    movements = and_(
        moved.source == source,
        moved.warehouse_id == warehouse,
        moved.timestamp_utc >= period.window.start,
        moved.timestamp_utc < period.window.end,
        *(or_(moved.timestamp_utc < gap.start, moved.timestamp_utc >= gap.end) for gap in period.gaps),
        moved.flow_run_id.in_(runs),
    )
    with _explaining_overflow(source, warehouse):
        daily = await _read_daily(connection, period, movements)
        return Activity(daily, await _read_hourly(connection, period, movements), shown)


@contextmanager
def _explaining_overflow(source: str, warehouse: str) -> Iterator[None]:
    try:
        yield
    except (DBAPIError, asyncpg.DataError) as error:  # asyncpg's own where rows are streamed
        if any(words in str(error) for words in ("integer overflow", "bigint out of range")):
            raise VelocityError(
                f"the units of {warehouse} from {source} add up to more than 64 bits hold: "
                "look for movements of impossible units_moved, correct them in the source, and sync again"
            ) from error
        raise


async def _read_daily(
    connection: AsyncConnection, period: Period, movements: ColumnElement[bool]
) -> DailyColumns:
    moved, day = published.c, local_index(period, DAY).label("day")
    last = type_coerce(func.max(moved.timestamp_utc), Text)  # as the driver gives it: few are looked at
    query = (
        select(moved.sku_id, day, _units(), func.count(), last)
        .where(movements)
        .group_by(moved.sku_id, literal_column("day"))  # by its name, or SQLite works it out again
    )
    columns, last_of = DailyColumns(), _Latest()
    async with connection.stream(query) as result:
        async for rows in result.partitions(PARTITION):
            skus, days, units, lines, instants = zip(*rows, strict=True)
            columns.codes.extend(last_of.take(skus, instants))
            columns.days.extend(days)
            columns.units.extend(units)
            columns.lines.extend(lines)
    columns.skus.extend(last_of.codes)
    columns.last.extend(last_of.instants())
    return columns


class _Latest:
    """Each SKU's code, in the order of coming, and its latest instant in the driver's own form."""

    def __init__(self) -> None:
        self.codes: dict[str, int] = {}
        self._instants: list[Any] = []

    def take(self, skus: Sequence[str], instants: Sequence[Any]) -> list[int]:
        codes = [self.codes.setdefault(sku, len(self.codes)) for sku in skus]
        latest = self._instants
        for code, instant in zip(codes, instants, strict=True):
            if code == len(latest):
                latest.append(instant)
            elif instant > latest[code]:
                latest[code] = instant
        return codes

    def instants(self) -> list[datetime]:
        return [as_instant(instant) for instant in self._instants]


async def _read_hourly(
    connection: AsyncConnection, period: Period, movements: ColumnElement[bool]
) -> dict[int, int]:
    hour = local_index(period, HOUR).label("hour")
    query = select(hour, _units()).where(movements).group_by(literal_column("hour"))
    return {index: units for index, units in await connection.execute(query)}


def _units() -> ColumnElement[int]:
    return cast(func.sum(published.c.units_moved), BigInteger)  # PostgreSQL's sum is a decimal


def local_index(period: Period, step: int) -> ColumnElement[int]:
    """The period's local day (`step` DAY) or hour (HOUR) that a movement in one of its intervals is of.

    The database compares the instant with the bounds of days in UTC, by halves. So it needs no clock of its
    own, is exact whatever the zone does, and on SQLite, where instants are text, is several times as fast as
    its date functions, which also round 23:59:59.9996 into the next day.
    """
    # As text: building thousands of SQLAlchemy's cases takes longer than running them.
    return literal_column(
        _by_halves([(interval.start, interval.index) for interval in period.intervals(step)]), Integer()
    )


def _by_halves(marks: Sequence[tuple[datetime, int]]) -> str:
    if len(marks) == 1:
        return str(marks[0][1])
    middle = len(marks) // 2
    before, after = _by_halves(marks[:middle]), _by_halves(marks[middle:])
    return f"CASE WHEN timestamp_utc < '{instant_text(marks[middle][0])}' THEN {before} ELSE {after} END"

"""The movements of a period, grouped by the database: by SKU and local day, and by local hour."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import Any

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
from sqlalchemy.ext.asyncio import AsyncConnection

from sku_velocity.errors import VelocityError
from sku_velocity.model.activity import ALL_TYPES, PICK, Activity, DailyColumns
from sku_velocity.model.calendar import DAY, HOUR, Period
from sku_velocity.model.window import Window
from sku_velocity.store.database import Repository
from sku_velocity.store.errors import database_errors
from sku_velocity.store.run_rows import overlapping
from sku_velocity.store.tables import UtcDateTime, as_instant, instant_text, published_ranges, sync_runs

PARTITION = 20_000  # rows fetched from the database at a time

published = table(
    "published_movements",
    column("source", Text),
    column("warehouse_id", Text),
    column("sku_id", Text),
    column("units_moved", BigInteger),
    column("timestamp_utc", UtcDateTime),
    column("movement_type", Text),
    column("run_id", Text),
)


class Activities(Repository):
    """The movements of each warehouse, as published at this moment."""

    async def of(
        self, source: str, warehouse: str, period: Period, count_types: Sequence[str] | None = None
    ) -> Activity:
        """Return the movements of a warehouse in a period, by SKU and local day, and by local hour.

        Of all movements, or of `count_types`. If it is None, of type pick in the windows whose spec names
        types, and of all in the others. Reads no row of windows outside the period. Raises VelocityError if
        the sum of units exceeds 64 bits.
        """
        ranges, moved = published_ranges.c, published.c
        overlaps = overlapping(source, warehouse, period.window)
        runs = select(sync_runs.c.run_id).join(published_ranges).where(overlaps)
        movements = and_(
            moved.source == source,
            moved.warehouse_id == warehouse,
            moved.timestamp_utc >= period.window.start,
            moved.timestamp_utc < period.window.end,
            *(or_(moved.timestamp_utc < gap.start, moved.timestamp_utc >= gap.end) for gap in period.gaps),
            moved.run_id.in_(runs),
        )
        async with self.database.snapshot() as connection:
            found = select(ranges.range_start, ranges.range_end, sync_runs.c.has_types).join(sync_runs)
            rows = (await connection.execute(found.where(overlaps))).all()
            windows = [Window(row.range_start, row.range_end) for row in rows]
            types = count_types or ([PICK] if any(row.has_types for row in rows) else [ALL_TYPES])
            if ALL_TYPES not in types:
                of_types = moved.movement_type.in_(types)
                untyped = moved.run_id.in_(runs.where(~sync_runs.c.has_types))
                movements &= of_types if count_types else or_(of_types, untyped)
            with _translating_overflow(source, warehouse):
                daily = await _read_daily(connection, period, movements)
                hourly = await _read_hourly(connection, period, movements)
        return Activity(daily, hourly, windows, None if ALL_TYPES in types else types)


@contextmanager
def _translating_overflow(source: str, warehouse: str) -> Iterator[None]:
    try:
        yield
    except database_errors() as error:
        if any(phrase in str(error) for phrase in ("integer overflow", "bigint out of range")):
            raise VelocityError(
                f"the sum of units_moved of {warehouse} from {source} exceeds 64 bits: "
                "look for movements with impossible units_moved, correct them in the source, and sync again"
            ) from error
        raise


async def _read_daily(
    connection: AsyncConnection, period: Period, movements: ColumnElement[bool]
) -> DailyColumns:
    moved, day = published.c, local_index(period, DAY).label("day")
    last = type_coerce(func.max(moved.timestamp_utc), Text)  # raw from the driver: few are converted
    query = (
        select(moved.sku_id, day, _units(), func.count(), last)
        .where(movements)
        .group_by(moved.sku_id, literal_column("day"))  # by its label: SQLite would compute it again
    )
    columns, last_of = DailyColumns(), _Latest()
    async with connection.stream(query) as result:
        async for rows in result.partitions(PARTITION):
            skus, days, units, lines, instants = zip(*rows, strict=True)
            columns.codes.extend(last_of.add(skus, instants))
            columns.days.extend(days)
            columns.units.extend(units)
            columns.lines.extend(lines)
    columns.skus.extend(last_of.codes)
    columns.last.extend(last_of.instants())
    return columns


class _Latest:
    """Each SKU's code, in order of first appearance, and its latest instant in the driver's format."""

    def __init__(self) -> None:
        self.codes: dict[str, int] = {}
        self._instants: list[Any] = []

    def add(self, skus: Sequence[str], instants: Sequence[Any]) -> list[int]:
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
    return cast(func.sum(published.c.units_moved), BigInteger)  # PostgreSQL returns the sum as a decimal


def local_index(period: Period, step: int) -> ColumnElement[int]:
    """Return an expression for a movement's local day (`step` DAY) or hour (HOUR) in the period.

    The database finds the interval by binary search over its bounds in UTC. So it needs no time zone data,
    is exact for every zone, and on SQLite, where instants are text, is several times as fast as the date
    functions, which also round 23:59:59.9996 into the next day.
    """
    # As text: building thousands of SQLAlchemy cases takes longer than running them.
    return literal_column(
        _binary_search([(interval.start, interval.index) for interval in period.intervals(step)]), Integer()
    )


def _binary_search(bounds: Sequence[tuple[datetime, int]]) -> str:
    if len(bounds) == 1:
        return str(bounds[0][1])
    middle = len(bounds) // 2
    before, after = _binary_search(bounds[:middle]), _binary_search(bounds[middle:])
    return f"CASE WHEN timestamp_utc < '{instant_text(bounds[middle][0])}' THEN {before} ELSE {after} END"

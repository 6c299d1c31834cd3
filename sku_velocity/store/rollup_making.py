"""Makes days of a rollup from the published movements."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from datetime import date
from typing import TYPE_CHECKING, Any

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Integer,
    and_,
    cast,
    func,
    literal_column,
    or_,
    select,
    type_coerce,
)
from sqlalchemy.ext.asyncio import AsyncConnection

from sku_velocity.model.calendar import DAY, HOUR, Period
from sku_velocity.store.rollup_days import RollupKey, publications_to_make, read_ranges
from sku_velocity.store.run_rows import overlapping
from sku_velocity.store.tables import microseconds, movements, published_ranges, sync_runs

if TYPE_CHECKING:  # a store that is only written to does not need it
    import pyarrow as pa

PARTITION = 20_000  # rows fetched from the database at a time

ranges, moved = published_ranges.c, movements.c


@dataclass(frozen=True)
class MadeDay:
    """A day of the rollup, made from movements; `hourly` is units by local hour of the day."""

    day: date
    publication: int
    hourly: Mapping[int, int]
    content: pa.Table


async def make_days(
    connection: AsyncConnection, key: RollupKey, span: Period, wanted: set[date]
) -> AsyncGenerator[MadeDay, None]:
    """Yield the wanted days of a span, their movements grouped by SKU and by local hour."""
    from sku_velocity.store.rollup_content import DAY as CONTENT

    publications = publications_to_make(span, await read_ranges(connection, key, span))
    visible = and_(
        overlapping(key.source, key.warehouse, span.window),
        moved.timestamp_utc >= ranges.range_start,
        moved.timestamp_utc < ranges.range_end,
        moved.timestamp_utc >= span.window.start,
        moved.timestamp_utc < span.window.end,
        *(or_(moved.timestamp_utc < gap.start, moved.timestamp_utc >= gap.end) for gap in span.gaps),
        key.counts(),
    )
    hourly: dict[int, dict[int, int]] = defaultdict(dict)
    for hour, units in await _group_hourly(connection, span, visible):
        hourly[hour // 24][hour % 24] = units
    missing = {index: newest for index, newest in publications.items() if span.day(index) in wanted}
    async with aclosing(_group_daily(connection, span, visible)) as grouped:
        async for index, content in grouped:
            if index in missing:
                yield MadeDay(span.day(index), missing.pop(index), hourly[index], content)
    for index, publication in missing.items():
        yield MadeDay(span.day(index), publication, {}, CONTENT.empty_table())


async def _group_daily(
    connection: AsyncConnection, span: Period, visible: ColumnElement[bool]
) -> AsyncGenerator[tuple[int, pa.Table], None]:
    """Yield each day with movements, by its index, in order; only one is in memory at a time."""
    import pyarrow as pa

    from sku_velocity.store.rollup_content import DAY as CONTENT
    from sku_velocity.store.rollup_content import by_day, instants

    first, last = (type_coerce(each(moved.timestamp_utc), BigInteger) for each in (func.min, func.max))
    orders = func.count(moved.order_id.distinct())
    query = (
        select(
            local_index(connection.dialect.name, span, DAY).label("day"),
            moved.sku_id,
            _units(),
            func.count(),
            orders,
            first,
            last,
        )
        .select_from(_visible_movements())
        .where(visible)
        .group_by(literal_column("day"), moved.sku_id)  # by its label: SQLite would compute it again
        .order_by(literal_column("day"))
        .execution_options(yield_per=PARTITION)
    )
    at, parts = -1, [CONTENT.empty_table()]
    async with connection.stream(query) as result:
        async for rows in result.partitions():
            indexes, *sums, firsts, lasts = zip(*rows, strict=True)
            columns = [*map(pa.array, sums, CONTENT.types[: len(sums)]), instants(firsts), instants(lasts)]
            for index, part in by_day(indexes, pa.table(columns, schema=CONTENT)):
                if index != at and at >= 0:
                    yield at, pa.concat_tables(parts)
                    parts = []
                at = index
                parts.append(part)
    if at >= 0:
        yield at, pa.concat_tables(parts)


async def _group_hourly(
    connection: AsyncConnection, span: Period, visible: ColumnElement[bool]
) -> Sequence[tuple[int, int]]:
    hour = local_index(connection.dialect.name, span, HOUR).label("hour")
    query = select(hour, _units()).select_from(_visible_movements()).where(visible)
    found = await connection.execute(query.group_by(literal_column("hour")))
    return [(index, units) for index, units in found]


def _visible_movements() -> Any:
    return published_ranges.join(sync_runs).join(movements, moved.run_key == ranges.run_key)


def _units() -> ColumnElement[int]:
    return cast(func.sum(moved.units_moved), BigInteger)  # PostgreSQL returns the sum as a decimal


def local_index(dialect: str, period: Period, step: int) -> ColumnElement[int]:
    """Return an expression for a movement's local day (`step` DAY) or hour (HOUR) in the period.

    The database finds the interval by binary search over its bounds in UTC. So it needs no time zone data,
    and is exact for every zone; SQLite's date functions are slower and round 23:59:59.9996 into the next day.
    """
    # As text: building thousands of SQLAlchemy cases takes longer than running them.
    bounds = [
        (str(microseconds(each.start)) if dialect == "sqlite" else f"'{each.start.isoformat()}'", each.index)
        for each in period.intervals(step)
    ]
    return literal_column(_binary_search(bounds), Integer())


def _binary_search(bounds: Sequence[tuple[str, int]]) -> str:
    if len(bounds) == 1:
        return str(bounds[0][1])
    middle = len(bounds) // 2
    before, after = _binary_search(bounds[:middle]), _binary_search(bounds[middle:])
    return f"CASE WHEN movements.timestamp_utc < {bounds[middle][0]} THEN {before} ELSE {after} END"

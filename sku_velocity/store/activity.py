"""The activity of a warehouse's SKUs by local day: a rollup of the published movements, kept up to date.

A day of the rollup is a row with the day's sums of every SKU. It names the newest publication among the
published ranges that it was made from: as each change of what is visible gives its range a higher number, a
day is out of date if, and only if, that number differs now. Days are made from movements again, a few at a
time; all others are only read.

A day with archived movements cannot be made again: it stays as it was counted, and what was published in it
since counts as not published. If movements are counted in another way, all days are made again, from the
first one on that has no archived movements (`counted_from`); earlier ones count as not published.
"""

from __future__ import annotations

import asyncio
import json
from collections import defaultdict
from collections.abc import AsyncGenerator, AsyncIterator, Iterator, Mapping, Sequence
from contextlib import aclosing, contextmanager
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING, Any, NamedTuple, Self
from zoneinfo import ZoneInfo

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Integer,
    and_,
    cast,
    delete,
    func,
    insert,
    literal_column,
    or_,
    select,
    type_coerce,
)
from sqlalchemy.ext.asyncio import AsyncConnection

from sku_velocity.errors import StoreUnavailableError, VelocityError
from sku_velocity.model.activity import ALL_TYPES, PICK, Activity, DailyColumns, LastYear
from sku_velocity.model.calendar import DAY, HOUR, Period, covered_shares
from sku_velocity.model.window import Window, cut_out
from sku_velocity.store.database import WRITERS, Database, Repository, lock
from sku_velocity.store.errors import database_errors
from sku_velocity.store.run_rows import overlapping
from sku_velocity.store.tables import (
    microseconds,
    movements,
    published_ranges,
    rollup_days,
    rollups,
    sync_runs,
)

if TYPE_CHECKING:  # a store that is only written to does not need it
    import pyarrow as pa

PARTITION = 20_000  # rows fetched from the database at a time
DAYS_AT_A_TIME = 7  # days made from movements in one query, or stored in one transaction
ATTEMPTS = 10  # at reading a rollup that others are publishing into
YEAR, NEXT = 364, 28  # days: the same weekdays a year ago, and the days after them
LONG = timedelta(days=400)  # a published range that may hold few of its days, as of a source without windows
FORMAT = 1  # of the content; a new one must convert the stored days: some cannot be made again
NEVER = -(2**63)  # in microseconds
COLUMN_TYPES = ("int64", "int32", "int64", "int32", "int32")  # codes, days, units, lines, orders

ranges, moved, days = published_ranges.c, movements.c, rollup_days.c


class _Range(NamedTuple):
    """A published range of a warehouse."""

    start: datetime
    end: datetime
    publication: int
    run_key: int
    has_types: bool
    is_archived: bool


class _Rollup(NamedTuple):
    """The publication of each stored day, and the first day that can be counted, None for any."""

    publications: Mapping[date, int]
    since: date | None

    def has(self, day: date) -> bool:
        """Return True if a day can be counted."""
        return self.since is None or day >= self.since


@dataclass(frozen=True)
class _Day:
    """A day of the rollup, made from movements; `hourly` is units by local hour of the day."""

    day: date
    publication: int
    hourly: Mapping[int, int]
    content: pa.Table


@dataclass(frozen=True)
class _Key:
    """A warehouse of a source, and how its movements are counted."""

    source: str
    warehouse: str
    definition: str
    count_types: Sequence[str] | None

    @classmethod
    def counting(cls, source: str, warehouse: str, zone: str, count_types: Sequence[str] | None) -> Self:
        counted = None if count_types is None else sorted(set(count_types))
        return cls(source, warehouse, json.dumps([FORMAT, zone, counted]), counted)

    @property
    def zone(self) -> ZoneInfo:
        """The time zone of the days."""
        return ZoneInfo(json.loads(self.definition)[1])

    def of(self, table: Any) -> ColumnElement[bool]:
        return and_(table.c.source == self.source, table.c.warehouse_id == self.warehouse)

    def counts(self) -> ColumnElement[bool]:
        """Return the condition for a movement to be counted."""
        if self.count_types is None:
            return or_(~sync_runs.c.has_types, moved.movement_type == PICK)
        if ALL_TYPES in self.count_types:
            return sync_runs.c.run_key.is_not(None)
        return moved.movement_type.in_(self.count_types)


class Activities(Repository):
    """The movements of each warehouse, as published at this moment."""

    def __init__(self, database: Database) -> None:
        super().__init__(database)
        self._making = asyncio.Semaphore(WRITERS // 2)  # each reads and writes: it needs two connections

    async def of(
        self, source: str, warehouse: str, period: Period, count_types: Sequence[str] | None = None
    ) -> Activity:
        """Return the movements of a warehouse in a period, by SKU and local day, and by local hour.

        Of all movements, or of `count_types`. If it is None, of type pick in the windows whose spec names
        types, and of all in the others. Brings the rollup up to date first: reads the movements only of days
        whose windows were published since. Raises VelocityError if a sum of units exceeds 64 bits, and
        StoreUnavailableError if windows are published faster than they can be read.
        """
        key = _Key.counting(source, warehouse, period.zone.key, count_types)
        for _ in range(ATTEMPTS):
            await self._update(key, period)
            if activity := await self._read(key, period):
                return activity
        raise StoreUnavailableError(
            f"the days of {warehouse} from {source} were published again while they were read: try later"
        )

    async def bring_up_to_date(self, source: str, warehouse: str, until: datetime) -> None:
        """Make the days again that are out of date, up to an instant, counted as those that are stored.

        Nothing if none is stored. Raises VelocityError if a sum of units exceeds 64 bits.
        """
        async with self.database.reading() as connection:
            key = await _stored_key(connection, source, warehouse)
        if key:
            await self._update(key, _last_day(key, until))

    async def _update(self, key: _Key, period: Period) -> None:
        """Make the days again that are out of date, up to the period's last."""
        async with self.database.snapshot() as connection:
            found = await _read_ranges(connection, key, period)
            history = _history(found, period)
            stale = _stale(history, found, await _read_rollup(connection, key))
        while stale:
            until = _batch_end(stale[0], history, found)
            some = [index for index in stale if index < until]
            stale = stale[len(some) :]
            span = Period(history.zone, history.day(some[-1]), some[-1] - some[0] + 1)
            wanted = {history.day(index) for index in some}
            with _translating_overflow(key):
                async with (
                    self._making,
                    self.database.snapshot() as connection,
                    aclosing(_make_days(connection, key, span, wanted)) as making,
                ):
                    made: list[_Day] = []
                    async for day in making:
                        made.append(day)
                        if len(made) == DAYS_AT_A_TIME:
                            await self._store(key, made)
                            made = []
            if made:
                await self._store(key, made)

    async def _store(self, key: _Key, made: Sequence[_Day]) -> None:
        """Store days, except where another process has stored a newer one, and each SKU's first movement."""
        from sku_velocity.store.rollup_content import (
            FIRST,
            before_instant,
            earliest,
            losing,
            only,
            pack,
            unpack,
            without,
        )

        async with self.database.writing() as connection:
            await lock(connection, "rollup", key.source, key.warehouse)
            row = (await connection.execute(select(rollups).where(key.of(rollups)))).one_or_none()
            firsts = unpack(row.first_movements) if row else FIRST.empty_table()
            since = row.counted_from if row else await _first_countable(connection, key)
            if row and row.definition != key.definition:
                await connection.execute(delete(rollup_days).where(key.of(rollup_days)))
                since = await _first_countable(connection, key)
                # By what was counted before: of archived movements, nothing else is known.
                firsts = (
                    before_instant(firsts, microseconds(_midnight(key, since)))
                    if since
                    else FIRST.empty_table()
                )
            made = [each for each in made if since is None or each.day >= since]
            mine = and_(key.of(rollup_days), days.day.in_([each.day for each in made]))
            found = await connection.execute(select(days.day, days.publication, days.content).where(mine))
            stored = {each.day: each for each in found}
            made = [each for each in made
                    if each.day not in stored or stored[each.day].publication < each.publication]  # fmt: skip
            if not made:
                return
            replaced = [each.day for each in made]
            before = earliest(unpack(stored[day].content) for day in replaced if day in stored)
            after = earliest(each.content for each in made)
            await connection.execute(delete(rollup_days).where(key.of(rollup_days), days.day.in_(replaced)))
            lost = losing(firsts, before, after)
            others = [after]
            if len(lost):
                firsts = without(firsts, lost)
                others += [only(each, lost) for each in await _first_of_days(connection, key, lost)]
            firsts = earliest([firsts, *others])
            await connection.execute(insert(rollup_days), [_values(key, each) for each in made])
            await connection.execute(delete(rollups).where(key.of(rollups)))
            await connection.execute(
                insert(rollups).values(
                    source=key.source,
                    warehouse_id=key.warehouse,
                    definition=key.definition,
                    counted_from=since,
                    first_movements=pack(firsts),
                )
            )

    async def _read(self, key: _Key, period: Period) -> Activity | None:
        """Return the activity of a period from the rollup; None if that is out of date."""
        async with self.database.snapshot() as connection:
            found = await _read_ranges(connection, key, period)
            history = _history(found, period)
            rollup = await _read_rollup(connection, key)
            if _stale(history, found, rollup):
                return None
            inside = [each for each in found if each.end > period.window.start]
            counted = _counted(key, history, found, rollup)
            daily = await _read_daily(connection, key, period)
            hourly = await _read_hourly(connection, key, period)
            last_year = await _read_last_year(connection, key, period, counted, daily)
        types = key.count_types or ([PICK] if any(each.has_types for each in inside) else [ALL_TYPES])
        windows = [each for each in counted if each.end > period.window.start]
        return Activity(daily, hourly, windows, None if ALL_TYPES in types else types, last_year)


async def is_up_to_date(connection: AsyncConnection, source: str, warehouse: str, until: datetime) -> bool:
    """Return True if the stored days up to an instant are as published, or if none is stored.

    Until the transaction ends, no other one changes them.
    """
    await lock(connection, "rollup", source, warehouse)
    key = await _stored_key(connection, source, warehouse)
    if key is None:
        return True
    period = _last_day(key, until)
    found = await _read_ranges(connection, key, period)
    return not _stale(_history(found, period), found, await _read_rollup(connection, key))


async def _stored_key(connection: AsyncConnection, source: str, warehouse: str) -> _Key | None:
    """Return how the stored days of a warehouse are counted, in this format; None if there are none."""
    of_place = and_(rollups.c.source == source, rollups.c.warehouse_id == warehouse)
    found = await connection.execute(select(rollups.c.definition).where(of_place))
    definition = found.scalar_one_or_none()
    return _Key.counting(source, warehouse, *json.loads(definition)[1:]) if definition else None


def _last_day(key: _Key, until: datetime) -> Period:
    """Return the last local day before an instant."""
    return Period(key.zone, (until - datetime.resolution).astimezone(key.zone).date(), 1)


def _midnight(key: _Key, day: date) -> datetime:
    """Return the start of a local day."""
    return datetime.combine(day, datetime.min.time(), key.zone).astimezone(UTC)


async def _read_ranges(connection: AsyncConnection, key: _Key, period: Period) -> list[_Range]:
    """Return the published ranges that begin before the period's end, in order."""
    rows = await connection.execute(
        select(
            ranges.range_start,
            ranges.range_end,
            ranges.publication,
            ranges.run_key,
            sync_runs.c.has_types,
            sync_runs.c.archived_at.is_not(None),
        )
        .join(sync_runs)
        .where(key.of(published_ranges), ranges.range_start < period.window.end)
        .order_by(ranges.range_start)
    )
    return [await _shortened(connection, _Range(*row), period) for row in rows.all()]


async def _shortened(connection: AsyncConnection, range_: _Range, period: Period) -> _Range:
    """Return a long range from the day of its first movement on, or from the period's first day."""
    if range_.end - range_.start < LONG or range_.is_archived:
        return range_
    first = type_coerce(func.min(moved.timestamp_utc), moved.timestamp_utc.type)
    found = await connection.execute(
        select(first).where(moved.run_key == range_.run_key, moved.timestamp_utc >= range_.start)
    )
    day = (found.scalar_one() or period.window.start).astimezone(period.zone).date()
    start = datetime.combine(min(day, period.first), datetime.min.time(), period.zone).astimezone(UTC)
    return range_._replace(start=max(start, range_.start))


def _history(found: Sequence[_Range], period: Period) -> Period:
    """Return the days from the first published one, or from the period's first, to the period's last."""
    start = min((each.start for each in found), default=period.window.start)
    first = min(start.astimezone(period.zone).date(), period.first)
    return Period(period.zone, period.as_of, (period.as_of - first).days + 1)


def _newest(span: Period, found: Sequence[_Range]) -> dict[int, int]:
    """Return the newest publication of each day of a span that a published range overlaps, by its index."""
    newest: dict[int, int] = defaultdict(int)
    passed = 0
    for interval in span.intervals(DAY):
        while passed < len(found) and found[passed].end <= interval.start:
            passed += 1
        at = passed
        while at < len(found) and found[at].start < interval.end:
            newest[interval.index] = max(newest[interval.index], found[at].publication)
            at += 1
    return newest


def _newest_to_make(span: Period, found: Sequence[_Range]) -> dict[int, int]:
    """Return the newest publication of each day of a span that can be made from movements, by its index."""
    archived = _newest(span, [each for each in found if each.is_archived])
    return {index: newest for index, newest in _newest(span, found).items() if index not in archived}


def _stale(history: Period, found: Sequence[_Range], rollup: _Rollup) -> list[int]:
    """Return the indexes of the days to make: those that the stored rollup does not have as published."""
    return [
        index
        for index, publication in sorted(_newest_to_make(history, found).items())
        if rollup.has(history.day(index)) and rollup.publications.get(history.day(index)) != publication
    ]


def _counted(key: _Key, history: Period, found: Sequence[_Range], rollup: _Rollup) -> list[Window]:
    """Return what the stored days count: the published ranges, less what they were not made from."""
    stored, newest = rollup.publications, _newest(history, found)
    late = {
        index: stored.get(history.day(index), 0)
        for index, publication in newest.items()
        if rollup.has(history.day(index)) and stored.get(history.day(index), 0) < publication
    }
    holes = [(Window(each.start, each.end), late[each.index]) for each in history.intervals(DAY)
             if each.index in late]  # fmt: skip
    before = [Window.between(None, _midnight(key, rollup.since))] if rollup.since else []
    counted: list[Window] = []
    for range_ in found:
        parts = [Window(range_.start, range_.end)]
        for hole in before + [day for day, publication in holes if range_.publication > publication]:
            parts = [left for part in parts for left in cut_out(part, hole)]
        counted += parts
    return counted


async def _read_rollup(connection: AsyncConnection, key: _Key) -> _Rollup:
    """Return the publication of each stored day; none if they were counted in another way."""
    found = await connection.execute(select(rollups).where(key.of(rollups)))
    row = found.one_or_none()
    if row is None or row.definition != key.definition:
        return _Rollup({}, await _first_countable(connection, key))
    stored = await connection.execute(select(days.day, days.publication).where(key.of(rollup_days)))
    return _Rollup({each.day: each.publication for each in stored}, row.counted_from)


async def _first_countable(connection: AsyncConnection, key: _Key) -> date | None:
    """Return the first local day after all archived movements; None if there are none."""
    last = type_coerce(func.max(ranges.range_end), ranges.range_end.type)
    archived = (
        select(last).join(sync_runs).where(key.of(published_ranges), sync_runs.c.archived_at.is_not(None))
    )
    end = (await connection.execute(archived)).scalar_one()
    return _last_day(key, end).as_of + timedelta(days=1) if end else None


def _batch_end(first: int, history: Period, found: Sequence[_Range]) -> int:
    """Return the index after the days to read together: some, or all of the first one's windows.

    A query reads all movements of the windows that it touches, so a long window is read in one.
    """
    day = Period(history.zone, history.day(first), 1).window
    last = max(each.end for each in found if each.start < day.end and each.end > day.start)
    reached = (min(last, history.window.end).astimezone(history.zone).date() - history.first).days
    return max(first + DAYS_AT_A_TIME, reached)


async def _make_days(
    connection: AsyncConnection, key: _Key, span: Period, wanted: set[date]
) -> AsyncGenerator[_Day, None]:
    """Yield the wanted days of a span, their movements grouped by SKU and by local hour."""
    from sku_velocity.store.rollup_content import DAY as CONTENT

    publications = _newest_to_make(span, await _read_ranges(connection, key, span))
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
                yield _Day(span.day(index), missing.pop(index), hourly[index], content)
    for index, publication in missing.items():
        yield _Day(span.day(index), publication, {}, CONTENT.empty_table())


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


async def _first_of_days(connection: AsyncConnection, key: _Key, wanted: pa.Array) -> list[pa.Table]:
    """Return the first movements by the stored days, the earliest first, until each wanted SKU was found."""
    from sku_velocity.store.rollup_content import FIRST, only, unpack

    found, missing = [], set(wanted.to_pylist())
    query = select(days.content).where(key.of(rollup_days)).order_by(days.day)
    async with connection.stream(query) as result:
        async for row in result:
            table = only(unpack(row.content, FIRST.names), wanted)
            found.append(table)
            missing -= set(table["sku_id"].to_pylist())
            if not missing:
                break
    return found


def _values(key: _Key, each: _Day) -> dict[str, Any]:
    from sku_velocity.store.rollup_content import pack

    return {
        "source": key.source,
        "warehouse_id": key.warehouse,
        "day": each.day,
        "publication": each.publication,
        "skus": len(each.content),
        "hourly": json.dumps(each.hourly),
        "content": pack(each.content),
    }


def _in(period: Period) -> ColumnElement[bool]:
    return days.day.between(period.first, period.as_of)


async def _contents(
    connection: AsyncConnection, key: _Key, period: Period, names: Sequence[str]
) -> AsyncIterator[tuple[int, pa.Table]]:
    """Yield each stored day of a period, by its index, one at a time."""
    from sku_velocity.store.rollup_content import unpack

    query = select(days.day, days.content).where(key.of(rollup_days), _in(period))
    async with connection.stream(query.order_by(days.day).execution_options(yield_per=1)) as result:
        async for row in result:
            yield (row.day - period.first).days, unpack(row.content, names)


async def _read_daily(connection: AsyncConnection, key: _Key, period: Period) -> DailyColumns:
    import numpy as np

    from sku_velocity.store.rollup_content import DAY as CONTENT
    from sku_velocity.store.rollup_content import codes_in, numbers, unpack

    packed = (
        await connection.execute(select(rollups.c.first_movements).where(key.of(rollups)))
    ).scalar_one_or_none()
    if packed is None:
        return DailyColumns.empty()
    firsts = unpack(packed)  # of every SKU of the rollup
    rows = select(func.coalesce(func.sum(days.skus), 0)).where(key.of(rollup_days), _in(period))
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


async def _read_hourly(connection: AsyncConnection, key: _Key, period: Period) -> dict[int, int]:
    query = select(days.day, days.hourly).where(key.of(rollup_days), _in(period))
    return {
        (row.day - period.first).days * 24 + int(hour): units
        for row in await connection.execute(query)
        for hour, units in json.loads(row.hourly).items()
    }


async def _read_last_year(
    connection: AsyncConnection, key: _Key, period: Period, counted: Sequence[Window], daily: DailyColumns
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
    connection: AsyncConnection, key: _Key, span: Period, daily: DailyColumns
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


@contextmanager
def _translating_overflow(key: _Key) -> Iterator[None]:
    try:
        yield
    except database_errors() as error:
        if any(phrase in str(error) for phrase in ("integer overflow", "bigint out of range")):
            raise VelocityError(
                f"the sum of units_moved of {key.warehouse} from {key.source} exceeds 64 bits: look for "
                "movements with impossible units_moved, correct them in the source, and sync again"
            ) from error
        raise


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

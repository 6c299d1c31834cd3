"""The days of a warehouse's rollup: which are stored, which are published, and which are out of date.

A day is a row with the day's sums of every SKU. It names the newest publication among the published ranges
that it was made from: as each change of what is visible gives its range a higher number, a day is out of date
if, and only if, that number differs now.

A day with archived movements cannot be made again: it stays as it was counted, and what was published in it
since counts as not published. If movements are counted in another way, all days are made again, from the
first one on that has no archived movements (`counted_from`); earlier ones count as not published.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any, NamedTuple, Self
from zoneinfo import ZoneInfo

from sqlalchemy import ColumnElement, and_, func, or_, select, type_coerce
from sqlalchemy.ext.asyncio import AsyncConnection

from sku_velocity.model.activity import ALL_TYPES, PICK
from sku_velocity.model.calendar import DAY, Period
from sku_velocity.model.window import Window, cut_out
from sku_velocity.store.database import lock
from sku_velocity.store.tables import movements, published_ranges, rollup_days, rollups, sync_runs

DAYS_AT_A_TIME = 7  # days made from movements in one query, or stored in one transaction
LONG = timedelta(days=400)  # a published range that may hold few of its days, as of a source without windows
FORMAT = 1  # of the content; a new one must convert the stored days: some cannot be made again

ranges, moved, days = published_ranges.c, movements.c, rollup_days.c


class VisibleRange(NamedTuple):
    """A published range of a warehouse."""

    start: datetime
    end: datetime
    publication: int
    run_key: int
    has_types: bool
    is_archived: bool


class StoredDays(NamedTuple):
    """The publication of each stored day, and the first day that can be counted, None for any."""

    publications: Mapping[date, int]
    since: date | None

    def has(self, day: date) -> bool:
        """Return True if a day can be counted."""
        return self.since is None or day >= self.since


@dataclass(frozen=True)
class RollupKey:
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


async def is_up_to_date(connection: AsyncConnection, source: str, warehouse: str, until: datetime) -> bool:
    """Return True if the stored days up to an instant are as published, or if none is stored.

    Until the transaction ends, no other one changes them.
    """
    await lock(connection, "rollup", source, warehouse)
    key = await stored_key(connection, source, warehouse)
    if key is None:
        return True
    period = last_day(key, until)
    found = await read_ranges(connection, key, period)
    return not stale_days(history_of(found, period), found, await read_stored_days(connection, key))


async def stored_key(connection: AsyncConnection, source: str, warehouse: str) -> RollupKey | None:
    """Return how the stored days of a warehouse are counted, in this format; None if there are none."""
    of_place = and_(rollups.c.source == source, rollups.c.warehouse_id == warehouse)
    found = await connection.execute(select(rollups.c.definition).where(of_place))
    definition = found.scalar_one_or_none()
    return RollupKey.counting(source, warehouse, *json.loads(definition)[1:]) if definition else None


def last_day(key: RollupKey, until: datetime) -> Period:
    """Return the last local day before an instant."""
    return Period(key.zone, (until - datetime.resolution).astimezone(key.zone).date(), 1)


def midnight(key: RollupKey, day: date) -> datetime:
    """Return the start of a local day."""
    return datetime.combine(day, datetime.min.time(), key.zone).astimezone(UTC)


async def read_ranges(connection: AsyncConnection, key: RollupKey, period: Period) -> list[VisibleRange]:
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
    return [await _shortened(connection, VisibleRange(*row), period) for row in rows.all()]


async def _shortened(connection: AsyncConnection, range_: VisibleRange, period: Period) -> VisibleRange:
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


def history_of(found: Sequence[VisibleRange], period: Period) -> Period:
    """Return the days from the first published one, or from the period's first, to the period's last."""
    start = min((each.start for each in found), default=period.window.start)
    first = min(start.astimezone(period.zone).date(), period.first)
    return Period(period.zone, period.as_of, (period.as_of - first).days + 1)


def newest_publications(span: Period, found: Sequence[VisibleRange]) -> dict[int, int]:
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


def publications_to_make(span: Period, found: Sequence[VisibleRange]) -> dict[int, int]:
    """Return the newest publication of each day of a span that can be made from movements, by its index."""
    archived = newest_publications(span, [each for each in found if each.is_archived])
    return {
        index: newest for index, newest in newest_publications(span, found).items() if index not in archived
    }


def stale_days(history: Period, found: Sequence[VisibleRange], rollup: StoredDays) -> list[int]:
    """Return the indexes of the days to make: those that the stored rollup does not have as published."""
    return [
        index
        for index, publication in sorted(publications_to_make(history, found).items())
        if rollup.has(history.day(index)) and rollup.publications.get(history.day(index)) != publication
    ]


def counted_windows(
    key: RollupKey, history: Period, found: Sequence[VisibleRange], rollup: StoredDays
) -> list[Window]:
    """Return what the stored days count: the published ranges, less what they were not made from."""
    stored, newest = rollup.publications, newest_publications(history, found)
    late = {
        index: stored.get(history.day(index), 0)
        for index, publication in newest.items()
        if rollup.has(history.day(index)) and stored.get(history.day(index), 0) < publication
    }
    holes = [(Window(each.start, each.end), late[each.index]) for each in history.intervals(DAY)
             if each.index in late]  # fmt: skip
    before = [Window.between(None, midnight(key, rollup.since))] if rollup.since else []
    counted: list[Window] = []
    for range_ in found:
        parts = [Window(range_.start, range_.end)]
        for hole in before + [day for day, publication in holes if range_.publication > publication]:
            parts = [left for part in parts for left in cut_out(part, hole)]
        counted += parts
    return counted


async def read_stored_days(connection: AsyncConnection, key: RollupKey) -> StoredDays:
    """Return the publication of each stored day; none if they were counted in another way."""
    found = await connection.execute(select(rollups).where(key.of(rollups)))
    row = found.one_or_none()
    if row is None or row.definition != key.definition:
        return StoredDays({}, await first_countable(connection, key))
    stored = await connection.execute(select(days.day, days.publication).where(key.of(rollup_days)))
    return StoredDays({each.day: each.publication for each in stored}, row.counted_from)


async def first_countable(connection: AsyncConnection, key: RollupKey) -> date | None:
    """Return the first local day after all archived movements; None if there are none."""
    last = type_coerce(func.max(ranges.range_end), ranges.range_end.type)
    archived = (
        select(last).join(sync_runs).where(key.of(published_ranges), sync_runs.c.archived_at.is_not(None))
    )
    end = (await connection.execute(archived)).scalar_one()
    return last_day(key, end).as_of + timedelta(days=1) if end else None


def batch_end(first: int, history: Period, found: Sequence[VisibleRange]) -> int:
    """Return the index after the days to read together: some, or all of the first one's windows.

    A query reads all movements of the windows that it touches, so a long window is read in one.
    """
    day = Period(history.zone, history.day(first), 1).window
    last = max(each.end for each in found if each.start < day.end and each.end > day.start)
    reached = (min(last, history.window.end).astimezone(history.zone).date() - history.first).days
    return max(first + DAYS_AT_A_TIME, reached)

"""The activity of a warehouse's SKUs by local day: a rollup of the published movements, kept up to date.

Days that are out of date (`rollup_days`) are made from movements again, a few at a time (`rollup_making`);
all others are only read (`rollup_reading`).
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator, Sequence
from contextlib import aclosing, contextmanager
from datetime import datetime
from typing import TYPE_CHECKING, Any

from sqlalchemy import and_, delete, insert, select
from sqlalchemy.ext.asyncio import AsyncConnection

from sku_velocity.errors import StoreUnavailableError, VelocityError
from sku_velocity.model.activity import ALL_TYPES, PICK, Activity
from sku_velocity.model.calendar import Period
from sku_velocity.store.database import WRITERS, Database, Repository, lock
from sku_velocity.store.errors import database_errors
from sku_velocity.store.rollup_days import (
    DAYS_AT_A_TIME,
    RollupKey,
    batch_end,
    counted_windows,
    first_countable,
    history_of,
    last_day,
    midnight,
    read_ranges,
    read_stored_days,
    stale_days,
    stored_key,
)
from sku_velocity.store.rollup_making import MadeDay, make_days
from sku_velocity.store.rollup_reading import read_daily, read_hourly, read_last_year
from sku_velocity.store.tables import microseconds, rollup_days, rollups

if TYPE_CHECKING:  # a store that is only written to does not need it
    import pyarrow as pa

ATTEMPTS = 10  # at reading a rollup that others are publishing into

days = rollup_days.c


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
        key = RollupKey.counting(source, warehouse, period.zone.key, count_types)
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
            key = await stored_key(connection, source, warehouse)
        if key:
            await self._update(key, last_day(key, until))

    async def _update(self, key: RollupKey, period: Period) -> None:
        """Make the days again that are out of date, up to the period's last."""
        async with self.database.snapshot() as connection:
            found = await read_ranges(connection, key, period)
            history = history_of(found, period)
            stale = stale_days(history, found, await read_stored_days(connection, key))
        while stale:
            until = batch_end(stale[0], history, found)
            some = [index for index in stale if index < until]
            stale = stale[len(some) :]
            span = Period(history.zone, history.day(some[-1]), some[-1] - some[0] + 1)
            wanted = {history.day(index) for index in some}
            with _translating_overflow(key):
                async with (
                    self._making,
                    self.database.snapshot() as connection,
                    aclosing(make_days(connection, key, span, wanted)) as making,
                ):
                    made: list[MadeDay] = []
                    async for day in making:
                        made.append(day)
                        if len(made) == DAYS_AT_A_TIME:
                            await self._store(key, made)
                            made = []
            if made:
                await self._store(key, made)

    async def _store(self, key: RollupKey, made: Sequence[MadeDay]) -> None:
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
            since = row.counted_from if row else await first_countable(connection, key)
            if row and row.definition != key.definition:
                await connection.execute(delete(rollup_days).where(key.of(rollup_days)))
                since = await first_countable(connection, key)
                # By what was counted before: of archived movements, nothing else is known.
                firsts = (
                    before_instant(firsts, microseconds(midnight(key, since)))
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

    async def _read(self, key: RollupKey, period: Period) -> Activity | None:
        """Return the activity of a period from the rollup; None if that is out of date."""
        async with self.database.snapshot() as connection:
            found = await read_ranges(connection, key, period)
            history = history_of(found, period)
            rollup = await read_stored_days(connection, key)
            if stale_days(history, found, rollup):
                return None
            inside = [each for each in found if each.end > period.window.start]
            counted = counted_windows(key, history, found, rollup)
            daily = await read_daily(connection, key, period)
            hourly = await read_hourly(connection, key, period)
            last_year = await read_last_year(connection, key, period, counted, daily)
        types = key.count_types or ([PICK] if any(each.has_types for each in inside) else [ALL_TYPES])
        windows = [each for each in counted if each.end > period.window.start]
        return Activity(daily, hourly, windows, None if ALL_TYPES in types else types, last_year)


async def _first_of_days(connection: AsyncConnection, key: RollupKey, wanted: pa.Array) -> list[pa.Table]:
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


def _values(key: RollupKey, each: MadeDay) -> dict[str, Any]:
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


@contextmanager
def _translating_overflow(key: RollupKey) -> Iterator[None]:
    try:
        yield
    except database_errors() as error:
        if any(phrase in str(error) for phrase in ("integer overflow", "bigint out of range")):
            raise VelocityError(
                f"the sum of units_moved of {key.warehouse} from {key.source} exceeds 64 bits: look for "
                "movements with impossible units_moved, correct them in the source, and sync again"
            ) from error
        raise

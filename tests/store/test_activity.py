"""The database's grouping by SKU and local day, checked against row-by-row grouping in Python."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from sqlalchemy import text

from sku_velocity.errors import VelocityError
from sku_velocity.model.activity import Activity
from sku_velocity.model.calendar import Period
from sku_velocity.model.movement import MAX_UNITS
from sku_velocity.model.run import NO_WAREHOUSE
from sku_velocity.model.window import Window
from sku_velocity.store import Store
from sku_velocity.store.database import Database
from tests.support.published_store import Moved, publish

pytestmark = pytest.mark.anyio

AS_OF = {  # just after a change of the clocks
    "Europe/Berlin": date(2026, 4, 1),
    "America/New_York": date(2026, 11, 3),
    "Asia/Kolkata": date(2026, 4, 1),
    "Australia/Lord_Howe": date(2026, 4, 6),
    "America/St_Johns": date(2006, 11, 1),
    "Pacific/Apia": date(2012, 1, 2),
    "UTC": date(1969, 12, 31),
}
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
BERLIN = Period(ZoneInfo("Europe/Berlin"), AS_OF["Europe/Berlin"], 7)


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def cells(activity: Activity) -> dict[tuple[str, int], tuple[int, int]]:
    """Return (units, lines) by (SKU, day)."""
    daily = activity.daily
    columns = (daily.codes, daily.days, daily.units, daily.lines)
    rows = zip(*(column.tolist() for column in columns), strict=True)
    return {(daily.skus[code], day): (units, lines) for code, day, units, lines in rows}


def random_rows(period: Period, number: int, seed: int) -> list[Moved]:
    """Return movements of the period and a day around it, many near midnights, to the microsecond."""
    draw = random.Random(seed)
    bounds = [interval.start for interval in period.intervals(3600)]
    near = [timedelta(microseconds=n) for n in (-1, 0, 1, -400, 999_999)]
    return [
        (
            f"SKU-{draw.randrange(20)}",
            draw.randrange(100),
            draw.choice(bounds)
            + (draw.choice(near) if draw.random() < 0.5 else draw.uniform(-86400, 86400) * SECOND),
        )
        for _ in range(number)
    ]


SECOND = timedelta(seconds=1)


def group_in_python(
    rows: Sequence[Moved], period: Period
) -> tuple[dict[tuple[str, int], tuple[int, int]], Counter[int]]:
    days: dict[tuple[str, int], tuple[int, int]] = {}
    hours: Counter[int] = Counter()
    for sku, units, instant in rows:
        local = instant.astimezone(period.zone).replace(tzinfo=None)
        day = (local.date() - period.first).days
        if 0 <= day < period.days:
            so_far = days.get((sku, day), (0, 0))
            days[sku, day] = (so_far[0] + units, so_far[1] + 1)
            hours[day * 24 + local.hour] += units
    return days, hours


@pytest.mark.parametrize("zone", AS_OF)
async def test_days_and_hours_follow_the_local_clock(store: Store, zone: str) -> None:
    period = Period(ZoneInfo(zone), AS_OF[zone], 7)
    rows = random_rows(period, 2000, seed=len(zone))
    await publish(store, rows, Window.everything())
    activity = await store.activity.of("acme", "WH-01", period)
    days, hours = group_in_python(rows, period)
    assert cells(activity) == days and activity.hourly == dict(hours)


async def test_each_sku_has_its_last_movement_to_the_microsecond(store: Store) -> None:
    last = at("2026-03-30T21:59:59.999999")
    rows = [("A", 1, last), ("A", 1, at("2026-03-30T10:00")), ("B", 1, at("2026-03-27T00:00:00.000001"))]
    await publish(store, rows, Window.everything())
    daily = (await store.activity.of("acme", "WH-01", BERLIN)).daily
    instants = [EPOCH + timedelta(microseconds=each) for each in daily.last.tolist()]
    assert dict(zip(daily.skus, instants, strict=True)) == {"A": last, "B": rows[2][2]}


async def test_only_published_movements_of_the_source_and_warehouse_count(store: Store) -> None:
    old, new = at("2026-03-28T10:00"), at("2026-03-28T12:00")
    await publish(store, [("A", 1, old), ("A", 2, new)], Window(at("2026-03-28"), at("2026-03-29")))
    await publish(store, [("A", 5, new)], Window(at("2026-03-28T11:00"), at("2026-03-29")))
    await publish(store, [("A", 50, new)], Window.everything(), warehouse="WH-02")
    await publish(store, [("A", 50, new)], Window.everything(), source="other")
    activity = await store.activity.of("acme", "WH-01", BERLIN)
    assert cells(activity) == {("A", 2): (6, 2)}
    published = sorted((window.start, window.end) for window in activity.published)
    assert published == [
        (at("2026-03-28"), at("2026-03-28T11:00")),
        (at("2026-03-28T11:00"), at("2026-03-29")),
    ]


async def test_windows_outside_the_period_are_left_out(store: Store) -> None:
    await publish(store, [], Window(at("2026-01-01"), at("2026-01-02")))
    await publish(store, [], Window(at("2026-03-30"), at("2026-05-02")))
    activity = await store.activity.of("acme", "WH-01", BERLIN)
    assert [window.start for window in activity.published] == [at("2026-03-30")]
    assert (activity.hourly, len(activity.daily.skus), len(activity.daily.codes)) == ({}, 0, 0)


async def test_a_sum_that_exceeds_64_bits_names_the_cause(store: Store) -> None:
    await publish(store, [("A", MAX_UNITS, at("2026-03-30"))] * 2, Window.everything())
    with pytest.raises(VelocityError, match="units_moved"):
        await store.activity.of("acme", "WH-01", BERLIN)


async def test_each_published_warehouse_is_listed_once_without_masters(store: Store) -> None:
    await publish(store, [], Window.everything(), NO_WAREHOUSE, source="erp")
    for day in (1, 2):
        for warehouse in ("WH-02", "WH-01"):
            await publish(store, [], Window(at(f"2026-03-0{day}"), at(f"2026-03-0{day + 1}")), warehouse)
    assert await store.publications.warehouses() == [("acme", "WH-01"), ("acme", "WH-02")]


async def test_a_snapshot_ignores_what_is_published_meanwhile(store: Store, store_url: str) -> None:
    count = text("SELECT count(*) FROM published_movements")
    database = Database(store_url)
    async with database.snapshot() as connection:
        before = (await connection.execute(count)).scalar_one()
        await publish(store, [("A", 1, at("2026-03-30"))], Window.everything())
        assert (await connection.execute(count)).scalar_one() == before == 0
    async with database.reading() as connection:  # the connection is back to its default isolation
        assert (await connection.execute(count)).scalar_one() == 1
    await database.close()

"""The rollup of daily activity equals the published movements, whatever changed since it was made."""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from itertools import count
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from sku_velocity.model.activity import Activity
from sku_velocity.model.calendar import Period
from sku_velocity.model.chunk import Chunk, Page, PageResult
from sku_velocity.model.movement import MovementRow
from sku_velocity.model.run import SyncRun
from sku_velocity.model.window import Window
from sku_velocity.steps.prune import prune_store
from sku_velocity.steps.replay import replay_run
from sku_velocity.store import Store, rollup_days, rollup_making
from sku_velocity.store import activity as module
from sku_velocity.store.pruning import Cutoffs
from tests.support.dead_letters import OPEN, dead_letter, fixed_spec, land_run
from tests.support.published_store import publish, table

pytestmark = pytest.mark.anyio

EPOCH, START = datetime(1970, 1, 1, tzinfo=UTC), datetime(2026, 3, 20, tzinfo=UTC)
NOW = datetime(2030, 1, 1, tzinfo=UTC)
DAYS = 20
ZONES = ("UTC", "Europe/Berlin", "Pacific/Apia", "America/St_Johns")
TYPES: tuple[tuple[str, ...] | None, ...] = (None, None, None, ("pick",), ("all",), ("pick", "receipt"))
PUBLISHED = """
SELECT m.sku_id, m.units_moved, m.timestamp_utc, m.order_id, m.movement_type, r.has_types
FROM published_movements m JOIN sync_runs r ON r.run_id = m.run_id
WHERE m.source = 'acme' AND m.warehouse_id = 'WH-01'
"""


@dataclass
class Sums:
    """What a SKU moved on a day."""

    units: int = 0
    lines: int = 0
    orders: set[str] = field(default_factory=set)

    def add(self, units: int, order: str | None) -> None:
        self.units, self.lines = self.units + units, self.lines + 1
        self.orders |= {order} if order else set()


@dataclass(frozen=True)
class Expected:
    """What the published movements say: sums by SKU and day, units by hour, first and last movements."""

    daily: Mapping[tuple[str, int], tuple[int, int, int]]
    hourly: Mapping[int, int]
    first: Mapping[str, datetime]
    last: Mapping[str, datetime]


def as_datetime(value: Any) -> datetime:
    return datetime.fromisoformat(value) if isinstance(value, str) else value


async def expected(url: str, period: Period, types: Sequence[str] | None) -> Expected:
    daily: dict[tuple[str, int], Sums] = defaultdict(Sums)
    hourly: dict[int, int] = defaultdict(int)
    first: dict[str, datetime] = {}
    last: dict[str, datetime] = {}
    for sku, units, instant, order, kind, has_types in await table(url, PUBLISHED):
        counted = kind == "pick" or not has_types if types is None else "all" in types or kind in types
        at = as_datetime(instant)
        local = at.astimezone(period.zone).replace(tzinfo=None)
        day = (local.date() - period.first).days
        if counted and day < period.days:
            first[sku] = min(first.get(sku, at), at)
            if day >= 0:
                daily[sku, day].add(units, order)
                hourly[day * 24 + local.hour] += units
                last[sku] = max(last.get(sku, at), at)
    sums = {key: (each.units, each.lines, len(each.orders)) for key, each in daily.items()}
    return Expected(sums, hourly, {sku: first[sku] for sku in last}, last)


def as_expected(activity: Activity) -> Expected:
    daily = activity.daily
    columns = (daily.codes, daily.days, daily.units, daily.lines, daily.orders)
    rows = zip(*(column.tolist() for column in columns), strict=True)
    sums = {(daily.skus[code], day): tuple(rest) for code, day, *rest in rows}
    first, last = (
        {sku: EPOCH + timedelta(microseconds=at) for sku, at in zip(daily.skus, each.tolist(), strict=True)}
        for each in (daily.first, daily.last)
    )
    return Expected(sums, activity.hourly, first, last)  # type: ignore[arg-type]


async def publish_window(store: Store, draw: random.Random, number: int) -> None:
    """Publish a window of up to ten days, in place of what is there."""
    start = START + timedelta(hours=draw.randrange(24 * DAYS))
    window = Window(start, start + timedelta(hours=draw.choice([1, 6, 24, 72, 240])))
    seconds = (window.end - window.start).total_seconds()
    rows = [
        MovementRow(
            position,
            None,
            f"SKU-{draw.randrange(12)}",
            "WH-01",
            draw.randrange(50),
            window.start + timedelta(seconds=draw.randrange(int(seconds))),
            movement_type=draw.choice(["pick", "receipt", None]),
            order_id=draw.choice([None, f"O-{draw.randrange(9)}"]) if number % 3 else None,
        )
        for position in range(draw.randrange(40))
    ]
    has_types = draw.random() < 0.5
    run = SyncRun(f"run-{number}", "acme", "WH-01", window, len(rows), has_types=has_types)
    await store.runs.begin(run, [Chunk(0, 0, len(rows), len(rows))] if rows else [])
    if rows:
        await store.chunks.land_page(run.id, 0, PageResult(Page(0, len(rows)), len(rows), rows, []))
    await store.publications.publish(run.id, "{}")


@pytest.mark.parametrize("seed", range(2))
async def test_it_equals_the_movements_after_any_changes(
    store: Store, store_url: str, seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rollup_making, "PARTITION", 7)  # rows, so that days continue in the next one
    for each in (module, rollup_days):
        monkeypatch.setattr(each, "DAYS_AT_A_TIME", 3)
    draw, numbers = random.Random(seed), count()
    zone, types, rejecting = "UTC", None, None
    for _ in range(25):
        for _ in range(draw.choice([0, 1, 1, 3])):
            await publish_window(store, draw, next(numbers))
        if rejecting:  # its rejects are published after a refresh has seen it
            await replay_run(store, fixed_spec(), rejecting, OPEN, "jane")
        rejecting = None
        if draw.random() < 0.2:
            rejecting = await land_run(store, f"run-{next(numbers)}", {n: dead_letter(n) for n in (3, 12)})
        if draw.random() < 0.2:
            await prune_store(store, Cutoffs(NOW, NOW, NOW, date(2030, 1, 1)))
        if draw.random() < 0.2:
            zone, types = draw.choice(ZONES), draw.choice(TYPES)
        as_of = START.date() + timedelta(days=draw.randrange(5, DAYS + 5))
        period = Period(ZoneInfo(zone), as_of, 30)
        activity = await store.activity.of("acme", "WH-01", period, types)
        assert as_expected(activity) == await expected(store_url, period, types)


async def test_only_changed_days_are_made_again(
    store: Store, store_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[Any] = []
    make_days = module.make_days

    async def counted(*arguments: Any) -> Any:
        async for day in make_days(*arguments):
            made.append(day)
            yield day

    monkeypatch.setattr(module, "make_days", counted)
    days = [Window(START + timedelta(days=n), START + timedelta(days=n + 1)) for n in range(10)]
    for day in days:
        await publish(store, [("A", 1, day.start + timedelta(hours=1))], day)
    period = Period(ZoneInfo("UTC"), (START + timedelta(days=9)).date(), 7)
    for _ in range(2):
        await store.activity.of("acme", "WH-01", period)
    assert len(made) == 10
    await publish(store, [("A", 5, days[4].start)], days[4])
    await publish(store, [("A", 5, days[4].start)], days[4], warehouse="WH-02")
    await store.activity.of("acme", "WH-01", period)
    assert len(made) == 11


async def test_a_sku_that_lost_its_first_movement_has_the_next_one(store: Store) -> None:
    days = [Window(START + timedelta(days=n), START + timedelta(days=n + 1)) for n in range(9)]
    for number, day in enumerate(days):
        rows = [("A", 1, day.start)] if number in (1, 4, 8) else []
        await publish(store, [*rows, ("B", 1, day.start)], day)
    period = Period(ZoneInfo("UTC"), (START + timedelta(days=8)).date(), 3)

    async def first() -> dict[str, datetime]:
        return dict(as_expected(await store.activity.of("acme", "WH-01", period)).first)

    assert await first() == {"A": days[1].start, "B": days[0].start}
    await publish(store, [("B", 1, days[1].start)], days[1])
    assert await first() == {"A": days[4].start, "B": days[0].start}
    await publish(store, [("A", 1, days[0].end - timedelta(seconds=1))], days[0])
    assert await first() == {"A": days[0].end - timedelta(seconds=1), "B": days[1].start}


async def test_an_older_reading_never_replaces_a_newer_one(
    store: Store, store_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    day = Window(START, START + timedelta(days=1))
    period = Period(ZoneInfo("UTC"), START.date(), 7)
    store_days, seen = module.Activities._store, []

    async def overtaken(self: Any, key: Any, made: Any) -> None:
        seen.append([each.publication for each in made])
        if len(seen) == 1:  # another refresh reads and stores a revision first
            await publish(store, [("B", 7, START)], day)
            await store.activity.of("acme", "WH-01", period)
        await store_days(self, key, made)

    monkeypatch.setattr(module.Activities, "_store", overtaken)
    await publish(store, [("A", 1, START)], day)
    activity = await store.activity.of("acme", "WH-01", period)
    assert seen == [[1], [2]]
    assert as_expected(activity) == await expected(store_url, period, None)
    assert activity.daily.skus.tolist() == ["B"]


async def test_a_long_window_is_read_once(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[date] = []
    make_days = module.make_days

    async def counted(connection: Any, key: Any, span: Period, wanted: Any) -> Any:
        read.append(span.first)
        async for day in make_days(connection, key, span, wanted):
            yield day

    monkeypatch.setattr(module, "make_days", counted)
    month = Window(START, START + timedelta(days=31))
    await publish(store, [("A", 1, START + timedelta(days=n)) for n in range(31)], month)
    period = Period(ZoneInfo("Europe/Berlin"), (START + timedelta(days=30)).date(), 31)
    activity = await store.activity.of("acme", "WH-01", period)
    assert (len(read), len(activity.daily.codes)) == (1, 31)

"""What the store tells whoever owns it, on a real SQLite file and a real PostgreSQL."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta

import pytest

from sku_velocity.model.chunk import Chunk, Page
from sku_velocity.model.run import RunState, SyncRun, Verdict
from sku_velocity.model.status import OpenRun, WarehouseStatus
from sku_velocity.model.window import Window
from sku_velocity.store import Store
from sku_velocity.store.database import Database
from tests.support.store_rows import (
    a_letter,
    a_page,
    a_row,
    a_run,
    execute,
    hour,
    hours,
    land_hourly,
    publish_hourly,
)

pytestmark = pytest.mark.anyio

REFUSED = (
    '{"checks": [{"name": "the total stood still", "passed": false, "detail": "4 before, 5 after"},'
    ' {"name": "every chunk landed", "passed": true, "detail": "1 of 1"}]}'
)


@pytest.fixture
async def store(store_url: str) -> AsyncIterator[Store]:
    async with Store.open(store_url) as opened:
        yield opened


async def only(store: Store) -> WarehouseStatus:
    [standing] = await store.statuses()
    return standing


async def plan_hour(store: Store, start: int, landed: int, chunks: int = 2) -> SyncRun:
    """A run of one hour, some chunks of which have landed."""
    run = a_run(hours(start, start + 1), total=chunks)
    await store.begin(run, [Chunk(index, index, 1, 1) for index in range(chunks)])
    for index in range(landed):
        await store.land_page(run.id, index, a_page(Page(index, 1), [a_row(index, hour(start))]))
    return run


async def test_an_empty_store_has_nothing_to_tell(store: Store) -> None:
    assert await store.statuses() == []


async def test_a_missed_schedule_is_a_gap(store: Store) -> None:
    for start in (0, 1, 4, 5, 9):
        await publish_hourly(store, hours(start, start + 1))
    standing = await only(store)
    assert standing.gaps == [hours(2, 4), hours(6, 9)]
    assert (standing.rows, standing.rejects, standing.span) == (5, 0, hours(0, 10))


async def test_each_warehouse_of_each_source_stands_for_itself(store: Store) -> None:
    for source, warehouse in (("b", "WH-01"), ("a", "WH-02"), ("a", "WH-01")):
        await store.begin(replace(a_run(warehouse=warehouse), source=source), [])
    told = [(each.coverage.source, each.coverage.warehouse) for each in await store.statuses()]
    assert told == [("a", "WH-01"), ("a", "WH-02"), ("b", "WH-01")]
    assert len(await store.statuses("a")) == 2 and len(await store.statuses("a", "WH-02")) == 1
    assert await store.statuses("a", "WH-09") == []


async def test_rows_of_a_run_that_was_cut_count_where_it_still_shows(store: Store) -> None:
    await publish_hourly(store, hours(0, 6))
    await publish_hourly(store, hours(2, 3))
    whole = await land_hourly(store, hours(4, 5), "WH-02")
    await store.publish(whole.id, "{}")
    assert [each.rows for each in await store.statuses()] == [6, 1]


async def test_rejects_are_those_of_what_is_published(store: Store) -> None:
    for again in range(2):  # the second supersedes the first
        run = a_run(hours(0, 1), total=2)
        await store.begin(run, [Chunk(0, 0, 2, 2)])
        await store.land_page(run.id, 0, a_page(Page(0, 2), [a_row(0, hour(0))], [a_letter(1)]))
        await store.publish(run.id, "{}")
        assert (await only(store)).rejects == 1, again
    assert (await only(store)).last_run.id == run.id


async def test_a_run_that_broke_off_is_open_with_the_reason(store: Store) -> None:
    run = await plan_hour(store, 3, landed=1)
    await store.fail_chunk(run.id, 1, "acme: HTTP 500 at 1")
    await store.refuse(run.id, '{"checks": []}')
    [broken] = (await only(store)).coverage.open_runs
    assert (broken.id, broken.state, broken.window) == (run.id, RunState.INCOMPLETE, hours(3, 4))
    assert (broken.chunks, broken.landed, broken.reason) == (2, 1, "acme: HTTP 500 at 1")
    assert broken.is_resumable and not broken.blames_the_source


async def test_a_run_that_was_refused_tells_where_the_proof_broke(store: Store) -> None:
    run = await land_hourly(store, hours(0, 4))
    await store.refuse(run.id, REFUSED)
    standing = await only(store)
    assert standing.last_run.verdict is Verdict.INCOMPLETE
    assert standing.coverage.open_runs[0].reason == "the total stood still: 4 before, 5 after"
    assert not standing.coverage.open_runs[0].is_resumable and standing.complete_until is None


async def test_a_run_without_a_chunk_is_open_too(store: Store) -> None:
    await store.begin(a_run(total=0), [])
    [run] = (await only(store)).coverage.open_runs
    assert (run.chunks, run.landed, run.reason) == (0, 0, None)


async def test_a_later_run_settles_an_open_one_and_an_earlier_does_not(store: Store) -> None:
    await publish_hourly(store, hours(0, 1))
    await plan_hour(store, 0, landed=0)
    assert len((await only(store)).coverage.open_runs) == 1
    await publish_hourly(store, hours(0, 2))
    standing = await only(store)
    assert standing.coverage.open_runs == [] and standing.last_run.state is RunState.PUBLISHED


async def test_a_run_stands_still_once_no_chunk_has_landed_for_an_hour(store: Store, store_url: str) -> None:
    await plan_hour(store, 0, landed=1)
    [run] = (await only(store)).coverage.open_runs
    assert run.active_at.tzinfo is not None
    assert run.is_being_read(run.active_at + timedelta(minutes=59))
    assert not run.is_being_read(run.active_at + timedelta(hours=1))
    database = Database(store_url)
    await execute(database, "UPDATE sync_runs SET created_at = '2026-03-01T00:00:00.000000+00:00'")
    await database.close()
    assert (await only(store)).coverage.open_runs[0].active_at == run.active_at  # its chunk landed since


async def test_the_lag_is_from_the_newest_end_or_from_when_it_was_read(store: Store, store_url: str) -> None:
    await publish_hourly(store, hours(0, 4))
    database = Database(store_url)
    for began, lag in (("2026-03-01T05:00:00", 6), ("2026-03-01T03:00:00", 7)):
        await execute(database, f"UPDATE sync_runs SET created_at = '{began}.000000+00:00'")
        assert (await only(store)).lag(hour(10)) == timedelta(hours=lag)
    await database.close()


async def test_a_window_is_late_after_twice_the_newest_and_two_hours_at_least(store: Store) -> None:
    await publish_hourly(store, hours(0, 4))
    standing = replace(await only(store), read_at=hour(4))
    assert standing.is_late(hour(12.1)) and not standing.is_late(hour(12))
    await publish_hourly(store, hours(4, 4.5))
    standing = replace(await only(store), read_at=hour(5))
    assert standing.is_late(hour(6.6)) and not standing.is_late(hour(6.5))


async def test_what_was_read_whole_is_behind_but_never_late(store: Store) -> None:
    await publish_hourly(store, Window.everything())
    standing = replace(await only(store), read_at=hour(0))
    assert standing.lag(hour(50)) == timedelta(hours=50) and not standing.is_late(hour(50))
    assert standing.gaps == []


async def test_the_coverage_of_a_span_knows_what_touches_it(store: Store) -> None:
    for start in (0, 2, 8):
        await publish_hourly(store, hours(start, start + 1))
    for start in (3, 9):
        await plan_hour(store, start, landed=1)
    coverage = await store.coverage("acme", "WH-01", hours(1, 6))
    assert [each.window for each in coverage.published] == [hours(2, 3)]
    assert [each.window for each in coverage.open_runs] == [hours(3, 4)]
    assert coverage.gaps(hours(1, 6)) == [hours(1, 2), hours(3, 6)]


def test_too_many_rejects_are_blamed_on_the_source() -> None:
    broken = (("rejects within the limit", "30 of 100"),)
    run = OpenRun(1, "x", hours(0, 1), RunState.INCOMPLETE, hour(1), 1, 1, broken=broken)
    assert run.blames_the_source and not run.is_resumable

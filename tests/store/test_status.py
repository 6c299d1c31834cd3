"""Warehouse statuses and coverage, on a real SQLite file and a real PostgreSQL."""

from __future__ import annotations

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
    '{"checks": [{"name": "the total is unchanged", "passed": false, "detail": "4 before, 5 after"},'
    ' {"name": "every chunk landed", "passed": true, "detail": "1 of 1"}]}'
)


async def only(store: Store) -> WarehouseStatus:
    [status] = await store.status.of_warehouses()
    return status


async def plan_hour(store: Store, start: int, landed: int, chunks: int = 2) -> SyncRun:
    """Plan a run of one hour, and land some of its chunks."""
    run = a_run(hours(start, start + 1), total=chunks)
    await store.runs.begin(run, [Chunk(index, index, 1, 1) for index in range(chunks)])
    for index in range(landed):
        await store.chunks.land_page(run.id, index, a_page(Page(index, 1), [a_row(index, hour(start))]))
    return run


async def test_an_empty_store_has_no_statuses(store: Store) -> None:
    assert await store.status.of_warehouses() == []


async def test_a_missed_schedule_is_a_gap(store: Store) -> None:
    for start in (0, 1, 4, 5, 9):
        await publish_hourly(store, hours(start, start + 1))
    status = await only(store)
    assert status.gaps == [hours(2, 4), hours(6, 9)]
    assert (status.rows, status.rejects, status.span) == (5, 0, hours(0, 10))


async def test_a_first_window_that_was_not_published_is_a_gap(store: Store) -> None:
    await plan_hour(store, 1, landed=1)
    await publish_hourly(store, hours(2, 3))
    status = await only(store)
    assert status.gaps == [hours(1, 2)]
    await publish_hourly(store, hours(1, 2))
    assert (await only(store)).gaps == []


async def test_each_warehouse_of_each_source_has_its_own_status(store: Store) -> None:
    for source, warehouse in (("b", "WH-01"), ("a", "WH-02"), ("a", "WH-01")):
        await store.runs.begin(replace(a_run(warehouse=warehouse), source=source), [])
    places = [(each.coverage.source, each.coverage.warehouse) for each in await store.status.of_warehouses()]
    assert places == [("a", "WH-01"), ("a", "WH-02"), ("b", "WH-01")]
    assert (
        len(await store.status.of_warehouses("a")) == 2
        and len(await store.status.of_warehouses("a", "WH-02")) == 1
    )
    assert await store.status.of_warehouses("a", "WH-09") == []


async def test_rows_of_a_cut_run_count_in_its_published_ranges(store: Store) -> None:
    await publish_hourly(store, hours(0, 6))
    await publish_hourly(store, hours(2, 3))
    whole = await land_hourly(store, hours(4, 5), "WH-02")
    await store.publications.publish(whole.id, "{}")
    assert [each.rows for each in await store.status.of_warehouses()] == [6, 1]


async def test_rejects_are_those_of_published_runs(store: Store) -> None:
    for again in range(2):  # the second supersedes the first
        run = a_run(hours(0, 1), total=2)
        await store.runs.begin(run, [Chunk(0, 0, 2, 2)])
        await store.chunks.land_page(run.id, 0, a_page(Page(0, 2), [a_row(0, hour(0))], [a_letter(1)]))
        await store.publications.publish(run.id, "{}")
        assert (await only(store)).rejects == 1, again
    assert (await only(store)).last_run.id == run.id


async def test_an_interrupted_run_is_open_with_the_reason(store: Store) -> None:
    run = await plan_hour(store, 3, landed=1)
    await store.chunks.fail(run.id, 1, "acme: HTTP 500 at 1")
    await store.runs.refuse(run.id, '{"checks": []}')
    [broken] = (await only(store)).coverage.open_runs
    assert (broken.id, broken.state, broken.window) == (run.id, RunState.INCOMPLETE, hours(3, 4))
    assert (broken.chunks, broken.landed, broken.reason) == (2, 1, "acme: HTTP 500 at 1")
    assert broken.is_resumable and not broken.blames_the_source


async def test_a_refused_run_reports_the_failed_check(store: Store) -> None:
    run = await land_hourly(store, hours(0, 4))
    await store.runs.refuse(run.id, REFUSED)
    status = await only(store)
    assert status.last_run.verdict is Verdict.INCOMPLETE
    assert status.coverage.open_runs[0].reason == "the total is unchanged: 4 before, 5 after"
    assert not status.coverage.open_runs[0].is_resumable and status.complete_until is None


async def test_a_run_without_a_chunk_is_open_too(store: Store) -> None:
    await store.runs.begin(a_run(total=0), [])
    [run] = (await only(store)).coverage.open_runs
    assert (run.chunks, run.landed, run.reason) == (0, 0, None)


async def test_a_later_run_settles_an_open_one_and_an_earlier_does_not(store: Store) -> None:
    await publish_hourly(store, hours(0, 1))
    await plan_hour(store, 0, landed=0)
    assert len((await only(store)).coverage.open_runs) == 1
    await publish_hourly(store, hours(0, 2))
    status = await only(store)
    assert status.coverage.open_runs == [] and status.last_run.state is RunState.PUBLISHED


async def test_a_run_is_stalled_once_no_chunk_has_landed_for_an_hour(store: Store, store_url: str) -> None:
    await plan_hour(store, 0, landed=1)
    [run] = (await only(store)).coverage.open_runs
    assert run.active_at.tzinfo is not None
    assert run.is_being_read(run.active_at + timedelta(minutes=59))
    assert not run.is_being_read(run.active_at + timedelta(hours=1))
    database = Database(store_url)
    await execute(database, "UPDATE sync_runs SET created_at = '2026-03-01T00:00:00.000000+00:00'")
    await database.close()
    assert (await only(store)).coverage.open_runs[0].active_at == run.active_at  # its chunk has landed since


async def test_the_lag_counts_from_the_newest_end_or_from_when_it_was_read(
    store: Store, store_url: str
) -> None:
    await publish_hourly(store, hours(0, 4))
    database = Database(store_url)
    for began, lag in (("2026-03-01T05:00:00", 6), ("2026-03-01T03:00:00", 7)):
        await execute(database, f"UPDATE sync_runs SET created_at = '{began}.000000+00:00'")
        assert (await only(store)).lag(hour(10)) == timedelta(hours=lag)
    await database.close()


async def test_a_window_is_late_after_twice_the_newest_window_and_at_least_two_hours(store: Store) -> None:
    await publish_hourly(store, hours(0, 4))
    status = replace(await only(store), read_at=hour(4))
    assert status.is_late(hour(12.1)) and not status.is_late(hour(12))
    await publish_hourly(store, hours(4, 4.5))
    status = replace(await only(store), read_at=hour(5))
    assert status.is_late(hour(6.6)) and not status.is_late(hour(6.5))


async def test_the_freshness_of_each_warehouse_is_that_of_its_newest_range(store: Store) -> None:
    for number, warehouse in enumerate(("WH-01", "WH-02")):
        for end in (4, 8 + number, 2):
            await publish_hourly(store, hours(end - 1, end), warehouse=warehouse)
    found = await store.status.freshness("acme")
    assert [each.newest.window for each in found] == [hours(7, 8), hours(8, 9)]
    assert found == [status.freshness for status in await store.status.of_warehouses("acme")]
    assert await store.status.freshness("acme", ["WH-02", "WH-03"]) == found[1:]
    assert await store.status.freshness("other") == []


async def test_an_unbounded_window_lags_but_is_never_late(store: Store) -> None:
    await publish_hourly(store, Window.everything())
    status = replace(await only(store), read_at=hour(0))
    assert status.lag(hour(50)) == timedelta(hours=50) and not status.is_late(hour(50))
    assert status.gaps == []


async def test_the_coverage_of_a_span_contains_the_runs_that_overlap_it(store: Store) -> None:
    for start in (0, 2, 8):
        await publish_hourly(store, hours(start, start + 1))
    for start in (3, 9):
        await plan_hour(store, start, landed=1)
    coverage = await store.status.coverage("acme", "WH-01", hours(1, 6))
    assert [each.window for each in coverage.published] == [hours(2, 3)]
    assert [each.window for each in coverage.open_runs] == [hours(3, 4)]
    assert coverage.gaps(hours(1, 6)) == [hours(1, 2), hours(3, 6)]


def test_too_many_rejects_are_blamed_on_the_source() -> None:
    broken = (("rejects within the limit", "30 of 100"),)
    run = OpenRun(1, "x", hours(0, 1), RunState.INCOMPLETE, hour(1), 1, 1, broken=broken)
    assert run.blames_the_source and not run.is_resumable

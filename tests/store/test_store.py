"""The store on a real SQLite file and a real PostgreSQL: landing pages and publishing windows."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime

import asyncpg
import pytest
from asyncpg.exceptions import UniqueViolationError
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import text
from sqlalchemy.exc import IntegrityError

from sku_velocity.errors import ConfigurationError, IncompleteWindowError, StoreConfigurationError
from sku_velocity.model.chunk import Chunk, ChunkProgress, ChunkState, Page
from sku_velocity.model.dead_letter import DeadLetterFilter
from sku_velocity.model.movement import DeadLetter, MovementRow, Reason
from sku_velocity.model.run import RunState, SyncRun
from sku_velocity.model.window import Window, cut_out
from sku_velocity.store import Store
from sku_velocity.store.chunk_rows import append_chunks, lock_chunk
from sku_velocity.store.database import Database
from sku_velocity.store.tables import UtcDateTime
from tests.support.store_rows import (
    HOURS,
    REPORT,
    _ids,
    a_letter,
    a_page,
    a_row,
    a_run,
    execute,
    hour,
    hours,
    land,
    land_hourly,
    publish_hourly,
    query,
)

pytestmark = pytest.mark.anyio


async def published(database: Database, warehouse: str = "WH-01") -> list[tuple[datetime, str]]:
    """Return the published rows of a warehouse as (instant, run), in order."""
    sql = "SELECT timestamp_utc, run_id FROM published_movements WHERE warehouse_id = :w ORDER BY 1, 2"
    statement = text(sql).columns(timestamp_utc=UtcDateTime)
    async with database.reading() as connection:
        rows = await connection.execute(statement, {"w": warehouse})
        return [(row.timestamp_utc, row.run_id) for row in rows]


async def state_of(store: Store, run: SyncRun) -> RunState:
    found = await store.runs.find(run.id)
    assert found is not None
    return found.state


async def test_a_run_and_its_plan_are_read_back_unchanged(store: Store) -> None:
    run = a_run(Window.everything(), total=25)
    plan = [Chunk(0, 0, 20, 10), Chunk(1, 20, 5, 10)]
    await store.runs.begin(run, plan)
    assert await store.runs.find(run.id) == run
    planned = [ChunkProgress(chunk, ChunkState.PLANNED, next_offset=chunk.offset) for chunk in plan]
    assert await store.chunks.of(run.id) == planned


async def test_a_run_is_found_by_its_flow_run_too(store: Store) -> None:
    run, other = replace(a_run(), flow_run_id="flow-1"), replace(a_run(), flow_run_id="flow-2")
    for each in (run, other):
        await store.runs.begin(each, [])
    assert await store.runs.find("flow-1") == await store.runs.find(run.id) == run


async def test_a_flow_run_with_several_runs_is_ambiguous_and_the_error_names_them(store: Store) -> None:
    first, second = (replace(a_run(), flow_run_id="flow-1") for _ in range(2))
    for each in (first, second):
        await store.runs.begin(each, [])
    with pytest.raises(ConfigurationError, match=f"flow run flow-1 .*{first.id} .*{second.id} "):
        await store.runs.find("flow-1")
    assert await store.runs.find(second.id) == replace(second, plan_number=2)


async def test_a_dead_letter_has_its_runs_id_and_is_found_by_the_flow_run_too(store: Store) -> None:
    run = replace(a_run(total=1), flow_run_id="flow-1")
    await store.runs.begin(run, [Chunk(0, 0, 1, 1)])
    await store.chunks.land_page(run.id, 0, a_page(Page(0, 1), [], [a_letter(0)]))
    for id in (run.id, "flow-1"):
        [found] = await store.dead_letters.read(DeadLetterFilter(run=id))
        assert found.run == run.id


async def test_an_unknown_run_has_no_data(store: Store) -> None:
    assert await store.runs.find("nobody") is None
    assert await store.chunks.of("nobody") == []
    assert await store.dead_letters.of("nobody") == []


async def test_an_operation_on_an_unknown_run_is_an_error_that_names_it(store: Store) -> None:
    for operation in (store.publications.publish("nobody", "{}"), store.runs.refuse("nobody", "{}")):
        with pytest.raises(StoreConfigurationError, match="no run nobody"):
            await operation
    with pytest.raises(StoreConfigurationError, match="no chunk 3 of run nobody"):
        await store.chunks.progress("nobody", 3)


async def test_a_run_that_begins_twice_keeps_its_first_plan(store: Store) -> None:
    run = a_run()
    await store.runs.begin(run, [Chunk(0, 0, 4, 4)])
    await store.runs.begin(replace(run, total=99), [Chunk(0, 0, 50, 50), Chunk(1, 50, 49, 50)])
    assert await store.runs.find(run.id) == run
    assert [progress.chunk.size for progress in await store.chunks.of(run.id)] == [4]


async def test_two_workers_that_begin_one_run_insert_it_once(store: Store, store_url: str) -> None:
    run = a_run()
    async with Store.open(store_url) as other:
        await asyncio.gather(*(one.runs.begin(run, [Chunk(0, 0, 4, 4)]) for one in (store, other) * 3))
    assert len(await store.chunks.of(run.id)) == 1


async def test_a_run_whose_plan_cannot_be_inserted_is_not_stored(store: Store) -> None:
    run = a_run()
    with pytest.raises(IntegrityError):
        await store.runs.begin(run, [Chunk(0, 0, 4, 4), Chunk(0, 4, 4, 4)])
    assert await store.runs.find(run.id) is None


async def test_each_finished_attempt_is_counted(store: Store) -> None:
    run = a_run()
    await store.runs.begin(run, [Chunk(0, 0, 4, 2)])
    await store.chunks.fail(run.id, 0, "the source is unavailable")
    assert (await store.chunks.progress(run.id, 0)).attempts == 1
    await store.chunks.land_page(run.id, 0, a_page(Page(0, 2), [a_row(0), a_row(1)]))
    assert (await store.chunks.progress(run.id, 0)).attempts == 1
    assert (await store.chunks.land_page(run.id, 0, a_page(Page(2, 2), [a_row(2), a_row(3)]))).attempts == 2


async def test_a_chunk_lands_with_its_last_page(store: Store) -> None:
    run = a_run()
    await store.runs.begin(run, [Chunk(0, 0, 4, 2)])
    first = await store.chunks.land_page(run.id, 0, a_page(Page(0, 2), [a_row(0)], [a_letter(1)]))
    assert (first.state, first.next_offset) == (ChunkState.PLANNED, 2)
    second = replace(a_page(Page(2, 2), [a_row(2)]), requests=3, retried=2, throttled=1)
    last = await store.chunks.land_page(run.id, 0, second)
    assert (last.state, last.next_offset, last.fetched) == (ChunkState.LANDED, 4, 4)
    assert (last.loaded, last.rejected, last.trimmed) == (2, 1, 1)
    assert (last.requests, last.retried, last.throttled, last.seconds) == (4, 2, 1, 1.0)
    assert await store.chunks.of(run.id) == [last]


async def test_unmapped_fields_add_up_over_the_pages(store: Store) -> None:
    run = a_run()
    await store.runs.begin(run, [Chunk(0, 0, 2, 1)])
    for position, extra in enumerate([{"lot": 1}, {"lot": 1, "bin": 1}]):
        page = replace(a_page(Page(position, 1), [a_row(position)]), extra_fields=extra)
        progress = await store.chunks.land_page(run.id, 0, page)
    assert progress.extra_fields == {"lot": 2, "bin": 1}


async def test_a_page_that_is_landed_twice_counts_once(store: Store, database: Database) -> None:
    run = a_run()
    await store.runs.begin(run, [Chunk(0, 0, 4, 2)])
    page = a_page(Page(0, 2), [a_row(0), a_row(1)])
    first = await store.chunks.land_page(run.id, 0, page)
    assert await store.chunks.land_page(run.id, 0, page) == first
    assert [tuple(row) for row in await query(database, "SELECT count(*) FROM movements")] == [(2,)]


async def test_a_page_with_more_rows_than_a_statement_can_bind_lands_whole(
    store: Store, database: Database
) -> None:
    run = a_run()
    await store.runs.begin(run, [Chunk(0, 0, 10_000, 10_000)])
    rows = [a_row(place) for place in range(10_000)]
    assert (await store.chunks.land_page(run.id, 0, a_page(Page(0, 10_000), rows))).loaded == 10_000
    [counts] = await query(database, "SELECT count(*), min(position), max(position) FROM movements")
    assert tuple(counts) == (10_000, 0, 9_999)


async def test_a_page_of_an_earlier_plan_changes_nothing(store: Store, database: Database) -> None:
    run = a_run()
    await store.runs.begin(run, [Chunk(0, 0, 4, 4)])
    await store.runs.replan(run.id, 4, [Chunk(0, 0, 2, 2), Chunk(1, 2, 2, 2)])
    stale = await store.chunks.land_page(run.id, 0, a_page(Page(0, 4), [a_row(place) for place in range(4)]))
    assert (stale.state, stale.next_offset, stale.chunk) == (ChunkState.PLANNED, 0, Chunk(0, 0, 2, 2))
    assert [tuple(row) for row in await query(database, "SELECT count(*) FROM movements")] == [(0,)]


async def test_a_new_plan_replaces_the_chunk_that_a_page_appends_meanwhile(
    store: Store, database: Database
) -> None:
    run = a_run()
    await store.runs.begin(run, [Chunk(0, 0, 4, 4)])
    async with database.writing() as page:
        key, _ = await page.run_sync(lock_chunk, run.id, 0)
        planning = asyncio.create_task(store.runs.replan(run.id, None, [Chunk(0, 0, 2, 2)]))
        assert not (await asyncio.wait([planning], timeout=0.5))[0]  # it waits for the page
        await page.run_sync(append_chunks, key, [Chunk(1, 4, 4, 4)], "cursor")
    await planning
    assert [each.chunk for each in await store.chunks.of(run.id)] == [Chunk(0, 0, 2, 2)]


async def test_a_page_never_overwrites_rows_at_its_positions(store: Store, database: Database) -> None:
    run = a_run()
    await store.runs.begin(run, [Chunk(0, 0, 4, 2)])
    await store.chunks.land_page(run.id, 0, a_page(Page(0, 2), [a_row(0), a_row(1)]))
    await execute(database, "UPDATE movements SET position = position + 2")
    before = await store.chunks.progress(run.id, 0)
    with pytest.raises((IntegrityError, UniqueViolationError)):
        await store.chunks.land_page(run.id, 0, a_page(Page(2, 2), [a_row(3, units=7)]))
    assert await store.chunks.progress(run.id, 0) == before


async def test_sqlite_readers_and_a_writer_do_not_block_each_other(sqlite_url: str) -> None:
    async with Store.open(sqlite_url) as store:
        run = await land_hourly(store, hours(0, 2))
        database = Database(sqlite_url)
        async with asyncio.timeout(20), database.reading() as reader:
            await reader.execute(text("SELECT * FROM movements"))
            await store.publications.publish(run.id, REPORT)
            seen = await reader.execute(text("SELECT * FROM published_movements"))
            assert seen.all() == []  # a reader's transaction is a snapshot
        await database.close()


async def test_two_workers_on_one_page_count_it_once(
    store: Store, store_url: str, database: Database
) -> None:
    run = a_run(total=500)
    await store.runs.begin(run, [Chunk(0, 0, 500, 500)])
    page = a_page(Page(0, 500), [a_row(n, hour(1)) for n in range(499)], [a_letter(499)])
    async with Store.open(store_url) as other:
        rows = await asyncio.gather(*(one.chunks.land_page(run.id, 0, page) for one in (store, other) * 3))
    assert {(row.fetched, row.loaded, row.rejected) for row in rows} == {(500, 499, 1)}
    assert [tuple(row) for row in await query(database, "SELECT count(*) FROM movements")] == [(499,)]
    assert len(await store.dead_letters.of(run.id)) == 1


async def test_many_chunks_land_at_once(store: Store, store_url: str, database: Database) -> None:
    run = a_run(total=40)
    await store.runs.begin(run, [Chunk(n, n * 2, 2, 2) for n in range(20)])
    async with Store.open(store_url) as other:
        workers = [store, other] * 10
        await asyncio.gather(
            *(
                workers[n].chunks.land_page(
                    run.id, n, a_page(Page(n * 2, 2), [a_row(n * 2), a_row(n * 2 + 1)])
                )
                for n in range(20)
            )
        )
    assert {progress.state for progress in await store.chunks.of(run.id)} == {ChunkState.LANDED}
    assert [tuple(row) for row in await query(database, "SELECT count(*) FROM movements")] == [(40,)]


@pytest.mark.parametrize("bad", [a_row(2), a_row(3, units=-1)], ids=["a position twice", "negative units"])
async def test_a_page_that_breaks_a_constraint_changes_nothing(
    store: Store, database: Database, bad: MovementRow
) -> None:
    run = a_run()
    await store.runs.begin(run, [Chunk(0, 0, 4, 2)])
    before = await store.chunks.land_page(run.id, 0, a_page(Page(0, 2), [a_row(0), a_row(1)]))
    with pytest.raises((IntegrityError, asyncpg.IntegrityConstraintViolationError)):
        await store.chunks.land_page(run.id, 0, a_page(Page(2, 2), [a_row(2), bad]))
    assert await store.chunks.of(run.id) == [before]
    assert [row.position for row in await query(database, "SELECT position FROM movements")] == [0, 1]


async def test_a_cancelled_page_lands_whole_or_not_at_all(store: Store, database: Database) -> None:
    run = a_run(total=2000)
    await store.runs.begin(run, [Chunk(0, 0, 2000, 2000)])
    page = a_page(Page(0, 2000), [a_row(n, hour(1)) for n in range(2000)])
    turns, loaded = 1.0, 0
    async with asyncio.timeout(20):  # a transaction left open would keep the file locked for 30 s
        while not loaded:  # cancelled later each time, until it has landed
            landing = asyncio.ensure_future(store.chunks.land_page(run.id, 0, page))
            for _ in range(int(turns)):
                await asyncio.sleep(0)
            landing.cancel()
            await asyncio.wait([landing])
            [progress] = await store.chunks.of(run.id)
            [(rows,)] = await query(database, "SELECT count(*) FROM movements")
            assert rows == progress.loaded
            turns, loaded = turns * 1.5, progress.loaded
    assert loaded == 2000


async def test_a_failed_chunk_has_an_error_until_it_resumes(store: Store) -> None:
    run = a_run()
    await store.runs.begin(run, [Chunk(0, 0, 4, 2)])
    await store.chunks.fail(run.id, 0, "HTTP 500 from offset 0 on")
    [failed] = await store.chunks.of(run.id)
    assert (failed.state, failed.error) == (ChunkState.FAILED, "HTTP 500 from offset 0 on")
    resumed = await store.chunks.land_page(run.id, 0, a_page(Page(0, 2), [a_row(0), a_row(1)]))
    assert (resumed.state, resumed.error) == (ChunkState.PLANNED, None)


async def test_a_chunk_that_has_landed_cannot_fail(store: Store, database: Database) -> None:
    run = await land_hourly(store, hours(0, 2))
    landed = await store.chunks.of(run.id), await query(database, "SELECT landed_at FROM chunks")
    await store.chunks.fail(run.id, 0, "too late")
    assert (await store.chunks.of(run.id), await query(database, "SELECT landed_at FROM chunks")) == landed


async def test_a_failure_keeps_the_landed_pages_of_its_chunk(store: Store) -> None:
    run = a_run()
    await store.runs.begin(run, [Chunk(0, 0, 4, 2)])
    await store.chunks.land_page(run.id, 0, a_page(Page(0, 2), [a_row(0), a_row(1)]))
    await store.chunks.fail(run.id, 0, "the source is unavailable")
    again = await store.chunks.progress(run.id, 0)
    assert (again.next_offset, again.loaded) == (2, 2)


async def test_dead_letters_are_read_by_position_with_all_their_reasons(store: Store) -> None:
    run = a_run()
    await store.runs.begin(run, [Chunk(0, 0, 3, 3)])
    two = DeadLetter(1, '{"sku": "ä"}', (Reason("sku_id", "Field required"), Reason("", "must be an object")))
    await store.chunks.land_page(run.id, 0, a_page(Page(0, 3), [], [a_letter(2), two, a_letter(0)]))
    assert await store.dead_letters.of(run.id) == [a_letter(0), two, a_letter(2)]
    assert await store.dead_letters.of(run.id, limit=2) == [a_letter(0), two]


async def test_text_that_no_database_can_hold_is_stored_escaped(store: Store) -> None:
    run = a_run()
    await store.runs.begin(run, [Chunk(0, 0, 2, 1)])
    await store.chunks.land_page(
        run.id, 0, a_page(Page(0, 1), [], [a_letter(0, record_json="a\x00b\ud800c")])
    )
    await store.chunks.fail(run.id, 0, "body: \x00")
    assert [letter.record_json for letter in await store.dead_letters.of(run.id)] == [r"a\x00b\ud800c"]
    assert [progress.error for progress in await store.chunks.of(run.id)] == [r"body: \x00"]


async def test_a_published_row_equals_the_landed_one(store: Store, database: Database) -> None:
    at = datetime(2026, 3, 1, 0, 0, 0, 1, tzinfo=UTC)
    run = a_run(total=1)
    await store.runs.begin(run, [Chunk(0, 0, 1, 1)])
    row = MovementRow(0, None, "SKU-9", "WH-01", 2**63 - 1, at)
    await store.chunks.land_page(run.id, 0, a_page(Page(0, 1), [row]))
    await store.publications.publish(run.id, REPORT)
    [seen] = await query(
        database,
        "SELECT source, warehouse_id, sku_id, units_moved, movement_id, run_id, position"
        " FROM published_movements",
    )
    assert tuple(seen) == ("acme", "WH-01", "SKU-9", 2**63 - 1, None, run.id, 0)
    assert await published(database) == [(at, run.id)]


async def test_nothing_is_visible_before_it_is_published(store: Store, database: Database) -> None:
    run = await land_hourly(store, hours(0, 4))
    assert await published(database) == []
    await store.publications.publish(run.id, REPORT)
    assert await published(database) == [(hour(n), run.id) for n in range(4)]
    assert await state_of(store, run) is RunState.PUBLISHED


async def test_the_report_of_a_run_is_stored(store: Store, database: Database) -> None:
    accepted = await publish_hourly(store, hours(0, 1))
    refused = await land_hourly(store, hours(0, 1))
    await store.runs.refuse(refused.id, '{"verdict": "incomplete"}')
    rows = await query(database, "SELECT run_id, verdict, report FROM sync_runs ORDER BY run_key")
    assert [tuple(row) for row in rows] == [
        (accepted.id, "complete", REPORT),
        (refused.id, "incomplete", '{"verdict": "incomplete"}'),
    ]


async def test_a_window_with_a_missing_chunk_is_not_published(store: Store, database: Database) -> None:
    run = a_run()
    await store.runs.begin(run, [Chunk(0, 0, 2, 2), Chunk(1, 2, 2, 2)])
    await store.chunks.land_page(run.id, 0, a_page(Page(0, 2), [a_row(0), a_row(1)]))
    with pytest.raises(IncompleteWindowError, match="1 of its chunks"):
        await store.publications.publish(run.id, REPORT)
    assert await published(database) == []


async def test_an_empty_window_replaces_what_was_published_there(store: Store, database: Database) -> None:
    await publish_hourly(store, hours(0, 4))
    empty = await land(store, a_run(hours(0, 4)), [])
    await store.publications.publish(empty.id, REPORT)
    assert await published(database) == []


@pytest.mark.parametrize(
    ("first", "second", "remaining"),
    [
        (hours(2, 6), hours(2, 6), []),
        (hours(2, 6), hours(0, 4), [4, 5]),
        (hours(2, 6), hours(4, 8), [2, 3]),
        (hours(2, 6), hours(3, 5), [2, 5]),
        (hours(2, 6), hours(0, 8), []),
        (hours(2, 6), hours(0, 2), [2, 3, 4, 5]),
        (hours(2, 6), hours(6, 8), [2, 3, 4, 5]),
    ],
    ids=["same", "left", "right", "inside", "around", "adjacent left", "adjacent right"],
)
async def test_a_later_window_replaces_what_it_covers(
    store: Store, database: Database, first: Window, second: Window, remaining: list[int]
) -> None:
    old = await publish_hourly(store, first)
    new = await publish_hourly(store, second)
    expected = [(hour(n), old.id) for n in remaining]
    expected += [(hour(n), new.id) for n in range(HOURS) if hour(n) in second]
    assert await published(database) == sorted(expected)
    assert await state_of(store, old) is (RunState.PUBLISHED if remaining else RunState.SUPERSEDED)


async def test_other_warehouses_and_sources_stay_unchanged(store: Store, database: Database) -> None:
    ours = await publish_hourly(store, hours(0, 2))
    elsewhere = await land_hourly(store, hours(0, 2), warehouse="WH-02")
    await store.publications.publish(elsewhere.id, REPORT)
    other_source = await land(store, replace(a_run(hours(0, 2)), source="other"), [hour(0)])
    await store.publications.publish(other_source.id, REPORT)
    assert await published(database, "WH-02") == [(hour(0), elsewhere.id), (hour(1), elsewhere.id)]
    rows = [(hour(0), ours.id), (hour(0), other_source.id), (hour(1), ours.id)]
    assert await published(database) == sorted(rows)


async def test_a_run_is_published_once(store: Store, database: Database) -> None:
    first = await publish_hourly(store, hours(0, 4))
    second = await publish_hourly(store, hours(2, 4))
    await store.publications.publish(first.id, '{"again": true}')
    assert [run for _, run in await published(database)] == [first.id, first.id, second.id, second.id]
    rows = await query(database, "SELECT report FROM sync_runs WHERE run_id = :id", id=first.id)
    assert rows[0].report == REPORT


async def test_a_superseded_run_cannot_be_published_again(store: Store, database: Database) -> None:
    old = await publish_hourly(store, hours(0, 2))
    new = await publish_hourly(store, hours(0, 2))
    with pytest.raises(IncompleteWindowError, match="superseded by a later one"):
        await store.publications.publish(old.id, REPORT)
    assert {run for _, run in await published(database)} == {new.id}


async def test_a_refused_window_leaves_the_old_one_visible(store: Store, database: Database) -> None:
    old = await publish_hourly(store, hours(0, 2))
    new = await land_hourly(store, hours(0, 2))
    await store.runs.refuse(new.id, "{}")
    assert {run for _, run in await published(database)} == {old.id}
    assert await state_of(store, new) is RunState.INCOMPLETE


async def test_a_refused_run_may_be_published_once_it_is_whole(store: Store, database: Database) -> None:
    run = await land_hourly(store, hours(0, 2))
    await store.runs.refuse(run.id, "{}")
    await store.publications.publish(run.id, REPORT)
    assert {run for _, run in await published(database)} == {run.id}


async def test_a_published_or_superseded_run_cannot_be_refused(store: Store) -> None:
    old = await publish_hourly(store, hours(0, 2))
    new = await publish_hourly(store, hours(0, 2))
    for run in (old, new):
        await store.runs.refuse(run.id, "{}")
    assert [await state_of(store, run) for run in (old, new)] == [RunState.SUPERSEDED, RunState.PUBLISHED]


async def test_windows_published_at_once_never_overlap(
    store: Store, store_url: str, database: Database
) -> None:
    async def publish(by: Store, run: SyncRun) -> None:
        with suppress(IncompleteWindowError):  # an earlier plan, if a later one is published first
            await by.publications.publish(run.id, REPORT)

    windows = [hours(n, n + 6) for n in range(6)]
    runs = [await land_hourly(store, window) for window in windows]
    async with Store.open(store_url) as other:
        publishers = [store, other] * 3
        await asyncio.gather(*(publish(publishers[n], run) for n, run in enumerate(runs)))
    instants = [at for at, _ in await published(database)]
    assert sorted(set(instants)) == instants and set(instants) >= {hour(n) for n in range(5, 11)}


async def test_a_reader_sees_the_old_window_or_the_new_never_a_mixture(
    store: Store, database: Database
) -> None:
    runs = [await publish_hourly(store, hours(0, 8))]
    runs += [await land_hourly(store, hours(0, 8)) for _ in range(12)]
    seen: list[set[str]] = []

    async def read() -> None:
        while len(seen) < 2 or seen[-1] != {runs[-1].id}:
            rows = await published(database)
            assert [at for at, _ in rows] == [hour(n) for n in range(8)]
            seen.append({run for _, run in rows})

    async def publish() -> None:
        for run in runs[1:]:
            await store.publications.publish(run.id, REPORT)

    await asyncio.wait_for(asyncio.gather(read(), publish()), timeout=20)
    assert all(len(each) == 1 for each in seen)


a_window = st.tuples(st.integers(0, HOURS - 1), st.integers(1, HOURS)).map(
    lambda pair: (pair[0], min(pair[0] + pair[1], HOURS))
)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(attempts=st.lists(st.tuples(a_window, st.booleans()), min_size=1, max_size=6))
async def test_each_instant_has_the_rows_of_the_latest_published_window(
    store: Store, database: Database, attempts: list[tuple[tuple[int, int], bool]]
) -> None:
    warehouse = next(_ids)  # a separate warehouse for each example
    latest: dict[datetime, str] = {}
    for (start, end), proven in attempts:
        run = await land_hourly(store, hours(start, end), warehouse)
        if proven:
            await store.publications.publish(run.id, REPORT)
            latest |= {hour(n): run.id for n in range(start, end)}
        else:
            await store.runs.refuse(run.id, "{}")
        assert await published(database, warehouse) == sorted(latest.items())


@given(whole=a_window, hole=a_window)
def test_cutting_out_leaves_exactly_what_lies_outside(whole: tuple[int, int], hole: tuple[int, int]) -> None:
    segments = cut_out(hours(*whole), hours(*hole))
    left = [n / 2 for n in range(2 * HOURS) for segment in segments if hour(n / 2) in segment]
    outside = [n / 2 for n in range(2 * whole[0], 2 * whole[1]) if hour(n / 2) not in hours(*hole)]
    assert left == outside

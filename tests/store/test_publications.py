"""Publications: numbers that become visible in order, what each changed, and consumers that follow."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import text

from sku_velocity.errors import IncompleteWindowError
from sku_velocity.model.chunk import Chunk, Page
from sku_velocity.model.movement import MovementRow
from sku_velocity.model.publication import Cause, Difference, Publication
from sku_velocity.model.run import NO_WAREHOUSE, SyncRun
from sku_velocity.model.window import Window
from sku_velocity.steps.replay import replay_run
from sku_velocity.store import Store
from sku_velocity.store.database import Database
from tests.support.dead_letters import OPEN, dead_letter, fixed_spec, land_run
from tests.support.store_rows import REPORT, _ids, a_page, a_row, hour, hours, query

pytestmark = pytest.mark.anyio

Row = tuple[str | None, float, int]  # id, hour, units
WINDOWS = "SELECT publication, run_id, cause, state FROM published_windows ORDER BY publication"


async def land(
    store: Store, window: Window, rows: Sequence[Row], digest: str | None = "d1", warehouse: str = "WH-01"
) -> str:
    run = SyncRun(next(_ids), "acme", warehouse, window, len(rows), mapping_digest=digest)
    size = max(len(rows), 1)
    await store.runs.begin(run, [Chunk(0, 0, size, size)])
    moved = [
        MovementRow(place, id, "SKU-1", warehouse, units, hour(at))
        for place, (id, at, units) in enumerate(rows)
    ]
    await store.chunks.land_page(run.id, 0, a_page(Page(0, size), moved))
    return run.id


async def publish(store: Store, window: Window, rows: Sequence[Row], **options: Any) -> Publication:
    return await store.publications.publish(await land(store, window, rows, **options), REPORT)


async def test_the_first_publication_of_a_window_is_compared_with_nothing(store: Store) -> None:
    first = await publish(store, hours(0, 2), [("a", 0, 1)])
    assert (first.publication, first.cause, first.difference) == (1, Cause.FIRST, Difference())
    assert (first.source, first.warehouse, first.window) == ("acme", "WH-01", hours(0, 2))
    assert await store.publications.of_run(first.run_id) == first
    assert await store.publications.publish(first.run_id, REPORT) == first  # by a retry
    assert await store.publications.of_run("nobody") is None


async def test_rows_with_ids_are_compared_by_id(store: Store) -> None:
    await publish(store, hours(0, 4), [("a", 0, 1), ("b", 1, 1), ("c", 2, 1), ("d", 3, 1)])
    revised = await publish(store, hours(0, 4), [("d", 3, 1), ("b", 1, 9), ("a", 0.5, 1), ("e", 3, 1)])
    assert (revised.publication, revised.cause) == (2, Cause.REVISION)
    assert revised.difference == Difference(added=1, changed=2, removed=1, unchanged=1)


async def test_a_row_whose_details_differ_is_changed(store: Store) -> None:
    for extra in ('{"lot": "7", "bin": 1}', '{"lot": "8", "bin": 1}'):
        run = SyncRun(next(_ids), "acme", "WH-01", hours(0, 4), 2)
        await store.runs.begin(run, [Chunk(0, 0, 2, 2)])
        rows = [a_row(0)._replace(extra=extra), a_row(1)._replace(extra='{"lot": null}')]
        await store.chunks.land_page(run.id, 0, a_page(Page(0, 2), rows))
        published = await store.publications.publish(run.id, REPORT)
    assert published.difference == Difference(added=0, changed=1, removed=0, unchanged=1)


@pytest.mark.parametrize(
    "rows", [[(None, 0, 1), (None, 0, 1), (None, 1, 1)], [("a", 0, 1), ("a", 0, 1), (None, 1, 1)]]
)
async def test_rows_without_an_id_each_are_compared_as_multisets(store: Store, rows: list[Row]) -> None:
    await publish(store, hours(0, 4), rows)
    revised = await publish(store, hours(0, 4), [*rows[1:], (None, 1, 1), (None, 2, 5)])
    assert revised.difference == Difference(added=2, changed=0, removed=1, unchanged=2)


async def test_only_rows_of_the_window_are_compared_of_all_runs_published_there(store: Store) -> None:
    await publish(store, hours(0, 2), [("a", 0, 1), ("b", 1, 1)])
    await publish(store, hours(2, 4), [("c", 2, 1), ("d", 3, 1)])
    revised = await publish(store, hours(1, 3), [("b", 1, 1), ("c", 2, 2)])
    assert revised.difference == Difference(added=0, changed=1, removed=0, unchanged=1)


async def test_a_late_run_is_compared_only_where_it_becomes_visible(store: Store) -> None:
    await publish(store, hours(0, 4), [("a", 0, 1), ("b", 3, 1)])
    late = await land(store, hours(0, 4), [("a", 0, 2), ("b", 3, 2)])
    await publish(store, hours(2, 4), [("b", 3, 3)])
    published = await store.publications.publish(late, REPORT)
    assert published.difference == Difference(added=0, changed=1, removed=0, unchanged=0)


async def test_a_run_of_another_spec_is_marked(store: Store) -> None:
    await publish(store, hours(0, 2), [("a", 0, 1)])
    assert (await publish(store, hours(0, 2), [("a", 0, 2)], digest="d2")).cause is Cause.SPEC
    assert (await publish(store, hours(0, 2), [("a", 0, 3)], digest="d2")).cause is Cause.REVISION


async def test_a_master_has_numbers_too(store: Store) -> None:
    for cause in (Cause.FIRST, Cause.REVISION):
        version = await publish(store, Window.everything(), [], warehouse=NO_WAREHOUSE)
        assert (version.cause, version.difference) == (cause, Difference())


async def test_a_range_that_a_later_run_cuts_keeps_its_number(store: Store, database: Database) -> None:
    await publish(store, hours(0, 4), [("a", 0, 1), ("b", 3, 1)])
    await publish(store, hours(2, 4), [("b", 3, 2)])
    numbers = "SELECT movement_id, publication FROM published_movements ORDER BY 1"
    assert [tuple(row) for row in await query(database, numbers)] == [("a", 1), ("b", 2)]
    one_time = (
        "SELECT count(*) FROM published_movements JOIN published_windows USING (publication, published_at)"
    )
    assert (await query(database, one_time))[0][0] == 2


async def test_windows_that_are_superseded_stay_listed(store: Store, database: Database) -> None:
    first, last = [await publish(store, hours(0, 2), [("a", 0, 1)]) for _ in range(2)]
    assert [tuple(row) for row in await query(database, WINDOWS)] == [
        (1, first.run_id, "first", "superseded"),
        (2, last.run_id, "revision", "published"),
    ]


async def test_a_replay_into_a_published_run_has_a_number(store: Store, database: Database) -> None:
    await land_run(store, "run", {3: dead_letter(3), 6: dead_letter(6)})
    run = await store.runs.find("run")
    assert run
    await replay_run(store, fixed_spec(), run, OPEN, "jane")
    assert [tuple(row) for row in await query(database, WINDOWS)] == [
        (1, "run", "first", "superseded"),
        (2, "run", "replay", "published"),
    ]
    numbers = "SELECT publication, count(*) FROM published_movements GROUP BY 1"
    assert [tuple(row) for row in await query(database, numbers)] == [(2, 20)]
    assert [tuple(row) for row in await query(database, "SELECT added, removed FROM publications")] == [
        (None, None),
        (2, 0),
    ]


# Following


class Consumer:
    """Keeps a copy of all published movements, by what was published since the last look."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self.rows: list[Any] = []
        self.seen: list[int] = []

    async def follow(self) -> None:
        since = max(self.seen, default=0)
        sql = "SELECT * FROM published_windows WHERE publication > :since ORDER BY publication"
        for window in await query(self.database, sql, since=since):
            self.rows = [row for row in self.rows if not _is_in(row, window)]
            found = await query(self.database, "SELECT * FROM published_movements")
            self.rows += [row for row in found if _is_in(row, window)]
            self.seen.append(window.publication)

    def content(self) -> Counter[Any]:
        return Counter((row.warehouse_id, row.run_id, row.position) for row in self.rows)


def _is_in(row: Any, window: Any) -> bool:
    return bool(
        row.warehouse_id == window.warehouse_id and window.range_start <= row.timestamp_utc < window.range_end
    )


async def _all(database: Database) -> Counter[Any]:
    found = await query(database, "SELECT warehouse_id, run_id, position FROM published_movements")
    return Counter(map(tuple, found))


async def test_a_consumer_that_follows_parallel_publishers_misses_nothing(
    store: Store, database: Database, store_url: str
) -> None:
    consumer, left = Consumer(database), 6

    async def publish_some(number: int) -> None:
        nonlocal left
        async with Store.open(store_url) as own:
            for turn in range(4):
                start = (number + turn) % 5
                rows: list[Row] = [(f"{number}-{turn}-{at}", start + at, 1) for at in range(2)]
                with suppress(IncompleteWindowError):  # a run that was planned later was faster
                    await publish(own, hours(start, start + 2), rows, warehouse=f"WH-0{number % 3}")
        left -= 1

    async with asyncio.TaskGroup() as group:
        for number in range(left):
            group.create_task(publish_some(number))
        while left:
            await consumer.follow()
    await consumer.follow()
    assert len(consumer.seen) > 12 and consumer.seen == list(range(1, len(consumer.seen) + 1))
    assert consumer.content() == await _all(database)


steps = st.lists(
    st.one_of(
        st.just("follow"),
        st.tuples(st.integers(0, 4), st.integers(1, 3), st.lists(st.integers(0, 8), unique=True)),
    ),
    max_size=8,
)


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps)
async def test_a_consumer_that_looks_at_any_time_ends_with_what_is_published(
    store_url: str, plan: list[Any]
) -> None:
    async with Store.open(store_url) as store:
        database = Database(store_url)
        await _clear(database)
        consumer = Consumer(database)
        for step in plan:
            if step == "follow":
                await consumer.follow()
                continue
            start, length, numbers = step
            rows: list[Row] = [(f"m-{n}", start + (n % (4 * length)) / 4, n) for n in numbers]
            await publish(store, hours(start, start + length), rows)
        await consumer.follow()
        assert consumer.content() == await _all(database)
        assert consumer.seen == sorted(consumer.seen)
        await database.close()


async def _clear(database: Database) -> None:
    async with database.writing() as connection:
        for table in ("published_ranges", "publications"):
            await connection.execute(text(f"DELETE FROM {table}"))

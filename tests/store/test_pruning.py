"""Pruning a store: deletes all that is expired, nothing that readers see, and leaves no orphans."""

from __future__ import annotations

import asyncio
from collections import Counter
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sku_velocity.errors import ConfigurationError, StoreConfigurationError
from sku_velocity.model.dead_letter import DeadLetterFilter
from sku_velocity.model.movement import MovementRow
from sku_velocity.model.run import NO_WAREHOUSE, MasterVersion, SyncRun
from sku_velocity.steps.prune import cutoffs_of, prune_store
from sku_velocity.steps.requests import PruneRequest
from sku_velocity.store import Store
from sku_velocity.store.chunk_rows import lock_chunk
from sku_velocity.store.page_rows import insert_movements
from sku_velocity.store.push_rows import find_push
from sku_velocity.store.tables import sync_runs
from tests.support.aged_store import (
    NOW,
    Made,
    backdate,
    clear,
    dangling,
    make_refresh,
    make_runs,
    masters_in_use,
    run_ids,
    seen,
    writing,
)
from tests.support.published_store import table

CUTOFFS = cutoffs_of(PruneRequest(), NOW)
MASTER: Any = {"warehouse": NO_WAREHOUSE}

pytestmark = pytest.mark.anyio

a_run = st.builds(
    Made,
    ending=st.sampled_from(["publish", "refuse", "leave"]),
    age=st.integers(0, 60),
    warehouse=st.sampled_from(["WH-01", "WH-02", NO_WAREHOUSE]),
    hour=st.integers(0, 3),
    hours=st.integers(1, 3),
    rows=st.integers(0, 4),
    is_mapped=st.booleans(),
)
a_refresh = st.tuples(st.sampled_from(["WH-01", "WH-02"]), st.integers(0, 900), st.integers(0, 3))


@pytest.fixture
def migrated(store_url: str) -> str:
    asyncio.run(prune(store_url))
    return store_url


async def prune(url: str, rows_at_once: int = 1000) -> Counter[str]:
    async with Store.open(url) as store:
        return await prune_store(store, CUTOFFS, rows_at_once)


async def filled(url: str, *plan: Made) -> list[str]:
    async with Store.open(url) as store:
        return await make_runs(store, url, list(plan))


async def look(url: str, sql: str) -> Any:
    return (await table(url, sql))[0][0]


@settings(max_examples=10, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(a_run, max_size=8), st.lists(a_refresh, max_size=5), st.sampled_from([1, 3, 1000]))
def test_pruning_changes_nothing_that_readers_see_and_leaves_no_orphans(
    migrated: str, plan: list[Made], refreshes: list[tuple[str, int, int]], rows_at_once: int
) -> None:
    async def check() -> None:
        await clear(migrated)
        async with Store.open(migrated) as store:
            await make_runs(store, migrated, plan)
            for refresh in refreshes:
                await make_refresh(store, *refresh)
            before, expected = await seen(migrated), await store.pruning.count(CUTOFFS)
            in_use = await masters_in_use(migrated)
            assert await prune_store(store, CUTOFFS, rows_at_once) == expected
            assert await seen(migrated) == before and await dangling(migrated) == []
            assert await run_ids(migrated) >= in_use
            # A version that only a pruned open run was mapped by is deleted by the next prune.
            assert (await store.pruning.count(CUTOFFS)).keys() <= {"sync_runs", "items", "item_aliases",
                                                                  "chunks", "dead_letters"}  # fmt: skip

    asyncio.run(check())


async def test_a_run_is_deleted_once_it_was_superseded_long_enough_ago(store_url: str) -> None:
    old, young = Made(age=31), Made(age=29, hour=1)
    first, second, *_ = await filled(store_url, old, young, Made(), Made(hour=1))
    pruned = await prune(store_url)
    assert pruned == {"sync_runs": 1, "movements": 2, "dead_letters": 1, "pushes": 1, "chunks": 1}
    assert first not in await run_ids(store_url) and second in await run_ids(store_url)


async def test_a_run_that_is_being_deleted_is_found_by_no_id(store_url: str) -> None:
    async with Store.open(store_url) as store:
        run = SyncRun("run", "acme", "WH-01", Made().window, 0, flow_run_id="flow-run")
        await store.runs.begin(run, [])
        async with writing(store_url) as connection:
            await backdate(connection, "run", NOW - timedelta(days=900))
        [key] = await store.pruning.find_runs(CUTOFFS)
        assert await store.pruning.mark_for_deletion(key, CUTOFFS)
        assert await store.runs.find("run") is None and await store.runs.find("flow-run") is None


async def test_a_published_run_stays_at_any_age_even_if_only_a_part_is_published(store_url: str) -> None:
    ids = await filled(store_url, Made(age=900, hours=3), Made(age=800, hour=1))
    assert await prune(store_url) == {} and await run_ids(store_url) == set(ids)


@pytest.mark.parametrize("ending", ["refuse", "leave"])
async def test_an_unpublished_run_is_deleted_after_a_time_without_activity(
    store_url: str, ending: Any
) -> None:
    ids = await filled(store_url, Made(ending, age=31), Made(ending, age=29))
    assert (await prune(store_url))["sync_runs"] == 1
    assert await run_ids(store_url) == {ids[1]}


async def test_an_old_run_with_a_recently_landed_chunk_stays(store_url: str) -> None:
    [id] = await filled(store_url, Made("leave", age=31))
    async with writing(store_url) as connection:
        await backdate(connection, id, NOW, {"chunks": ("landed_at",)})
    async with Store.open(store_url) as store:
        assert await store.pruning.find_runs(CUTOFFS) == []


async def test_the_master_version_of_a_published_run_stays(store_url: str) -> None:
    master = Made(age=90, **MASTER)
    used, unused, _, mapped = await filled(
        store_url, master, Made(age=80, **MASTER), Made(age=70, **MASTER), Made(age=70)
    )
    async with writing(store_url) as connection:
        version = MasterVersion(source="erp", version=used).model_dump_json()
        await connection.execute(
            sync_runs.update().where(sync_runs.c.run_id == mapped).values(master=version)
        )
    await prune(store_url)
    assert used in await run_ids(store_url) and unused not in await run_ids(store_url)


async def test_loading_a_pruned_master_version_is_an_error(store_url: str) -> None:
    used, _ = await filled(store_url, Made(age=90, **MASTER), Made(**MASTER))
    await prune(store_url)
    async with Store.open(store_url) as store:
        with pytest.raises(ConfigurationError, match="is no longer in this store"):
            await store.masters.load(MasterVersion(source="erp", version=used))


async def test_a_dead_letter_of_a_published_run_is_deleted_once_closed_long_enough_ago(
    store_url: str,
) -> None:
    ids = await filled(store_url, Made(), Made(hour=1), Made(hour=2), Made("refuse", hour=3))
    async with Store.open(store_url) as store:
        for id in (ids[0], ids[1], ids[3]):
            await store.dead_letters.discard(DeadLetterFilter(run=id), "somebody", "a test order")
        async with writing(store_url) as connection:
            for id, days in ((ids[0], 366), (ids[1], 364), (ids[3], 366)):
                at = NOW - timedelta(days=days)
                await backdate(connection, id, at, {"dead_letters": ("changed_at",)})
        assert await store.pruning.count(CUTOFFS) == {"dead_letters": 1}
    assert await prune(store_url) == {"dead_letters": 1}
    left = await table(store_url, "SELECT state FROM dead_letters ORDER BY state")
    assert left == [("discarded",), ("discarded",), ("open",)]


async def test_the_newest_velocity_of_a_warehouse_stays_at_any_age(store_url: str) -> None:
    async with Store.open(store_url) as store:
        for warehouse, days in (("WH-01", 900), ("WH-01", 800), ("WH-02", 401), ("WH-02", 400), ("WH-02", 0)):
            await make_refresh(store, warehouse, days)
    assert await prune(store_url) == {"velocity_refreshes": 2, "sku_velocity": 4}
    left = await table(store_url, "SELECT warehouse_id, as_of FROM velocity_refreshes ORDER BY 1, 2")
    days = [(NOW - timedelta(days=days)).date().isoformat() for days in (800, 400, 0)]
    assert [(row[0], str(row[1])) for row in left] == list(
        zip(["WH-01", "WH-02", "WH-02"], days, strict=True)
    )


async def test_a_step_deletes_at_most_its_limit_and_the_next_prune_resumes(store_url: str) -> None:
    [id, _] = await filled(store_url, Made(age=31, rows=4), Made())
    async with Store.open(store_url) as store:
        [key] = await store.pruning.find_runs(CUTOFFS)
        assert await store.pruning.mark_for_deletion(key, CUTOFFS)
        deleted = await store.pruning.delete_run_batch(key, 3)
        assert (deleted.is_last, deleted.rows) == (False, {"movements": 3})
        assert await store.runs.find(id) is None  # interrupted here, the run cannot be resumed
        assert (await prune_store(store, CUTOFFS, 3)).total() == 5
    assert await dangling(store_url) == []


async def test_a_run_that_was_resumed_meanwhile_is_left(store_url: str) -> None:
    [id] = await filled(store_url, Made("refuse", age=31))
    async with Store.open(store_url) as store:
        [key] = await store.pruning.find_runs(CUTOFFS)
        await store.publications.publish(id, "{}")
        assert not await store.pruning.mark_for_deletion(key, CUTOFFS)
    assert await look(store_url, "SELECT count(*) FROM published_movements") == 2


async def test_using_a_run_that_is_being_deleted_is_an_error(store_url: str) -> None:
    [id] = await filled(store_url, Made("leave", age=31))
    async with Store.open(store_url) as store:
        [key] = await store.pruning.find_runs(CUTOFFS)
        await store.pruning.mark_for_deletion(key, CUTOFFS)
        with pytest.raises(StoreConfigurationError, match="has no chunk"):
            await store.chunks.progress(id, 0)
        with pytest.raises(StoreConfigurationError, match="has no run"):
            await store.publications.publish(id, "{}")


async def test_a_page_that_lands_meanwhile_leaves_no_orphans(store_url: str) -> None:
    [id] = await filled(store_url, Made("leave", age=31))
    late = MovementRow(1_000, None, "SKU-1", "WH-01", 1, NOW)
    async with Store.open(store_url) as store:
        [key] = await store.pruning.find_runs(CUTOFFS)
        async with writing(store_url) as page:
            await page.run_sync(lock_chunk, id, 0)
            await page.run_sync(insert_movements, key, [late])
            pruning = asyncio.create_task(prune_store(store, CUTOFFS))
            assert not (await asyncio.wait([pruning], timeout=0.5))[0]  # it waits for the page
        assert (await pruning)["movements"] == 3
    assert await dangling(store_url) == []


async def test_a_push_that_waits_for_another_one_is_no_deadlock(postgresql_url: str) -> None:
    [id, _] = await filled(postgresql_url, Made(age=31), Made())

    async def push_again() -> None:
        async with writing(postgresql_url) as second:
            await find_push(second, id, 0, "slots")

    async with Store.open(postgresql_url) as store:
        [key] = await store.pruning.find_runs(CUTOFFS)
        async with writing(postgresql_url) as first:
            assert await find_push(first, id, 0, "slots")
            others = [asyncio.create_task(push_again())]
            assert not (await asyncio.wait(others, timeout=0.5))[0]
            assert await store.pruning.mark_for_deletion(key, CUTOFFS)
            others.append(asyncio.create_task(store.pruning.delete_run_batch(key, 1000)))
            assert not (await asyncio.wait(others, timeout=0.5))[0]
        await asyncio.gather(*others)
    assert await dangling(postgresql_url) == []


async def test_two_prunes_at_once_delete_each_row_once(store_url: str) -> None:
    await filled(store_url, Made(age=31, rows=4), Made(age=31, rows=4), Made())
    first, second = await asyncio.gather(prune(store_url, 1), prune(store_url, 1))
    assert first + second == {
        "sync_runs": 2, "movements": 8, "dead_letters": 2, "pushes": 2, "revised_engines": 1, "chunks": 2
    }  # fmt: skip


async def test_sqlite_reports_what_vacuum_would_free(sqlite_url: str) -> None:
    await filled(sqlite_url, Made(age=31, rows=2000), Made())
    async with Store.open(sqlite_url) as store:
        before = await store.pruning.free_bytes()
        await prune_store(store, CUTOFFS)
        freed = await store.pruning.free_bytes()
    assert before == 0 and freed and freed > 20_000


async def test_postgresql_needs_no_manual_vacuum(postgresql_url: str) -> None:
    async with Store.open(postgresql_url) as store:
        assert await store.pruning.free_bytes() is None

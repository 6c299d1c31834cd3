"""Windows that an older spec or plan has read: named, read again, and never shown instead of newer ones."""

from __future__ import annotations

from dataclasses import replace

import pytest

from sku_velocity.errors import IncompleteWindowError
from sku_velocity.model.chunk import Chunk, ChunkState, Page
from sku_velocity.model.window import Window
from sku_velocity.store import Store
from tests.support.store_rows import (
    REPORT,
    a_page,
    a_row,
    a_run,
    hour,
    hours,
    land,
    land_hourly,
    publish_hourly,
)

pytestmark = pytest.mark.anyio


async def publish_by(store: Store, window: Window, digest: str) -> None:
    run = await land(store, replace(a_run(window), mapping_digest=digest), [window.start])
    await store.publications.publish(run.id, REPORT)


async def test_windows_published_under_an_older_spec_are_named(store_url: str) -> None:
    async with Store.open(store_url) as store:
        for number, digest in enumerate(("old", "old", "new")):
            await publish_by(store, hours(number, number + 1), digest)
        (status,) = await store.status.of_warehouses()
        assert status.older_spec == [hours(0, 1), hours(1, 2)]
        assert status.coverage.by_spec("new").gaps(hours(0, 3)) == [hours(0, 2)]
        assert status.coverage.gaps(hours(0, 3)) == []


async def test_no_window_is_of_an_older_spec_if_all_were_read_by_the_same(store_url: str) -> None:
    async with Store.open(store_url) as store:
        for number in range(2):
            await publish_by(store, hours(number, number + 1), "same")
        assert [each.older_spec for each in await store.status.of_warehouses()] == [[]]


async def test_an_older_plan_is_published_only_around_a_newer_one(store_url: str) -> None:
    async with Store.open(store_url) as store:
        older = await land_hourly(store, hours(0, 4))
        newer = await publish_hourly(store, hours(1, 2))
        await store.publications.publish(older.id, REPORT)
        segments = await store.publications.segments("acme", "WH-01", hours(0, 4))
        assert [each.run_id for each in segments] == [older.id, newer.id, older.id]
        assert [each.window.start for each in segments] == [hour(0), hour(1), hour(2)]


async def test_an_older_plan_does_not_replace_a_newer_one_of_the_same_window(store_url: str) -> None:
    async with Store.open(store_url) as store:
        older = await land_hourly(store, hours(0, 2))
        newer = await publish_hourly(store, hours(0, 2))
        with pytest.raises(IncompleteWindowError, match=f"{newer.id}.*Retry reads the window again"):
            await store.publications.publish(older.id, REPORT)
        assert await store.runs.newer(older) == newer.id
        again = await store.runs.replan(older.id, 0, [])
        assert await store.runs.newer(again) is None
        await store.publications.publish(older.id, REPORT)
        assert [e.run_id for e in await store.publications.segments("acme", "WH-01", hours(0, 2))] == [
            older.id
        ]


async def test_a_page_by_an_older_spec_does_not_land_in_a_window_that_is_planned_again(
    store_url: str,
) -> None:
    async with Store.open(store_url) as store:
        chunk = Chunk(0, 0, 2, 2)
        run = await store.runs.begin(replace(a_run(hours(0, 2), total=2), mapping_digest="old"), [chunk])
        await store.runs.replan(run.id, 2, [chunk], "new")
        page = a_page(Page(0, 2), [a_row(0), a_row(1)])
        with pytest.raises(IncompleteWindowError, match="another spec.*retry the run"):
            await store.chunks.land_page(run.id, 0, page, run.mapping_digest)
        assert (await store.chunks.land_page(run.id, 0, page, "new")).state is ChunkState.LANDED

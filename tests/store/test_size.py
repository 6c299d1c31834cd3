"""The size of the store: of each table, per published day, and its growth."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from sku_velocity.model.status import StoreSize
from sku_velocity.model.window import Window
from sku_velocity.store import Store, size
from tests.support.archived import archive, hour, hours, publish
from tests.support.published_store import table

pytestmark = pytest.mark.anyio


async def test_the_size_is_that_of_the_tables_and_the_days_are_those_of_published_movements(
    store_url: str, store: Store, tmp_path: Path
) -> None:
    now = hour(24 * 30)
    assert (await store.size.measure(now)).bytes_per_day is None
    for day in range(30):
        await publish(store, hours(24 * day, 24 * day + 24), *(24 * day + n / 20 for n in range(400)))
    await publish(store, hours(24 * 30, 24 * 30 + 12))  # ends after now
    found = await store.size.measure(now)
    assert (
        found.tables and next(iter(found.tables)) == "movements" and found.tables["movements"] > 12_000 * 20
    )
    assert list(found.tables.values()) == sorted(found.tables.values(), reverse=True)
    assert found.bytes * 0.9 < sum(found.tables.values()) <= found.bytes
    assert (found.days, found.recent_days) == (30.5, 7)
    assert found.bytes_per_day == found.growth_per_day == pytest.approx(found.bytes / 30.5, rel=0.01)
    await archive(store, store_url, tmp_path / "out", hour(24 * 20))
    assert (await store.size.measure(now)).days == 10.5


async def test_the_size_on_postgresql_includes_indexes(postgresql_url: str) -> None:
    async with Store.open(postgresql_url) as store:
        await publish(store, hours(0, 24), *(n / 100 for n in range(2000)))
        found = await store.size.measure(hour(24))
    [(whole,)] = await table(postgresql_url, "SELECT pg_total_relation_size('movements')")
    assert found.tables and found.tables["movements"] == whole and found.free is None


async def test_the_tables_of_a_large_file_are_not_measured(
    sqlite_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    size_of_file = Path(sqlite_url.removeprefix("sqlite:///")).stat().st_size  # noqa: ASYNC240
    async with Store.open(sqlite_url) as store:
        found = await store.size.measure(hour(24))
        assert found.bytes == size_of_file and found.tables
        monkeypatch.setattr(size, "MEASURED", found.bytes - 1)
        assert (await store.size.measure(hour(24))).tables is None


async def test_a_window_without_an_end_does_not_count_as_days(store: Store) -> None:
    await publish(store, Window.everything(), 1)
    assert (await store.size.measure(hour(24) + timedelta(days=1))).days == 0


def test_free_pages_are_no_growth() -> None:
    assert StoreSize(3_000, 1_000, None, days=10, recent_days=14).bytes_per_day == 200
    assert StoreSize(3_000, 1_000, None, days=10, recent_days=14).growth_per_day == 400

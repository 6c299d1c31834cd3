"""A prune reports what it deletes, and deletes only the rows of old runs."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime

from sku_velocity.cli.executor import Executor
from sku_velocity.store import Store
from tests.support.aged_store import Made, make_runs, run_ids, seen
from tests.support.operations import prune


def filled(url: str, *plan: Made) -> str:
    async def fill() -> None:
        async with Store.open(url) as store:
            await make_runs(store, url, list(plan), datetime.now(UTC))

    asyncio.run(fill())
    return url


def test_a_prune_deletes_expired_rows_and_reports_them(executor: Executor, store_url: str) -> None:
    filled(store_url, Made(age=31), Made(age=20), Made(age=10))
    outcome, report = prune(executor, store_url)
    assert report.rows == {"sync_runs": 1, "movements": 2, "dead_letters": 1, "pushes": 1, "chunks": 1}
    assert outcome.message.startswith("Pruned 1 runs and 0 refreshes of velocity, 6 rows in all")
    assert len(asyncio.run(run_ids(store_url))) == 2


def test_a_dry_run_counts_and_deletes_nothing(executor: Executor, store_url: str) -> None:
    filled(store_url, Made(age=31), Made())
    before = asyncio.run(run_ids(store_url)), asyncio.run(seen(store_url))
    _, report = prune(executor, store_url, dry_run=True)
    assert (report.dry_run, report.rows["sync_runs"], report.rows["movements"]) == (True, 1, 2)
    assert (asyncio.run(run_ids(store_url)), asyncio.run(seen(store_url))) == before


def test_each_kind_has_its_own_retention(executor: Executor, sqlite_url: str) -> None:
    filled(sqlite_url, Made(age=12), Made("refuse", age=12, hour=1), Made())
    outcome, _ = prune(executor, sqlite_url, superseded_days=11, unpublished_days=13)
    assert "Pruned 1 runs and 0 refreshes" in outcome.message
    assert len(asyncio.run(run_ids(sqlite_url))) == 2

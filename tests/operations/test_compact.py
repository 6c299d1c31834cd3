"""A compaction makes each closed date one file that holds what is published, and leaves the others."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from sku_velocity.cli.executor import Executor
from sku_velocity.errors import ConfigurationError
from sku_velocity.model.window import Window
from sku_velocity.steps.compact import whole_days
from sku_velocity.store import Store
from tests.steps.test_export import MIDNIGHT, export, hours, name_of, publish
from tests.support.commands import run
from tests.support.exported import files, published, seen_by_duckdb
from tests.support.operations import compact


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "out"


def prepare(url: str, fill: Callable[[Store], Coroutine[Any, Any, None]]) -> None:
    async def fill_store() -> None:
        async with Store.open(url) as store:
            await fill(store)

    asyncio.run(fill_store())


async def add(store: Store, out: Path, start: float, end: float, warehouse: str = "WH-01") -> None:
    """Publish and export a window with two movements."""
    await publish(store, start, (start + end) / 2, window=hours(start, end), warehouse=warehouse)
    await export(store, out, hours(start, end), warehouse)


def test_the_files_of_closed_dates_are_joined(executor: Executor, store_url: str, out: Path) -> None:
    async def fill(store: Store) -> None:
        for start in range(6, 51, 3):  # the first and the last of three dates are published in part
            await add(store, out, start, start + 3)

    prepare(store_url, fill)
    before = [name for name in files(out) if "date=2026-03-02" not in name]
    outcome, report = compact(executor, store_url, out)
    assert files(out) == sorted([*before, name_of(24, 48)])
    assert seen_by_duckdb(out) == asyncio.run(published(store_url))
    [warehouse] = report.warehouses
    assert (warehouse.closed, warehouse.changed) == (1, 1) and warehouse.incomplete > 1
    assert outcome.message.startswith("1 of 1 closed dates of 1 warehouses were written as one file. ")
    _, report = compact(executor, store_url, out)
    assert report.warehouses[0].changed == 0


def test_a_date_gets_what_was_published_but_not_exported(
    executor: Executor, sqlite_url: str, out: Path
) -> None:
    async def fill(store: Store) -> None:
        await add(store, out, 0, 12)
        await publish(store, 13, window=hours(12, 24))  # its export has failed
        await publish(store, 30, window=hours(24, 48))
        await publish(store, window=hours(48, 72))

    prepare(sqlite_url, fill)
    compact(executor, sqlite_url, out)
    assert files(out) == [name_of(0, 24), name_of(24, 48)]
    assert seen_by_duckdb(out) == asyncio.run(published(sqlite_url))


def test_dates_before_the_start_are_left(executor: Executor, sqlite_url: str, out: Path) -> None:
    async def fill(store: Store) -> None:
        for start in range(0, 72, 12):
            await add(store, out, start, start + 12)

    prepare(sqlite_url, fill)
    compact(executor, sqlite_url, out, start=(MIDNIGHT + timedelta(days=2)).date())
    assert files(out) == [name_of(0, 12), name_of(12, 24), name_of(24, 36), name_of(36, 48), name_of(48, 72)]


def test_a_date_that_is_not_over_is_left(executor: Executor, sqlite_url: str, out: Path) -> None:
    today = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    noon = (today - MIDNIGHT) / timedelta(hours=1) + 12

    async def fill(store: Store) -> None:
        await add(store, out, noon - 12, noon)
        await add(store, out, noon, noon + 36)

    prepare(sqlite_url, fill)
    _, report = compact(executor, sqlite_url, out)
    assert report.warehouses[0].closed == 0 and len(files(out)) == 3


def test_a_warehouse_that_fails_does_not_stop_the_others(
    executor: Executor, sqlite_url: str, out: Path
) -> None:
    async def fill(store: Store) -> None:
        for warehouse in ("WH-01", "WH-02", "WH-03"):
            await publish(store, 3, window=hours(0, 24), warehouse=warehouse)
        for start in (0, 12):
            await export(store, out, hours(start, start + 12), "WH-02")

    prepare(sqlite_url, fill)
    broken = out / "source=acme" / "warehouse=WH-01"
    broken.mkdir()
    (broken / "date=2026-03-01").touch()  # a file
    outcome, report = compact(executor, sqlite_url, out)
    assert outcome.is_failed and outcome.message.startswith("1 of 2 warehouses failed: WH-01 from acme: ")
    assert [(each.warehouse, each.changed, bool(each.error)) for each in report.warehouses] == [
        ("WH-01", 0, True),
        ("WH-02", 1, False),
    ]


def test_a_destination_without_files_is_a_wrong_setting(
    executor: Executor, sqlite_url: str, out: Path
) -> None:
    outcome, _ = compact(executor, sqlite_url, out)
    assert outcome.message == "0 of 0 closed dates of 0 warehouses were written as one file."
    prepare(sqlite_url, lambda store: add(store, out, 0, 24))
    with pytest.raises(ConfigurationError, match="has no files of these warehouses: check it"):
        compact(executor, sqlite_url, out / "else")
    with pytest.raises(ConfigurationError, match="carries credentials"):
        compact(executor, sqlite_url, "s3://me:hunter2@bucket")


def test_the_command_prints_the_result(
    sqlite_url: str, out: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    prepare(sqlite_url, lambda store: add(store, out, 0, 24))
    words = ["compact", "--store", sqlite_url, "--export-to", str(out), "--warehouse", "WH-01"]
    assert run(*words) == 0
    assert capsys.readouterr().out.startswith("0 of 1 closed dates of 1 warehouses were written as one file.")
    assert run("compact", "--store", sqlite_url) == 2


@pytest.mark.parametrize(
    ("published", "whole"),
    [
        ([(0, 72)], [(0, 72)]),
        ([(0, 30), (30, 72)], [(0, 72)]),
        ([(1, 72)], [(24, 72)]),
        ([(0, 30), (31, 72)], [(0, 24), (48, 72)]),
        ([(0, 24), (25, 71)], [(0, 24)]),
        ([(-100, 200)], [(0, 72)]),
        ([], []),
    ],
)
def test_a_date_is_whole_if_no_instant_is_missing(
    published: list[tuple[int, int]], whole: list[tuple[int, int]]
) -> None:
    windows: list[Window] = [hours(*each) for each in published]
    assert whole_days(hours(0, 72), windows) == [hours(*each) for each in whole]

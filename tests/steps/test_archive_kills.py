"""An archiving that is killed at any change loses and doubles nothing, and the next one completes it."""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import signal
from collections.abc import Awaitable, Callable, Iterator, Sequence
from itertools import count
from multiprocessing.context import ForkServerContext
from pathlib import Path
from typing import Any

import pytest

from sku_velocity.steps.archive import archive_windows
from sku_velocity.steps.destination import Destination
from sku_velocity.steps.export import export_window
from sku_velocity.steps.prune import delete_archived
from sku_velocity.store import Store
from tests.support.archived import age, archive, hour, hours, publish
from tests.support.exported import Rows, published, seen_by_duckdb
from tests.support.published_store import table

pytestmark = pytest.mark.anyio

CHANGES = (2 + 4) + 2 + 1 + 8  # files put and deleted, files read back, the mark, batches of rows deleted


@pytest.fixture(scope="module")
def processes() -> ForkServerContext:
    """Fork archiving processes off one that has imported everything, to avoid a start of Python per kill."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([__name__])
    return context


class Killer:
    """Kills this process in place of the nth change of files or of the store."""

    def __init__(self, changes: int) -> None:
        self.changes, self.steps = changes, count()

    def step(self) -> None:
        if next(self.steps) == self.changes:
            os.kill(os.getpid(), signal.SIGKILL)

    def before(self, change: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
        async def changed(*arguments: Any) -> Any:
            self.step()
            return await change(*arguments)

        return changed

    def destination(self, url: str) -> Destination:
        killer = self

        class Deadly(Destination):
            def put(self, file: Path, name: str) -> None:
                killer.step()
                super().put(file, name)

            def delete(self, names: Sequence[str]) -> None:
                for name in names:
                    killer.step()
                    super().delete([name])

            def batches(self, name: str, size: int) -> Iterator[Any]:
                killer.step()
                return super().batches(name, size)

        return Deadly(url)


def archive_and_die(store_url: str, out: str, changes: int) -> None:
    """Archive two dates, killed in place of the nth change. The body of a process."""
    killer = Killer(changes)

    async def run() -> None:
        async with Store.open(store_url) as store:
            store.archive.mark = killer.before(store.archive.mark)  # type: ignore[method-assign]
            store.archive.delete_batch = killer.before(store.archive.delete_batch)  # type: ignore[method-assign]
            await archive_windows(store, killer.destination(out), hour(49))
            await delete_archived(store, rows_at_once=2)

    asyncio.run(run())


async def archived_rows(url: str, out: Path) -> Rows:
    """Return the rows of the archive whose publication is archived."""
    states = "SELECT publication FROM published_windows WHERE state = 'archived'"
    archived = {row[0] for row in await table(url, states)}
    rows = seen_by_duckdb(out)
    for row in [row for row in rows if row[-1] not in archived]:
        del rows[row]
    return rows


@pytest.mark.parametrize("changes", range(CHANGES + 1))
async def test_an_archiving_killed_at_any_change_loses_and_doubles_nothing(
    store_url: str, tmp_path: Path, processes: ForkServerContext, changes: int
) -> None:
    """Into a directory that has a file of each hour, so that files are replaced and deleted as well."""
    out = tmp_path / "out"
    async with Store.open(store_url) as store:
        for first in range(22, 26):
            await publish(store, hours(first, first + 1), first, first + 0.5)
            await export_window(store, Destination(str(out)), "acme", "WH-01", hours(first, first + 1))
        before = await published(store_url)
        await age(store_url)
        process = processes.Process(target=archive_and_die, args=(store_url, str(out), changes), daemon=True)
        process.start()
        await asyncio.to_thread(process.join)
        assert process.exitcode == (-signal.SIGKILL if changes < CHANGES else 0)
        assert await published(store_url) + await archived_rows(store_url, out) == before
        assert await archive(store, store_url, out, hour(49)) in (0, 4)
        assert await published(store_url) == {} and seen_by_duckdb(out) == before
        assert await archived_rows(store_url, out) == before
        assert await table(store_url, "SELECT count(*) FROM movements") == [(0,)]

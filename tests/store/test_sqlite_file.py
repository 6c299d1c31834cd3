"""The file of a SQLite store: deleted or replaced while it is open, and paths that cannot name one."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from sku_velocity.errors import StoreConfigurationError
from sku_velocity.model.chunk import Chunk, Page
from sku_velocity.store import Store
from sku_velocity.store.database import Database
from tests.support.store_rows import REPORT, a_page, a_row, a_run, hours, land_hourly

pytestmark = pytest.mark.anyio


@pytest.fixture
def file(sqlite_url: str) -> Path:
    return Path(sqlite_url.removeprefix("sqlite:///"))


def delete(file: Path) -> None:
    file.unlink()


def exists(file: Path) -> bool:
    return file.exists()


def names_in(directory: Path) -> list[str]:
    return [path.name for path in directory.iterdir()]


def replace(file: Path) -> None:
    other = file.with_name("other.db")
    other.write_bytes(file.read_bytes())
    other.replace(file)


@pytest.mark.parametrize("change", [delete, replace])
async def test_nothing_is_published_or_landed_in_a_file_that_is_gone(
    sqlite_url: str, file: Path, change: Callable[[Path], None]
) -> None:
    async with Store.open(sqlite_url) as store:
        landed = await land_hourly(store, hours(0, 2))
        begun = a_run()
        await store.runs.begin(begun, [Chunk(0, 0, 1, 1)])
        change(file)
        with pytest.raises(StoreConfigurationError, match="deleted or replaced while it was open"):
            await store.publications.publish(landed.id, REPORT)
        with pytest.raises(StoreConfigurationError, match="start a new run"):
            await store.chunks.land_page(begun.id, 0, a_page(Page(0, 1), [a_row(0)]))
        assert exists(file) is (change is replace)  # no empty store is created in its place


async def test_a_file_that_is_deleted_during_a_transaction_fails_it(sqlite_url: str, file: Path) -> None:
    database = Database(sqlite_url)
    with pytest.raises(StoreConfigurationError, match="deleted or replaced"):
        async with database.writing():
            delete(file)
    await database.close()


async def test_a_moved_working_directory_does_not_change_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "below").mkdir()
    monkeypatch.chdir(tmp_path)
    async with Store.open("sqlite:///here.db") as store:
        monkeypatch.chdir(tmp_path / "below")
        await land_hourly(store, hours(0, 2))
    assert names_in(tmp_path / "below") == []


@pytest.mark.parametrize("path", ["a?b/s.db", "s.db?", "s.db?timeout=3"])
async def test_a_path_with_a_question_mark_is_refused_and_nothing_is_created(
    tmp_path: Path, path: str
) -> None:
    with pytest.raises(StoreConfigurationError, match=r"remove the '\?'"):
        async with Store.open(f"sqlite:///{tmp_path}/{path}"):
            pass
    assert names_in(tmp_path) == []

"""A published window as a Parquet file: complete, named by its contents, and written once."""

from __future__ import annotations

import string
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path, PurePosixPath
from typing import Any

import fsspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from fsspec.implementations.memory import MemoryFileSystem
from hypothesis import given
from hypothesis import strategies as st

from sku_velocity.errors import ConfigurationError, ExportError
from sku_velocity.model.chunk import Chunk, Page, PageResult
from sku_velocity.model.movement import MovementRow
from sku_velocity.model.run import SyncRun
from sku_velocity.model.window import Window
from sku_velocity.steps.export import SCHEMA, Destination, export_window, file_name
from sku_velocity.steps.replay import replay_run
from sku_velocity.store import Store
from tests.support.dead_letters import OPEN, dead_letter, fixed_spec, land_run

pytestmark = pytest.mark.anyio

MIDNIGHT = datetime(2026, 3, 1, tzinfo=UTC)
DAY = Window(MIDNIGHT, MIDNIGHT + timedelta(days=1))
NAME = "acme.WH-01.20260301T000000Z-20260302T000000Z.parquet"
_ids = (f"run-{number}" for number in count())


@pytest.fixture
async def store(store_url: str) -> AsyncIterator[Store]:
    async with Store.open(store_url) as opened:
        yield opened


def hour(number: float) -> datetime:
    return MIDNIGHT + timedelta(hours=number)


async def publish(store: Store, *hours: float, window: Window = DAY, units: int = 1) -> SyncRun:
    """Publish a window with a movement at each of these hours."""
    run = SyncRun(next(_ids), "acme", "WH-01", window, len(hours))
    await store.runs.begin(run, [Chunk(0, 0, len(hours), len(hours))] if hours else [])
    if hours:
        rows = [
            MovementRow(n, f"m-{n}" if n else None, "SKU-1", "WH-01", units, hour(at))
            for n, at in enumerate(hours)
        ]
        await store.chunks.land_page(run.id, 0, PageResult(Page(0, len(rows)), len(rows), rows, []))
    await store.publications.publish(run.id, "{}")
    return run


async def export(store: Store, place: Path | str, **options: Any) -> str:
    return await export_window(store, Destination(str(place)), "acme", "WH-01", DAY, **options)


async def test_published_movements_are_written_with_the_columns_of_the_view(
    store: Store, tmp_path: Path
) -> None:
    run = await publish(store, 3.5, 1)
    assert await export(store, tmp_path) == NAME
    table = pq.read_table(tmp_path / NAME)
    assert table.schema.remove_metadata() == SCHEMA
    assert table.schema.field("timestamp_utc").type == pa.timestamp("us", tz="UTC")
    same = {"source": "acme", "warehouse_id": "WH-01", "sku_id": "SKU-1", "run_id": run.id}
    assert table.to_pylist() == [
        {**same, "units_moved": 1, "timestamp_utc": hour(3.5), "movement_id": None, "position": 0},
        {**same, "units_moved": 1, "timestamp_utc": hour(1), "movement_id": "m-1", "position": 1},
    ]


async def test_a_window_without_movements_is_a_file_without_rows(store: Store, tmp_path: Path) -> None:
    await publish(store)
    await export(store, tmp_path / "made" / "on the way")
    assert pq.read_table(tmp_path / "made" / "on the way" / NAME).num_rows == 0


async def test_rows_are_written_in_row_groups(store: Store, tmp_path: Path) -> None:
    await publish(store, *(n / 10 for n in range(25)))
    await export(store, tmp_path, row_group=10)
    file = pq.ParquetFile(tmp_path / NAME)
    assert [file.metadata.row_group(n).num_rows for n in range(file.num_row_groups)] == [10, 10, 5]


async def test_only_the_published_movements_of_the_window_are_written(store: Store, tmp_path: Path) -> None:
    await publish(store, 1, 2, 3, 4)
    wider = Window(hour(3), hour(30))
    await publish(store, 5, 25, window=wider, units=7)
    await export(store, tmp_path)
    columns = pq.read_table(tmp_path / NAME).to_pydict()
    assert columns["units_moved"] == [1, 1, 7] and columns["timestamp_utc"] == [hour(1), hour(2), hour(5)]


async def test_an_up_to_date_file_is_not_rewritten(store: Store, tmp_path: Path) -> None:
    await publish(store, 1)
    await export(store, tmp_path)
    before = (tmp_path / NAME).stat().st_mtime_ns
    await export(store, tmp_path)
    assert (tmp_path / NAME).stat().st_mtime_ns == before


async def test_the_same_runs_yield_the_same_bytes(store: Store, tmp_path: Path) -> None:
    await publish(store, 1, 2)
    await export(store, tmp_path / "a")
    await export(store, tmp_path / "b")
    assert (tmp_path / "a" / NAME).read_bytes() == (tmp_path / "b" / NAME).read_bytes()


async def test_a_window_that_was_published_again_is_written_again(store: Store, tmp_path: Path) -> None:
    await publish(store, 1)
    await export(store, tmp_path)
    await publish(store, 1, 2)
    await export(store, tmp_path)
    assert pq.read_table(tmp_path / NAME).num_rows == 2


async def test_a_file_on_another_file_system_is_moved_into_place(store: Store) -> None:
    await publish(store, 1, 2)
    place = f"memory://{next(_ids)}/export"
    assert await export(store, place) == NAME == await export(store, place)
    with fsspec.open(f"{place}/{NAME}") as file:
        assert pq.read_table(file).num_rows == 2
    assert [PurePosixPath(path).name for path in fsspec.filesystem("memory").ls(place, detail=False)] == [
        NAME
    ]


class Bucket(MemoryFileSystem):  # type: ignore[misc]  # fsspec has no types
    """An object store that records its puts, and fails while `fails` is set."""

    protocol = "r2"
    put: list[str] = []
    fails = False

    @classmethod
    def _strip_protocol(cls, path: str) -> str:
        return str(MemoryFileSystem._strip_protocol(path.replace("r2://", "memory://")))

    def put_file(self, lpath: str, rpath: str, **options: Any) -> None:
        if Bucket.fails:
            raise RuntimeError("SlowDown")
        Bucket.put.append(PurePosixPath(rpath).name)
        super().put_file(lpath, rpath, **options)


fsspec.register_implementation("r2", Bucket, clobber=True)


async def test_an_object_is_put_once_under_its_name(store: Store) -> None:
    await publish(store, 1)
    Bucket.put = []
    await export(store, f"r2://{next(_ids)}")
    assert Bucket.put == [NAME]


async def test_a_failing_store_raises_a_retriable_error_and_keeps_the_old_object(store: Store) -> None:
    await publish(store, 1)
    place = f"r2://{next(_ids)}"
    await export(store, place)
    await publish(store, 1, 2)
    Bucket.fails = True
    with pytest.raises(ExportError, match=r"export to r2://.*RuntimeError: SlowDown"):
        await export(store, place)
    Bucket.fails = False
    with fsspec.open(f"{place}/{NAME}") as file:
        assert pq.read_table(file).num_rows == 1


def test_an_interrupted_write_keeps_the_old_file(tmp_path: Path) -> None:
    (tmp_path / NAME).write_text("before")
    with pytest.raises(RuntimeError), Destination(str(tmp_path)).scratch() as file:
        file.write_text("half")
        raise RuntimeError
    assert (tmp_path / NAME).read_text() == "before" and len(list(tmp_path.iterdir())) == 1


async def test_an_export_deletes_what_a_killed_one_left(store: Store, tmp_path: Path) -> None:
    await publish(store, 1)
    left = f".sku-velocity-20260301-{'0' * 32}.tmp"
    for place in (f"file://{tmp_path}/out", f"memory://{next(_ids)}/export"):
        fs, root = fsspec.core.url_to_fs(place)
        fs.makedirs(root)
        fs.pipe_file(f"{root}/{left}", b"half")
        await export(store, place)
        assert [PurePosixPath(path).name for path in fs.ls(root, detail=False)] == [NAME]


async def test_a_broken_file_is_written_again(store: Store, tmp_path: Path) -> None:
    await publish(store, 1)
    for broken in (b"", b"PAR1 and no more"):
        (tmp_path / NAME).write_bytes(broken)
        await export(store, tmp_path)
        assert pq.read_table(tmp_path / NAME).num_rows == 1


async def test_a_path_that_is_not_a_directory_is_a_wrong_setting(store: Store, tmp_path: Path) -> None:
    await publish(store, 1)
    (tmp_path / "file").touch()
    for place in ("file", "file/below"):
        with pytest.raises(ConfigurationError, match="check export_to and its permissions"):
            await export(store, tmp_path / place)


@pytest.mark.parametrize(
    "url",
    [
        "s3://AKIA123:hunter2@bucket/export",
        "sftp://me:hunter2@host/export",
        "sftp://me:hunter/2@host/export",
        "simplecache::s3://me:hunter2@bucket",
        "s3://bucket/export?secret=hunter2",
    ],
)
def test_a_url_with_credentials_is_refused_and_not_repeated(url: str) -> None:
    with pytest.raises(ConfigurationError, match="carries credentials") as caught:
        Destination(url)
    assert "hunter" not in str(caught.value)


@pytest.mark.parametrize("url", ["nowhere://bucket", "adl://store/export"])
def test_an_unsupported_store_is_named_in_the_error(url: str) -> None:
    with pytest.raises(ConfigurationError, match=f"export_to {url}"):
        Destination(url)


def test_the_name_holds_source_warehouse_and_window() -> None:
    assert file_name("acme", "WH-01", DAY) == NAME
    assert file_name("acme", "WH-01", Window.everything()) == "acme.WH-01.everything.parquet"
    odd = replace(DAY, start=MIDNIGHT.replace(microsecond=5))
    assert file_name("acme", "WH-01", odd).startswith("acme.WH-01.20260301T000000_000005Z-")


SAFE = set(string.ascii_letters + string.digits + "-_.")
warehouses = st.text(min_size=1, max_size=300) | st.sampled_from(
    ["WH-01", "wh-01", "CON", "..", "a/b", "a:b"]
)


@given(warehouses, warehouses)
def test_names_are_safe_everywhere_and_unique_per_warehouse(one: str, other: str) -> None:
    name = file_name("acme", one, DAY)
    assert set(name) <= SAFE and len(name) < 150 and name.startswith("acme.")
    assert (one == other) == (name.lower() == file_name("acme", other, DAY).lower())


async def test_a_file_is_written_again_after_dead_letters_were_replayed(store: Store, tmp_path: Path) -> None:
    run = await land_run(store, "run", {3: dead_letter(3)})
    place = Destination(str(tmp_path))
    name = await export_window(store, place, "acme", "WH-01", run.window)
    assert pq.read_table(tmp_path / name).num_rows == 19
    await replay_run(store, fixed_spec(), run, OPEN, "jane")
    await export_window(store, place, "acme", "WH-01", run.window)
    assert pq.read_table(tmp_path / name).num_rows == 20

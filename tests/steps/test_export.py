"""Published windows as Parquet files, one per date: complete, named by their contents, and written once."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path, PurePosixPath
from typing import Any

import fsspec
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from fsspec.implementations.memory import MemoryFileSystem

from sku_velocity.errors import ConfigurationError, ExportError
from sku_velocity.model.chunk import Chunk, Page, PageResult
from sku_velocity.model.movement import DETAILS, MovementRow
from sku_velocity.model.run import SyncRun
from sku_velocity.model.window import Window
from sku_velocity.output.schemas import MOVEMENTS
from sku_velocity.steps.destination import Destination
from sku_velocity.steps.export import content_of, export_window, file_name
from sku_velocity.steps.replay import replay_run
from sku_velocity.store import Store
from tests.support.dead_letters import OPEN, dead_letter, fixed_spec, land_run
from tests.support.exported import files, published, seen_by_duckdb, seen_by_pyarrow

pytestmark = pytest.mark.anyio

MIDNIGHT = datetime(2026, 3, 1, tzinfo=UTC)
DAY = Window(MIDNIGHT, MIDNIGHT + timedelta(days=1))
DIRECTORY = "source=acme/warehouse=WH-01"
NAME = f"{DIRECTORY}/date=2026-03-01/20260301T000000Z-20260302T000000Z.parquet"
_ids = (f"run-{number}" for number in count())


@pytest.fixture
def out(tmp_path: Path) -> Path:
    """The directory of the export, which the first one makes."""
    return tmp_path / "made" / "on the way"


def hour(number: float) -> datetime:
    return MIDNIGHT + timedelta(hours=number)


def hours(start: float, end: float) -> Window:
    return Window(hour(start), hour(end))


def name_of(start: float, end: float) -> str:
    """Return the path of the file of these hours."""
    return f"{DIRECTORY}/date={hour(start).date()}/{file_name(hours(start, end))}"


async def publish(
    store: Store, *at: float, window: Window = DAY, units: int = 1, warehouse: str = "WH-01"
) -> SyncRun:
    """Publish a window with a movement at each of these hours."""
    run = SyncRun(next(_ids), "acme", warehouse, window, len(at))
    await store.runs.begin(run, [Chunk(0, 0, len(at), len(at))] if at else [])
    if at:
        rows = [
            MovementRow(n, f"m-{n}" if n else None, "SKU-1", warehouse, units, hour(each))
            for n, each in enumerate(at)
        ]
        await store.chunks.land_page(run.id, 0, PageResult(Page(0, len(rows)), len(rows), rows, []))
    await store.publications.publish(run.id, "{}")
    return run


async def export(
    store: Store, place: Path | str, window: Window = DAY, warehouse: str = "WH-01", **options: Any
) -> int:
    """Export a window. Return the number of dates whose files changed."""
    done = await export_window(store, Destination(str(place)), "acme", warehouse, window, **options)
    assert done.directory == f"source=acme/warehouse={warehouse}"
    return done.changed


async def test_published_movements_are_written_ordered_by_time(store: Store, out: Path) -> None:
    run = await publish(store, 3.5, 1)
    assert await export(store, out) == 1 and files(out) == [NAME]
    file = pq.ParquetFile(out / NAME)
    assert file.schema_arrow.equals(MOVEMENTS)
    assert file.schema_arrow.field("units_moved").metadata[b"unit"] == b"units"
    [segment] = await store.publications.segments("acme", "WH-01", DAY)
    same = {"warehouse_id": "WH-01", "sku_id": "SKU-1", "run_id": run.id}
    same |= dict.fromkeys(DETAILS)
    same |= {"publication": segment.publication, "published_at": segment.published_at}
    assert file.read().to_pylist() == [
        {**same, "units_moved": 1, "timestamp_utc": hour(1), "movement_id": "m-1", "position": 1},
        {**same, "units_moved": 1, "timestamp_utc": hour(3.5), "movement_id": None, "position": 0},
    ]


async def test_the_schema_is_the_same_from_the_first_file_on(store: Store, out: Path) -> None:
    await publish(store, 1)  # no movement has an id
    await export(store, out)
    assert pq.read_schema(out / NAME).field("movement_id").type == pa.string()


async def test_the_optional_fields_are_written(store: Store, out: Path) -> None:
    details = ("PICK", "SO-1", "A-01-02", "CS", "out", '{"lot": "L-1"}')
    row = MovementRow(0, None, "SKU-1", "WH-01", 1, hour(1), *details)
    run = SyncRun(next(_ids), "acme", "WH-01", DAY, 1)
    await store.runs.begin(run, [Chunk(0, 0, 1, 1)])
    await store.chunks.land_page(run.id, 0, PageResult(Page(0, 1), 1, [row], []))
    await store.publications.publish(run.id, "{}")
    await export(store, out)
    assert pd.read_parquet(out)[list(DETAILS)].to_records(index=False).tolist() == [details]


async def test_readers_see_what_is_published(store: Store, store_url: str, out: Path) -> None:
    await publish(store, *(n / 3 for n in range(200)), window=hours(-5, 70))
    assert await export(store, out, hours(-5, 70)) == 3
    assert seen_by_duckdb(out) == seen_by_pyarrow(out) == await published(store_url)
    frame = pd.read_parquet(out)
    assert len(frame) == 200 and set(frame["warehouse"]) == {"WH-01"}


async def test_a_window_has_one_file_per_utc_date_with_movements(store: Store, out: Path) -> None:
    await publish(store, 30, 1, 100, 25, window=Window.everything())
    assert await export(store, out, Window.everything()) == 3
    assert files(out) == [name_of(0, 24), name_of(24, 48), name_of(96, 120)]
    assert pq.read_table(out / name_of(24, 48))["timestamp_utc"].to_pylist() == [hour(25), hour(30)]
    assert await export(store, out, Window.everything()) == 0


async def test_a_window_without_movements_has_no_file(store: Store, out: Path) -> None:
    await publish(store)
    assert await export(store, out) == 0 and files(out) == []


async def test_rows_are_written_in_row_groups(store: Store, out: Path) -> None:
    await publish(store, *(n / 10 for n in range(25)))
    await export(store, out, row_group=10)
    file = pq.ParquetFile(out / NAME)
    assert [file.metadata.row_group(n).num_rows for n in range(file.num_row_groups)] == [10, 10, 5]


async def test_an_up_to_date_file_is_not_rewritten(store: Store, out: Path) -> None:
    await publish(store, 1)
    assert await export(store, out) == 1
    before = (out / NAME).stat().st_mtime_ns
    assert await export(store, out) == 0
    assert (out / NAME).stat().st_mtime_ns == before


async def test_a_file_of_other_columns_is_written_again(store: Store, out: Path) -> None:
    await publish(store, 1)
    await export(store, out)
    older = pq.read_table(out / NAME)
    pq.write_table(older.drop_columns(["movement_id"]), out / NAME)
    assert await export(store, out) == 1
    assert pq.read_table(out / NAME, partitioning=None).equals(older)


async def test_the_same_runs_yield_the_same_bytes(store: Store, out: Path) -> None:
    await publish(store, 1, 2)
    await export(store, out / "a")
    await export(store, out / "b")
    assert (out / "a" / NAME).read_bytes() == (out / "b" / NAME).read_bytes()


async def test_a_revision_replaces_the_files_and_deletes_those_of_dates_that_it_leaves_empty(
    store: Store, store_url: str, out: Path
) -> None:
    window = hours(0, 72)
    await publish(store, 1, 30, 50, window=window)
    await export(store, out, window)
    await publish(store, 30, 31, window=window)
    assert await export(store, out, window) == 3
    assert files(out) == [name_of(24, 48)]
    assert seen_by_duckdb(out) == await published(store_url)


async def test_windows_of_a_date_have_files_of_their_own(store: Store, store_url: str, out: Path) -> None:
    for first in (5, 0, 7):
        await publish(store, first, first + 0.5, window=hours(first, first + 1))
        assert await export(store, out, hours(first, first + 1)) == 1
    assert files(out) == [name_of(0, 1), name_of(5, 6), name_of(7, 8)]
    assert seen_by_duckdb(out) == await published(store_url)


async def test_a_window_that_cuts_others_is_joined_with_them(store: Store, store_url: str, out: Path) -> None:
    for first in range(20, 28):
        await publish(store, first, first + 0.5, window=hours(first, first + 1))
        await export(store, out, hours(first, first + 1))
    await publish(store, 22.75, 25, window=hours(22.5, 26), units=7)
    assert await export(store, out, hours(22.5, 26)) == 2
    assert files(out) == [
        *(name_of(*each) for each in ((20, 21), (21, 22), (22, 24), (24, 26), (26, 27), (27, 28)))
    ]
    assert seen_by_duckdb(out) == await published(store_url)


async def test_a_revised_hour_of_a_joined_date_rewrites_the_date_atomically(
    store: Store, store_url: str, out: Path
) -> None:
    for first in range(3):
        await publish(store, first, window=hours(first, first + 1))
        await export(store, out, hours(first, first + 1))
    assert await export(store, out) == 1 and files(out) == [NAME]
    await publish(store, 1, 1.5, window=hours(1, 2), units=9)
    assert await export(store, out, hours(1, 2)) == 1 and files(out) == [NAME]
    assert seen_by_duckdb(out) == await published(store_url)


async def test_files_of_others_are_left_alone(store: Store, out: Path) -> None:
    place = out / DIRECTORY / "date=2026-03-01"
    place.mkdir(parents=True)
    theirs = [
        "notes.txt",
        "20260301T000000Z-20260301T000000Z.parquet",
        "20269901T000000Z-20260301T000000Z.parquet",
    ]
    for name in theirs:
        (place / name).touch()
    (out / DIRECTORY / "date=today").mkdir()
    await publish(store, 1)
    await export(store, out)
    assert {path.name for path in place.iterdir()} == {*theirs, PurePosixPath(NAME).name}


async def test_a_file_on_another_file_system_is_moved_into_place(store: Store) -> None:
    await publish(store, 1, 2)
    place = f"memory://{next(_ids)}/export"
    assert (await export(store, place), await export(store, place)) == (1, 0)
    with fsspec.open(f"{place}/{NAME}") as file:
        assert pq.read_table(file).num_rows == 2
    assert fsspec.filesystem("memory").find(place) == [f"{place.removeprefix('memory:/')}/{NAME}"]


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
    assert Bucket.put == [PurePosixPath(NAME).name]


async def test_objects_are_joined(store: Store) -> None:
    place = f"r2://{next(_ids)}"
    for first in range(3):
        await publish(store, first, window=hours(first, first + 1))
        await export(store, place, hours(first, first + 1))
    assert (await export(store, place), await export(store, place)) == (1, 0)
    fs, root = fsspec.core.url_to_fs(place)
    assert [path.removeprefix(f"{root}/") for path in fs.find(root)] == [NAME]


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


def test_an_interrupted_write_leaves_nothing(out: Path) -> None:
    with pytest.raises(RuntimeError), Destination(str(out)).scratch() as file:
        file.write_text("half")
        raise RuntimeError
    assert list(out.iterdir()) == []


async def test_an_export_deletes_what_a_killed_one_left(store: Store, out: Path) -> None:
    await publish(store, 1)
    left = f".sku-velocity-20260301-{'0' * 32}.tmp"
    for place in (f"file://{out}/out", f"memory://{next(_ids)}/export"):
        fs, root = fsspec.core.url_to_fs(place)
        fs.makedirs(root)
        fs.pipe_file(f"{root}/{left}", b"half")
        await export(store, place)
        assert [path.removeprefix(f"{root}/") for path in fs.find(root)] == [NAME]


async def test_a_broken_file_is_written_again(store: Store, out: Path) -> None:
    await publish(store, 1)
    await export(store, out)
    for broken in (b"", b"PAR1 and no more"):
        (out / NAME).write_bytes(broken)
        await export(store, out)
        assert pq.read_table(out / NAME).num_rows == 1


async def test_a_path_that_is_not_a_directory_is_a_wrong_setting(store: Store) -> None:
    await publish(store, 1)
    file = Path(__file__)
    for place, reason in (
        (file, "is a file: write a directory"),
        (file / "below", "check export_to and its permissions"),
    ):
        with pytest.raises(ConfigurationError, match=reason):
            await export(store, place)


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


@pytest.mark.parametrize(
    "window", [DAY, Window(MIDNIGHT.replace(microsecond=5), hour(3)), Window.everything()]
)
def test_the_name_of_a_file_is_the_range_that_it_holds(window: Window) -> None:
    assert content_of(file_name(window)) == window
    assert file_name(DAY) == "20260301T000000Z-20260302T000000Z.parquet"


async def test_a_file_is_written_again_after_dead_letters_were_replayed(store: Store, out: Path) -> None:
    run = await land_run(store, "run", {3: dead_letter(3)})
    await export(store, out, run.window)
    assert seen_by_duckdb(out).total() == 19
    await replay_run(store, fixed_spec(), run, OPEN, "jane")
    assert await export(store, out, run.window) == 1
    assert seen_by_duckdb(out).total() == 20

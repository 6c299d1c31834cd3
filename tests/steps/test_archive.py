"""What is archived is final, is read from the archive where it is needed, and never counts as zero."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pyarrow as pa
import pyarrow.compute
import pyarrow.parquet as pq
import pytest

from sku_velocity.cli.executor import Executor
from sku_velocity.errors import ConfigurationError, ExportError, IncompleteWindowError
from sku_velocity.model.activity import ALL_TYPES
from sku_velocity.model.calendar import Period, covered_shares
from sku_velocity.model.dead_letter import DeadLetterFilter
from sku_velocity.model.window import Window
from sku_velocity.steps.archive import archive_windows
from sku_velocity.steps.destination import Destination
from sku_velocity.steps.export import export_window
from sku_velocity.steps.prune import MIN_MOVEMENT_DAYS
from sku_velocity.steps.replay import replay_run
from sku_velocity.store import Store
from sku_velocity.store.rollup_reading import YEAR
from sku_velocity.velocity.figures import LONGEST
from tests.support.acme import WHOLE, wms
from tests.support.archived import MIDNIGHT, age, archive, daily, hour, hours, publish
from tests.support.dead_letters import OPEN, dead_letter, fixed_spec, land_run
from tests.support.engine import seconds
from tests.support.exported import files, published, seen_by_duckdb
from tests.support.operations import prune, sync
from tests.support.published_store import table

pytestmark = pytest.mark.anyio

PROCESS = Executor()
BERLIN, UTC_ZONE = ZoneInfo("Europe/Berlin"), ZoneInfo("UTC")
LATER = datetime(2100, 1, 1, tzinfo=UTC)


def period(zone: ZoneInfo, days: int = 5) -> Period:
    return Period(zone, (MIDNIGHT + timedelta(days=days - 1)).date(), days)


async def three_days(store: Store, url: str, out: Path) -> None:
    """Publish three UTC days with a movement at 10:00 and one at 23:30, and archive the first two."""
    for day in range(3):
        await publish(store, hours(24 * day, 24 * day + 24), 24 * day + 10, 24 * day + 23.5)
    assert await archive(store, url, out, hour(48)) == 2


async def test_an_archived_window_is_published_without_rows(
    store_url: str, store: Store, tmp_path: Path
) -> None:
    before = None
    for day in range(3):
        await publish(store, hours(24 * day, 24 * day + 24), 24 * day + 10)
    before = await published(store_url)
    assert await store.archive.count(hour(200)) == (0, 0)  # published just now
    assert await archive(store, store_url, tmp_path / "out", hour(48)) == 2
    assert await published(store_url) + seen_by_duckdb(tmp_path / "out") == before
    states = "SELECT publication, state, archived_to FROM published_windows ORDER BY publication"
    place = str(tmp_path / "out")
    assert await table(store_url, states) == [
        (1, "archived", place),
        (2, "archived", place),
        (3, "published", None),
    ]
    [status] = await store.status.of_warehouses()
    assert (status.rows, status.archived, status.gaps) == (1, (2, place, hour(48)), [])
    assert status.coverage.by_spec("another").gaps(hours(0, 72)) == [hours(48, 72)]


async def test_an_archived_window_is_not_read_or_published_again(
    store_url: str, store: Store, tmp_path: Path
) -> None:
    await land_run(store, "open", {}, seconds(0, 20), published=False)
    await publish(store, Window(seconds(0, 20).start - timedelta(days=1), seconds(0, 20).end))
    await archive(store, store_url, tmp_path / "out", LATER)
    message = "are archived in .*out, and an archived window is final: read a window without it, or read"
    with pytest.raises(IncompleteWindowError, match=message):
        await store.publications.check_not_archived("acme", "WH-01", seconds(5, 6))
    with pytest.raises(IncompleteWindowError, match=message):
        await publish(store, seconds(5, 6), id="new")
    await store.publications.check_not_archived("acme", "WH-02", seconds(5, 6))


def test_a_sync_of_an_archived_window_says_so_before_any_request(
    token: None, sqlite_url: str, tmp_path: Path
) -> None:
    async def archive_all() -> int:
        async with Store.open(sqlite_url) as store:
            return await archive(store, sqlite_url, tmp_path / "out", LATER)

    with wms(tmp_path) as (server, source):
        sync(PROCESS, source, sqlite_url, **WHOLE)
        assert asyncio.run(archive_all()) == 1
        requests = server.stats().requests
        with pytest.raises(IncompleteWindowError, match="an archived window is final"):
            sync(PROCESS, source, sqlite_url, **WHOLE)
        assert server.stats().requests == requests


async def test_rechecks_leave_archived_windows_and_count_reported_changes_in_them(
    store_url: str, store: Store, tmp_path: Path
) -> None:
    await three_days(store, store_url, tmp_path / "out")
    ranges = [each.ranges for each in await store.rechecks.windows("acme", MIDNIGHT)]
    assert ranges == [(hours(48, 72),)]
    changed = [hour(1), hour(2), hour(25), hour(50)]
    assert await store.rechecks.note_changes("acme", "WH-01", changed, hour(80)) == 2
    assert await table(store_url, "SELECT count(*) FROM sync_runs WHERE changed_at IS NOT NULL") == [(1,)]


async def test_dead_letters_of_an_archived_window_are_not_replayed(
    store_url: str, store: Store, tmp_path: Path
) -> None:
    run = await land_run(store, "run", {3: dead_letter(3)})
    await archive(store, store_url, tmp_path / "out", LATER)
    assert await store.replays.runs(OPEN) == []
    assert [each.id for each in await store.replays.runs(DeadLetterFilter(run="run"))] == ["run"]
    with pytest.raises(ConfigurationError, match="run run of WH-01 .* are archived in .*: discard its dead"):
        await replay_run(store, fixed_spec(), run, OPEN, "jane")


async def test_an_archived_window_is_not_pushed(store_url: str, store: Store, tmp_path: Path) -> None:
    await land_run(store, "run", {})
    await store.pushes.begin("run", 0, "slots")
    assert await store.pushes.next_batch("run", 0, "slots", 4)
    await archive(store, store_url, tmp_path / "out", LATER)
    message = "run run: its movements are archived in .*, so they are not pushed any more"
    for index in (0, 1):  # begun, and not begun
        with pytest.raises(ConfigurationError, match=message):
            await store.pushes.begin("run", index, "slots")
    with pytest.raises(ConfigurationError, match=message):
        await store.pushes.next_batch("run", 0, "slots", 4)
    assert [each.index for each in await store.pushes.unpushed("run", "slots")] == [0, 1]


@pytest.mark.parametrize("was_counted", [False, True])
async def test_archived_days_that_are_counted_in_another_way_are_missing_and_not_zero(
    store_url: str, store: Store, tmp_path: Path, was_counted: bool
) -> None:
    if was_counted:
        for day in range(3):
            await publish(store, hours(24 * day, 24 * day + 24), 24 * day + 10, 24 * day + 23.5)
        before = await store.activity.of("acme", "WH-01", period(UTC_ZONE))
        await archive(store, store_url, tmp_path / "out", hour(48))
        assert daily(await store.activity.of("acme", "WH-01", period(UTC_ZONE))) == daily(before)
    else:
        await three_days(store, store_url, tmp_path / "out")
    # In Berlin the third day begins at 23:00 UTC of the second one, so a part of it is archived.
    for counted in (None, [ALL_TYPES]):
        activity = await store.activity.of("acme", "WH-01", period(BERLIN), counted)
        assert covered_shares(period(BERLIN), activity.published) == [0, 0, 0, 1 / 24, 0]
        assert [sums for sums in daily(activity).values()] == [{"SKU-1": (2, 1, 0)}]
        first = activity.daily.first.tolist()[activity.daily.skus.tolist().index("SKU-1")]
        assert first == hour(23.5 if was_counted else 71.5).timestamp() * 1e6
    await publish(store, hours(72, 96), 80)
    activity = await store.activity.of("acme", "WH-01", period(BERLIN))
    assert covered_shares(period(BERLIN), activity.published) == [0, 0, 0, 1, 1 / 24]


async def test_what_is_published_in_an_archived_day_later_is_missing_and_not_zero(
    store_url: str, store: Store, tmp_path: Path
) -> None:
    await publish(store, hours(0, 12), 3)
    await store.activity.of("acme", "WH-01", period(UTC_ZONE))
    await archive(store, store_url, tmp_path / "out", hour(12))
    await publish(store, hours(12, 24), 13, 14)
    activity = await store.activity.of("acme", "WH-01", period(UTC_ZONE))
    assert covered_shares(period(UTC_ZONE), activity.published) == [0.5, 0, 0, 0, 0]
    assert list(daily(activity).values()) == [{"SKU-0": (1, 1, 0)}]


async def test_an_archived_window_is_exported_elsewhere_from_the_archive(
    store_url: str, store: Store, tmp_path: Path
) -> None:
    for day in range(3):
        await publish(store, hours(24 * day + 22, 24 * day + 46), 24 * day + 23, 24 * day + 30)
    before = await published(store_url)
    await archive(store, store_url, tmp_path / "archive", hour(70))
    new = Destination(str(tmp_path / "new"))
    done = await export_window(store, new, "acme", "WH-01", hours(0, 96))
    assert done.changed == 4 and seen_by_duckdb(tmp_path / "new") == before
    assert (await export_window(store, new, "acme", "WH-01", hours(0, 96))).changed == 0


@pytest.mark.parametrize("name", ["archive", "exported"])
async def test_files_that_are_joined_keep_archived_rows(
    store_url: str, store: Store, tmp_path: Path, name: str
) -> None:
    """In the archive itself, and in a directory that the windows had been exported to."""
    exported = Destination(str(tmp_path / "exported"))
    for number in range(6):
        window = hours(number * 4, number * 4 + 4)
        await publish(store, window, number * 4 + 1, number * 4 + 2)
        await export_window(store, exported, "acme", "WH-01", window)
    before = await published(store_url)
    for until in (8, 16):
        await archive(store, store_url, tmp_path / "archive", hour(until))
    joined = Destination(str(tmp_path / name))
    assert (await export_window(store, joined, "acme", "WH-01", hours(0, 24))).changed == 1
    assert seen_by_duckdb(tmp_path / name) == before and len(files(tmp_path / name)) == 1
    assert await archive(store, store_url, tmp_path / "archive", hour(24)) == 2
    assert seen_by_duckdb(tmp_path / "archive") == before and await published(store_url) == {}


async def test_an_archive_that_is_gone_is_an_error(store_url: str, store: Store, tmp_path: Path) -> None:
    await three_days(store, store_url, tmp_path / "out")
    (tmp_path / "out").rename(tmp_path / "moved")
    new = Destination(str(tmp_path / "new"))
    with pytest.raises(ExportError, match="archive .*/out: it has no source=acme/warehouse=WH-01.* restore"):
        await export_window(store, new, "acme", "WH-01", hours(0, 72))


async def test_units_whose_sum_has_more_than_64_bits_are_archived(
    store_url: str, store: Store, tmp_path: Path
) -> None:
    await publish(store, hours(0, 24), 1, 2, 3, units=2**63 - 3)
    before = await published(store_url)
    assert await archive(store, store_url, tmp_path, hour(24)) == 1
    assert seen_by_duckdb(tmp_path) == before


def fewer_rows(file: Path) -> None:
    pq.write_table(pq.read_table(file).slice(0, 2), file)


def other_units(file: Path) -> None:
    moved = pq.read_table(file)
    column = moved.schema.get_field_index("units_moved")
    more = pa.compute.add(moved["units_moved"], 1)
    pq.write_table(moved.set_column(column, moved.schema.field(column), more), file)


def a_wrong_bit(file: Path) -> None:
    content = bytearray(file.read_bytes())
    content[content.index(b"SKU-1")] ^= 1  # of its values
    file.write_bytes(content)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (
            fewer_rows,
            r"have 2 rows \(units 3\) of run .* of WH-01 from acme, the store has 3 rows \(units 6\)",
        ),
        (
            other_units,
            r"have 3 rows \(units 9\) of run .*, the store has 3 rows \(units 6\): nothing was deleted",
        ),
        (a_wrong_bit, "CRC"),
    ],
)
async def test_nothing_is_deleted_if_the_files_do_not_have_it(
    store_url: str, store: Store, tmp_path: Path, damage: Callable[[Path], None], message: str
) -> None:
    """The file has changed since it was written, and has the same name and metadata."""
    out = tmp_path / "out"
    await publish(store, hours(0, 24), 1, 2, 3)
    await export_window(store, Destination(str(out)), "acme", "WH-01", hours(0, 24))
    [name] = files(out)
    damage(out / name)
    before = await published(store_url)
    with pytest.raises(ExportError, match=message):
        await archive(store, store_url, out, hour(24))
    assert await published(store_url) == before


async def test_a_window_that_is_revised_while_it_is_archived_stays(
    store_url: str, store: Store, tmp_path: Path
) -> None:
    class Revising(Destination):
        """A destination whose files another run makes outdated as soon as they are read back."""

        def batches(self, name: str, size: int) -> Iterator[object]:  # type: ignore[override]
            yield from super().batches(name, size)
            asyncio.run_coroutine_threadsafe(revise(), loop).result()

    async def revise() -> None:
        if not (await store.runs.find("revision")):
            await publish(store, hours(0, 24), 5, id="revision")

    loop = asyncio.get_running_loop()
    for day in range(2):
        await publish(store, hours(24 * day, 24 * day + 24), 24 * day + 1)
    await age(store_url)
    archived = await archive_windows(store, Revising(str(tmp_path / "out")), hour(49))
    assert archived == 1
    states = await table(store_url, "SELECT range_start, state FROM published_windows ORDER BY publication")
    assert [state for _, state in states] == ["superseded", "archived", "published"]


def test_the_period_and_the_archive_are_checked_before_anything_is_deleted(
    sqlite_url: str, tmp_path: Path
) -> None:
    assert MIN_MOVEMENT_DAYS > YEAR + LONGEST
    for wrong, message in (
        ({"movement_days": 500}, "movement_days and archive_to belong together"),
        ({"archive_to": str(tmp_path)}, "movement_days and archive_to belong together"),
        ({"movement_days": 459, "archive_to": str(tmp_path)}, "459 is too short: velocity reads .* use 460"),
        ({"movement_days": 460, "archive_to": "s3://a:b@c/d"}, "carries credentials"),
    ):
        with pytest.raises(ConfigurationError, match=message):
            prune(PROCESS, sqlite_url, **wrong)


def test_a_prune_archives_what_is_old_enough(sqlite_url: str, tmp_path: Path) -> None:
    now = datetime.now(UTC)

    async def fill() -> None:
        async with Store.open(sqlite_url) as store:
            for days in (459, 462, 480):
                start = (now - timedelta(days=days)).replace(hour=0, minute=0, second=0, microsecond=0)
                at = (start - MIDNIGHT) / timedelta(hours=1)
                await publish(store, hours(at, at + 24), at + 1, at + 2)
        await age(sqlite_url)

    asyncio.run(fill())
    for dry_run in (True, False):
        outcome, report = prune(
            PROCESS, sqlite_url, movement_days=460, archive_to=str(tmp_path / "out"), dry_run=dry_run
        )
        assert (report.archived_windows, report.archived_rows) == (2, 4)
        verb, left = ("Would archive", "would leave") if dry_run else ("Archived", "left")
        assert outcome.message.endswith(f"{verb} 2 windows; 4 movements {left} the store.")
        assert len(files(tmp_path / "out")) == (0 if dry_run else 2)

"""What a recheck sees by paging style, the order and budget of its windows, and reported changes."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml

from sku_velocity.cli.executor import Executor
from sku_velocity.errors import ConfigurationError, SourceAuthError, SourceMappingError
from sku_velocity.model.window import iso
from sku_velocity.store import Store
from tests.support.late_source import PAGE_SIZE, LateSource, published, serve_late
from tests.support.operations import recheck, sync, sync_master
from tests.support.scripted_server import Reply, answering
from tests.support.store_rows import hour

PROCESS = Executor()
RECORDS = 4 * PAGE_SIZE
FIRST, MIDDLE, LAST = 1, RECORDS // 2, RECORDS - 2

pytestmark = pytest.mark.usefixtures("token")


def at(position: float) -> datetime:
    """Return the time of a record by its position in the first hour."""
    return hour(position / RECORDS)


def replace_one(served: LateSource, names: list[str]) -> None:
    served.delete(names[MIDDLE])
    served.add(at(MIDDLE + 0.5))


EDITS: dict[str, Callable[[LateSource, list[str]], object]] = {
    "nothing": lambda served, names: None,
    **{
        f"{kind} {place}": edit
        for place, position in {"first": FIRST, "middle": MIDDLE, "last": LAST}.items()
        for kind, edit in {
            "late": lambda served, names, position=position: served.add(at(position + 0.5)),
            "deleted": lambda served, names, position=position: served.delete(names[position]),
            "corrected": lambda served, names, position=position: served.correct(
                names[position], units_moved=9
            ),
        }.items()
    },
    "another middle": replace_one,
}
UNSEEN_BY_COUNT = {"corrected middle", "another middle"}
UNSEEN_BY_LINK = UNSEEN_BY_COUNT | {"corrected last"}
UNSEEN_WITHOUT_TOTAL = UNSEEN_BY_LINK | {
    f"{kind} {at}" for kind in ("late", "deleted") for at in ("middle", "last")
}
UNSEEN = {
    ("offset", True): UNSEEN_BY_COUNT,
    ("offset", False): UNSEEN_BY_COUNT,
    ("page", True): UNSEEN_BY_COUNT,
    ("page", False): UNSEEN_BY_COUNT,
    ("cursor", True): UNSEEN_BY_LINK,
    ("cursor", False): UNSEEN_WITHOUT_TOTAL,
    ("next_link", True): UNSEEN_BY_LINK,
    ("next_link", False): UNSEEN_WITHOUT_TOTAL,
}


@pytest.mark.parametrize(("style", "total"), UNSEEN)
def test_what_a_recheck_sees_by_paging_style(
    style: str, total: bool, tmp_path: Path, sqlite_url: str
) -> None:
    unseen, wasted = set(), set()
    with serve_late(style=style, total=total) as served:
        source = served.write_spec(tmp_path)
        for edit, apply in EDITS.items():
            served.records = {}
            names = [served.add(at(position)) for position in range(RECORDS)]
            sync(PROCESS, source, sqlite_url, start=hour(0), end=hour(1))
            apply(served, names)
            _, report = recheck(PROCESS, source, sqlite_url)
            if published(sqlite_url) != served.content:
                unseen.add(edit)
                assert report.windows == []
                recheck(PROCESS, source, sqlite_url, full=True)
            elif edit == "nothing" and report.windows:
                wasted.add(edit)
            assert published(sqlite_url) == served.content
    assert (unseen, wasted) == (UNSEEN[style, total], set())


@pytest.fixture
def late(tmp_path: Path) -> Iterator[tuple[LateSource, str]]:
    """A source with records in six hours, and its spec."""
    with serve_late() as served:
        served.fill(0, 6, 60)
        yield served, served.write_spec(tmp_path)


def read_hours(source: str, store: str, *numbers: int, **parameters: Any) -> None:
    for number in numbers:
        window = {"start": hour(number), "end": hour(number + 1)}
        assert sync(PROCESS, source, store, **window, **parameters)[1].published


def test_the_newest_windows_come_first_and_what_is_left_comes_first_the_next_time(
    late: tuple[LateSource, str], sqlite_url: str
) -> None:
    served, source = late
    read_hours(source, sqlite_url, *range(6))
    seen = []
    for _ in range(3):
        before = served.requests
        _, report = recheck(PROCESS, source, sqlite_url, max_requests=3)
        assert (report.compared, report.not_reached) == (2, 4)
        seen += [url for url, _ in served.server.requests[before:]]
    starts = [url.partition("since=")[2][:18] for url in seen]
    assert list(dict.fromkeys(starts)) == [f"2026-03-01T0{number}%3A00" for number in (5, 4, 3, 2, 1, 0)]
    read_hours(source, sqlite_url, 0)  # published again: compared before those that were compared already
    before = served.requests
    recheck(PROCESS, source, sqlite_url, max_requests=1)
    assert "since=2026-03-01T00" in served.server.requests[before][0]


def test_only_windows_published_within_the_lookback_are_compared(
    late: tuple[LateSource, str], store_url: str
) -> None:
    _, source = late
    read_hours(source, store_url, 0, 1)
    asyncio.run(age(store_url, 0, timedelta(hours=5)))
    _, report = recheck(PROCESS, source, store_url, lookback_hours=4)
    assert report.compared == 1
    _, report = recheck(PROCESS, source, store_url, lookback_hours=6)
    assert report.compared == 2


async def age(url: str, start: int, by: timedelta) -> None:
    """Move the publication of the window that starts at an hour into the past."""
    from sqlalchemy import update

    from sku_velocity.store.tables import sync_runs

    runs = sync_runs.c
    async with Store.open(url) as store:
        [run] = [
            each.run
            for each in await store.rechecks.windows("acme", datetime.min.replace(tzinfo=UTC))
            if each.run.window.start == hour(start)
        ]
        async with store.rechecks.database.writing() as connection:
            then = datetime.now(UTC) - by
            await connection.execute(
                update(sync_runs).where(runs.run_id == run.id).values(finished_at=then, created_at=then)
            )


def test_a_full_recheck_of_an_unchanged_window_leaves_no_trace(
    late: tuple[LateSource, str], store_url: str
) -> None:
    _, source = late
    read_hours(source, store_url, 0)
    before = asyncio.run(runs_in(store_url))
    _, report = recheck(PROCESS, source, store_url, full=True)
    assert (report.compared, report.windows) == (1, [])
    assert asyncio.run(runs_in(store_url)) == before


async def runs_in(url: str) -> list[tuple[Any, ...]]:
    """Return each run's id and state, with the number of its movements and chunks."""
    from tests.support.published_store import table

    async with Store.open(url):
        pass
    counts = ", ".join(
        f"(SELECT count(*) FROM {name} t WHERE t.run_key = r.run_key)" for name in ("movements", "chunks")
    )
    return await table(url, f"SELECT run_id, state, {counts} FROM sync_runs r ORDER BY run_key")


def test_a_part_that_a_later_run_has_left_is_read_as_a_window_of_its_own(
    late: tuple[LateSource, str], store_url: str
) -> None:
    served, source = late
    sync(PROCESS, source, store_url, start=hour(0), end=hour(6))
    sync(PROCESS, source, store_url, start=hour(2), end=hour(3))
    served.add(hour(0.1))
    served.add(hour(5.1))
    _, report = recheck(PROCESS, source, store_url)
    assert published(store_url) == served.content
    assert {(each.start, each.end) for each in report.windows} == {
        (hour(0), hour(2)),
        (hour(3), hour(6)),
    }
    _, report = recheck(PROCESS, source, store_url)
    assert (report.compared, report.windows) == (3, [])


def test_a_window_of_another_spec_is_read_again_because_it_cannot_be_compared(
    late: tuple[LateSource, str], tmp_path: Path, store_url: str
) -> None:
    served, source = late
    read_hours(source, store_url, 0)
    source = served.write_spec(
        tmp_path, fields={"movement_id": "id", "units_moved": {"path": "units_moved", "sign": "abs"}}
    )
    served.add(hour(0.5))
    _, report = recheck(PROCESS, source, store_url)
    [read] = report.windows
    assert read.why.startswith("the spec reads or maps records in another way")
    assert (read.cause, read.added, report.revised, report.lateness) == ("spec", 1, [], None)
    assert published(store_url) == served.between(0, 1)
    _, report = recheck(PROCESS, source, store_url)
    assert report.windows == []


def test_a_full_recheck_by_another_spec_publishes_also_what_is_the_same(
    late: tuple[LateSource, str], tmp_path: Path, sqlite_url: str
) -> None:
    served, source = late
    read_hours(source, sqlite_url, 0)
    source = served.write_spec(tmp_path, order={"params": {"sort": "id"}})
    _, report = recheck(PROCESS, source, sqlite_url, full=True)
    assert [(each.published, each.cause) for each in report.windows] == [(True, "spec")]
    _, report = recheck(PROCESS, source, sqlite_url, full=True)
    assert report.windows == []


def test_rows_are_mapped_by_the_version_of_the_master_that_the_window_was_mapped_by(
    tmp_path: Path, store_url: str
) -> None:
    """A newer version would make rows differ that the source has not changed."""
    items = {"items": [{"sku": "SKU-1", "status": "active", "aliases": []}], "next": None}
    erp = tmp_path / "erp.yaml"
    with serve_late() as served, answering(lambda _: Reply(body=json.dumps(items).encode())) as server:
        erp.write_text(
            yaml.safe_dump(
                {
                    "name": "erp",
                    "base_url": server.url,
                    "records": {"path": "items"},
                    "paging": {"style": "cursor", "cursor_path": "next"},
                    "items": {"sku_id": "sku", "aliases": "aliases"},
                    "auth": {"kind": "none"},
                }
            )
        )
        served.fill(0, 1, 10)
        source = served.write_spec(tmp_path)
        assert sync_master(PROCESS, str(erp), store_url)[1].published
        read_hours(source, store_url, 0, master="erp")
        items["items"] = [{"sku": "SKU-9", "status": "active", "aliases": ["SKU-1"]}]
        assert sync_master(PROCESS, str(erp), store_url)[1].published
        for full in (False, True):
            assert recheck(PROCESS, source, store_url, full=full)[1].windows == []
        served.add(hour(0.5))
        _, report = recheck(PROCESS, source, store_url)
        assert (report.total("added"), report.total("changed")) == (1, 0)
        assert published(store_url) == served.content


def test_a_window_that_cannot_be_read_does_not_stop_the_others(
    late: tuple[LateSource, str], sqlite_url: str
) -> None:
    served, source = late
    read_hours(source, sqlite_url, 0, 1)
    served.add(hour(0.5))
    served.garbled = "since=2026-03-01T01"
    outcome, report = recheck(PROCESS, source, sqlite_url)
    assert outcome.is_failed and [(each.start, each.failed) for each in report.windows] == [
        (hour(1), True),
        (hour(0), False),
    ]
    served.garbled, before = None, served.requests
    outcome, _ = recheck(PROCESS, source, sqlite_url, max_requests=1)
    assert not outcome.is_failed and "since=2026-03-01T01" in served.server.requests[before][0]
    assert published(sqlite_url) == served.between(0, 2)


def test_a_window_that_would_shrink_is_held_until_a_second_recheck(
    late: tuple[LateSource, str], store_url: str
) -> None:
    served, source = late
    read_hours(source, store_url, 0)
    before, names = served.content, list(served.records)
    for name in names[:8]:
        served.delete(name)
    outcome, report = recheck(PROCESS, source, store_url)
    assert outcome.is_failed and [each.published for each in report.windows] == [False]
    assert published(store_url).total() == 10 and before
    outcome, report = recheck(PROCESS, source, store_url)
    assert not outcome.is_failed and published(store_url).total() == 2


def test_a_wrong_token_ends_it_at_once(late: tuple[LateSource, str], sqlite_url: str) -> None:
    served, source = late
    read_hours(source, sqlite_url, 0, 1)
    served.broken_from = before = served.requests
    with pytest.raises(SourceAuthError):
        recheck(PROCESS, source, sqlite_url)
    assert served.requests == before + 1


def test_a_master_is_refused_and_unknown_warehouses_have_no_windows(
    late: tuple[LateSource, str], tmp_path: Path, sqlite_url: str
) -> None:
    served, source = late
    read_hours(source, sqlite_url, 0)
    _, report = recheck(PROCESS, source, sqlite_url, warehouses=["WH-02"])
    assert report.compared == 0
    _, report = recheck(PROCESS, source, sqlite_url, warehouses=["WH-01"])
    assert report.compared == 1
    with pytest.raises(ConfigurationError, match="items"):
        recheck(PROCESS, served.write_spec(tmp_path, items={}, fields={}), sqlite_url)


# Reported changes


@pytest.fixture
def changing(tmp_path: Path) -> Iterator[tuple[LateSource, str]]:
    """A source that can be asked for changes, with records in six hours, and its spec."""
    with serve_late(changes=True, style="cursor", total=False) as served:
        served.fill(0, 6, 120)
        long_ago = iso(datetime.now(UTC) - timedelta(days=9))
        for each in served.records.values():
            each["modified"] = long_ago
        yield served, served.write_spec(tmp_path)


def test_reported_changes_are_read_in_windows_of_any_age(
    changing: tuple[LateSource, str], store_url: str
) -> None:
    served, source = changing
    names = list(served.records)
    read_hours(source, store_url, 0, 1, 2)
    asyncio.run(age(store_url, 0, timedelta(days=8)))
    _, report = recheck(PROCESS, source, store_url)
    assert (report.compared, report.windows) == (2, [])
    served.correct(names[10], units_moved=5)  # in the middle of its window: only the list of changes shows it
    served.correct(names[50], units_moved=6)
    _, report = recheck(PROCESS, source, store_url)
    assert {each.start for each in report.windows} == {hour(2), hour(0)}
    assert {each.why for each in report.windows} == {"the source reports changed records"}
    assert published(store_url) == served.between(0, 3)
    _, report = recheck(PROCESS, source, store_url)
    assert len(report.windows) == 2  # within the margin they are reported again, and are the same
    assert {each.published for each in report.windows} == {False}


def test_an_answer_about_changes_that_is_not_understood_stops_no_comparison(
    changing: tuple[LateSource, str], sqlite_url: str
) -> None:
    served, source = changing
    read_hours(source, sqlite_url, 0, 1)
    served.add(hour(0.001))
    served.garbled = "modified_since"
    with pytest.raises(SourceMappingError, match="records"):
        recheck(PROCESS, source, sqlite_url)
    assert published(sqlite_url) == served.between(0, 2)


def test_reported_changes_that_the_budget_leaves_are_read_by_the_next_recheck(
    changing: tuple[LateSource, str], sqlite_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    served, source = changing
    names = list(served.records)
    read_hours(source, sqlite_url, 0, 1)
    served.correct(names[10], units_moved=5)
    served.correct(names[30], units_moved=6)
    _, report = recheck(PROCESS, source, sqlite_url, max_requests=2)
    assert (len(report.windows), report.not_reached) == (1, 1)
    for each in served.records.values():
        each["modified"] = iso(datetime.now(UTC) - timedelta(days=9))
    _, report = recheck(PROCESS, source, sqlite_url, max_requests=2)
    assert len(report.windows) == 1
    assert published(sqlite_url) == served.between(0, 2)


def test_changes_reported_while_a_window_is_read_are_not_lost(
    changing: tuple[LateSource, str], store_url: str
) -> None:
    """A run that has not been published yet may have read a record before it changed."""
    served, source = changing
    names = list(served.records)
    read_hours(source, store_url, 0)
    served.broken_from = served.requests + 3
    _, interrupted = sync(PROCESS, source, store_url, start=hour(1), end=hour(2))
    served.broken_from = None
    served.correct(names[21], units_moved=5)
    recheck(PROCESS, source, store_url)
    for each in served.records.values():
        each["modified"] = iso(datetime.now(UTC) - timedelta(days=9))
    _, report = sync(PROCESS, source, store_url, start=hour(1), end=hour(2), resume=interrupted.run_id)
    assert report.published
    _, report = recheck(PROCESS, source, store_url)
    assert [each.start for each in report.windows] == [hour(1)]
    assert published(store_url) == served.between(0, 2)


def test_the_number_of_changed_records_without_a_valid_time_is_reported(
    changing: tuple[LateSource, str], sqlite_url: str
) -> None:
    served, source = changing
    read_hours(source, sqlite_url, 0)
    served.correct(list(served.records)[4], timestamp_utc="20260301T001200Z")
    _, report = recheck(PROCESS, source, sqlite_url)
    assert report.unplaced == 1


@pytest.mark.parametrize("change", [{"units_moved": "many"}, {"sku_id": "?"}, {"status": "cancelled"}])
def test_a_changed_record_that_is_not_loaded_any_more_is_removed(
    changing: tuple[LateSource, str], sqlite_url: str, tmp_path: Path, change: dict[str, Any]
) -> None:
    served, _ = changing
    source = served.write_spec(tmp_path, filter=[{"path": "status", "not_in": ["cancelled"]}])
    names = list(served.records)
    read_hours(source, sqlite_url, 0)
    served.correct(names[10], **change)
    _, report = recheck(PROCESS, source, sqlite_url)
    assert [(each.start, each.removed) for each in report.windows] == [(hour(0), 1)]
    del served.records[names[10]]
    assert published(sqlite_url) == served.between(0, 1)


def test_extra_fields_that_are_the_same_do_not_differ(tmp_path: Path, store_url: str) -> None:
    """A database may return their JSON text in another form than it was given."""
    lot = {"number": 1e16, "zone": [True, 1, None], "by": {"b": 1.50, "a": "x"}}
    with serve_late() as served:
        source = served.write_spec(tmp_path, extra={"lot": "lot", "a": "id"})
        names = [served.add(at(position), lot=lot) for position in range(RECORDS)]
        read_hours(source, store_url, 0)
        _, report = recheck(PROCESS, source, store_url)
        assert (report.compared, report.windows) == (1, [])
        served.correct(names[FIRST], lot=lot | {"zone": [1, 1, None]})
        _, report = recheck(PROCESS, source, store_url)
        assert [each.changed for each in report.windows] == [1]


def test_hours_of_a_source_that_turns_out_to_have_only_days_are_read_as_days(
    late: tuple[LateSource, str], tmp_path: Path, store_url: str
) -> None:
    served, source = late
    read_hours(source, store_url, 0, 1)
    window = {"params": {"start": "since", "end": "until"}, "grain": "day"}
    source = served.write_spec(tmp_path, window=window)
    _, report = recheck(PROCESS, source, store_url, full=True)
    assert [(each.start, each.end, each.failed) for each in report.windows] == [(hour(0), hour(24), False)]
    assert published(store_url) == served.content


def test_a_source_that_is_read_as_a_whole_has_one_window_without_an_end(
    late: tuple[LateSource, str], tmp_path: Path, sqlite_url: str
) -> None:
    served, _ = late
    source = served.write_spec(tmp_path, window={})
    assert sync(PROCESS, source, sqlite_url)[1].published
    served.add(hour(0.5))
    for full in (False, True):
        _, report = recheck(PROCESS, source, sqlite_url, full=full)
        assert (report.compared, report.total("added"), report.lateness) == (1, int(not full), None)
    assert published(sqlite_url) == served.content

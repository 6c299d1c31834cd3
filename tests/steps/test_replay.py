"""A replay inserts valid letters at their positions, once, and keeps every count correct."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from sku_velocity.completeness import Limits, prove
from sku_velocity.errors import ConfigurationError, IncompleteWindowError
from sku_velocity.model.dead_letter import DeadLetterFilter, DeadLetterState, StoredDeadLetter
from sku_velocity.model.movement import DeadLetter
from sku_velocity.model.run import MasterVersion, RunState
from sku_velocity.source.spec import SourceSpec
from sku_velocity.steps.replay import RunReplay, replay_run
from sku_velocity.store import Store
from tests.support.dead_letters import OPEN, dead_letter, fixed_spec, land_run, ledger_of, shown_positions
from tests.support.engine import seconds

pytestmark = pytest.mark.anyio

BAD = {3: dead_letter(3), 12: dead_letter(12, sku_id="no sku!"), 15: dead_letter(15)}


@pytest.fixture
async def store(store_url: str) -> AsyncIterator[Store]:
    async with Store.open(store_url) as store:
        yield store


async def replay(
    store: Store, run_id: str, spec: SourceSpec | None = None, criteria: DeadLetterFilter = OPEN
) -> RunReplay:
    run = await store.runs.find(run_id)
    assert run
    return await replay_run(store, spec or fixed_spec(), run, criteria, "jane")


async def states(store: Store) -> dict[int, DeadLetterState]:
    return {each.letter.position: each.state for each in await store.dead_letters.read(DeadLetterFilter())}


async def the_letter(store: Store, position: int) -> StoredDeadLetter:
    (found,) = await store.dead_letters.read(DeadLetterFilter(position=position))
    return found


async def test_letters_that_a_fixed_spec_accepts_are_inserted_and_visible_at_once(
    store: Store, store_url: str
) -> None:
    await land_run(store, "run", BAD)
    assert await shown_positions(store_url) == [n for n in range(20) if n not in BAD]
    report = await replay(store, "run")
    assert (report.validated, report.loaded, report.published, report.rejected) == (3, 2, 2, 1)
    assert [reason.startswith("sku_id: must contain only A-Z") for reason in report.reasons] == [True]
    assert await shown_positions(store_url) == [n for n in range(20) if n != 12]
    assert await ledger_of(store_url, "run") == (20, 19, 1, 0, 0)


async def test_a_replayed_letter_records_who_when_and_why_and_keeps_its_record(store: Store) -> None:
    await land_run(store, "run", BAD)
    before = datetime.now(UTC)
    await replay(store, "run")
    stored = await the_letter(store, 3)
    assert stored.state is DeadLetterState.REPLAYED and stored.letter == BAD[3] and stored.change
    assert stored.change.by == "jane" and "loaded" in stored.change.note
    assert before - timedelta(seconds=1) < stored.change.at <= datetime.now(UTC)
    assert (await the_letter(store, 12)).state is DeadLetterState.OPEN


async def test_a_second_replay_changes_nothing(store: Store, store_url: str) -> None:
    await land_run(store, "run", BAD)
    await replay(store, "run")
    first = await store.dead_letters.read(DeadLetterFilter())
    again = await replay(store, "run")
    assert (again.validated, again.loaded, again.rejected) == (1, 0, 1)
    assert await store.dead_letters.read(DeadLetterFilter()) == first
    assert await ledger_of(store_url, "run") == (20, 19, 1, 0, 0)


async def test_concurrent_replays_insert_each_letter_once(store: Store, store_url: str) -> None:
    await land_run(store, "run", {n: dead_letter(n) for n in range(20)})
    async with Store.open(store_url) as other:
        reports = await asyncio.gather(*(replay(each, "run") for each in (store, other, store, other)))
    assert sum(report.loaded for report in reports) == 20
    assert await shown_positions(store_url) == list(range(20))
    assert await ledger_of(store_url, "run") == (20, 20, 0, 0, 0)


async def test_a_concurrent_replay_and_discard_close_each_letter_once(store: Store, store_url: str) -> None:
    await land_run(store, "run", {n: dead_letter(n) for n in range(20)})
    some = replace(OPEN, position=5)
    report, discarded = await asyncio.gather(
        replay(store, "run"), store.dead_letters.discard(some, "joe", "known fault")
    )
    assert report.loaded + discarded == 20 and (5 in await shown_positions(store_url)) is (not discarded)
    assert await ledger_of(store_url, "run") == (20, report.loaded, discarded, 0, 0)


async def test_a_letter_outside_the_window_or_filtered_is_closed_with_a_note(
    store: Store, store_url: str
) -> None:
    later = dead_letter(4, timestamp_utc="2026-03-02T00:00:00Z")
    await land_run(
        store, "run", {4: later, 15: dead_letter(15, kind="note"), 16: dead_letter(16, kind="move")}
    )
    report = await replay(store, "run", fixed_spec(filter=[{"path": "kind", "in": ["move", None]}]))
    assert (report.loaded, report.trimmed, report.filtered) == (1, 1, 1)
    assert await ledger_of(store_url, "run") == (20, 18, 0, 1, 1)
    notes = [each.change.note for each in await store.dead_letters.read(DeadLetterFilter()) if each.change]
    assert ["outside the window" in notes[0], "filtered" in notes[1]] == [True, True]
    assert set((await states(store)).values()) == {DeadLetterState.REPLAYED}


async def test_a_record_id_that_the_run_already_holds_is_not_duplicated(store: Store, store_url: str) -> None:
    twins = {3: dead_letter(3, id="m-5"), 12: dead_letter(12, id="new"), 15: dead_letter(15, id="new")}
    await land_run(store, "run", twins)
    report = await replay(store, "run")
    assert (report.loaded, report.repeated) == (1, 2)
    assert (await store.runs.count_ids("run")).repeated == 0
    assert await states(store) == {3: "open", 12: "replayed", 15: "open"}
    assert await ledger_of(store_url, "run") == (20, 18, 2, 0, 0)


async def test_replayed_rows_of_an_incomplete_window_are_visible_once_it_is_published(
    store: Store, store_url: str
) -> None:
    await land_run(store, "run", BAD, published=False)
    report = await replay(store, "run")
    assert (report.loaded, report.published) == (2, 0) and await shown_positions(store_url) == []
    run = await store.runs.find("run")
    assert run and run.state is RunState.INCOMPLETE
    failed = {
        check.name
        for check in prove(run, await store.chunks.of("run"), None, Limits(0.1))
        if not check.passed
    }
    assert "rejects within the limit" not in failed and not any("fetched =" in name for name in failed)
    await store.publications.publish("run", "{}")
    assert len(await shown_positions(store_url)) == 19


async def test_a_superseded_run_is_not_replayed(store: Store) -> None:
    await land_run(store, "first", BAD)
    await land_run(store, "second", {})
    assert await store.replays.runs(OPEN) == []
    assert (await replay(store, "first")).loaded == 0
    assert set((await states(store)).values()) == {DeadLetterState.OPEN}


async def test_a_run_with_closed_letters_is_not_read_again(store: Store) -> None:
    await land_run(store, "run", BAD, published=False)
    await store.dead_letters.discard(replace(OPEN, position=12), "joe", "known fault")
    with pytest.raises(IncompleteWindowError, match="1 dead letters.*start a new run"):
        await store.runs.replan("run", 20, [])
    assert (await states(store))[12] is DeadLetterState.DISCARDED


async def test_letters_of_stage_push_are_not_replayed(store: Store) -> None:
    await land_run(store, "run", {})
    assert await store.replays.runs(replace(OPEN, stage="push")) == []
    assert (await replay(store, "run")).validated == 0


async def test_only_letters_that_match_the_filter_are_replayed(store: Store) -> None:
    await land_run(store, "run", BAD | {15: replace(BAD[15], reasons=())})
    await replay(store, "run", criteria=replace(OPEN, reason="units_moved: must be"))
    assert await states(store) == {3: "replayed", 12: "open", 15: "open"}


async def test_a_run_is_mapped_by_its_own_version_of_the_master(store: Store) -> None:
    master = MasterVersion(source="erp", version="pruned")
    await land_run(store, "run", BAD, master=master)
    with pytest.raises(ConfigurationError):
        await replay(store, "run")


async def test_an_unreadable_letter_stays_open_and_does_not_affect_the_others(store: Store) -> None:
    await land_run(store, "run", BAD | {12: DeadLetter(12, "[" * 5000, ())})
    report = await replay(store, "run")
    assert (report.loaded, report.rejected) == (2, 1) and "not JSON" in next(iter(report.reasons))


async def test_a_large_run_is_replayed_in_batches(store: Store, store_url: str) -> None:
    await land_run(store, "run", {n: dead_letter(n) for n in range(1200)}, total=1200)
    report = await replay(store, "run")
    assert (report.loaded, report.window) == (1200, str(seconds(0, 1200)))
    assert await ledger_of(store_url, "run") == (1200, 1200, 0, 0, 0)

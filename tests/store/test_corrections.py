"""The push of a window that was read again: the engine holds what is published, whatever it held before."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import count
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import text

from simulator.server import EngineServer
from simulator.slotting import EngineScenario
from sku_velocity.model.chunk import Page, PageResult
from sku_velocity.model.movement import MovementRow
from sku_velocity.model.push import PushKind
from sku_velocity.model.run import SyncRun
from sku_velocity.model.window import iso
from sku_velocity.slotting.batches import Answer
from sku_velocity.slotting.client import SlottingClient
from sku_velocity.source.paging import plan_chunks
from sku_velocity.steps.push import plan_parts
from sku_velocity.store import Store
from sku_velocity.store.database import Database
from tests.support.engine import engine_spec, push_all, push_parts, reply_body
from tests.support.published_store import table
from tests.support.scripted_server import Reply, scripted
from tests.support.store_rows import hour, hours

pytestmark = pytest.mark.anyio

Row = tuple[str | None, float, int]  # id, hour, units
_runs = (f"run-{number}" for number in count())
PUBLISHED = (
    "SELECT movement_id, run_id, position, warehouse_id, units_moved, timestamp_utc FROM published_movements"
)


async def publish(
    store: Store, window: tuple[float, float], rows: Sequence[Row], digest: str = "d1", chunk: int = 3
) -> str:
    """Publish a run of chunks of 3 rows. Return its id."""
    run = SyncRun(next(_runs), "acme", "WH-01", hours(*window), len(rows), mapping_digest=digest)
    chunks = plan_chunks(len(rows), chunk, 0)
    await store.runs.begin(run, chunks)
    moved = [MovementRow(n, id, "SKU-1", "WH-01", units, hour(at)) for n, (id, at, units) in enumerate(rows)]
    for each in chunks:
        page = Page(each.offset, each.size)
        result = PageResult(page, page.size, moved[each.offset : each.end], [])
        await store.chunks.land_page(run.id, each.index, result)
    await store.publications.publish(run.id, "{}")
    return run.id


async def push(store: Store, engine: EngineServer, run: str, **options: Any) -> None:
    async with SlottingClient.open(engine_spec(engine.url, batch_size=2), None) as client:
        await push_parts(client, store, run, **options)


async def published(url: str) -> set[Any]:
    """Return what is published as the engine gets it: id, units and time."""
    return {
        (row[0] or f"{row[1]}:{row[2]}", row[4], str(row[5])[:19].replace("T", " "))
        for row in await table(url, PUBLISHED)
    }


def held(engine: EngineServer) -> set[Any]:
    """Return the records that the engine holds."""
    records = engine.simulator.movements.current.values()
    return {
        (each["id"], each["units_moved"], each["timestamp_utc"][:19].replace("T", " ")) for each in records
    }


def sent(engine: EngineServer) -> dict[str, int]:
    """Return how many records were accepted since the last call, by id."""
    accepted = dict(engine.accepted)
    engine.simulator.movements.accepted.clear()
    return accepted


FIRST: list[Row] = [("a", 0, 1), ("b", 1, 1), ("c", 2, 1), ("d", 3, 1)]
REVISED: list[Row] = [("d", 3, 1), ("b", 1, 9), ("a", 0, 1), ("e", 3, 5)]


async def test_only_what_differs_is_sent_of_a_revision(
    store: Store, engine: EngineServer, store_url: str
) -> None:
    await push(store, engine, await publish(store, (0, 4), FIRST))
    assert sent(engine) == {"a": 1, "b": 1, "c": 1, "d": 1}
    revision = await publish(store, (0, 4), REVISED)
    assert [chunk.index for chunk in await store.pushes.unpushed(revision, "slots")] == [-1, 0, 1]
    await push(store, engine, revision)
    assert sent(engine) == {"b": 1, "e": 1} and engine.simulator.movements.removed == {"c": 1}
    assert held(engine) == await published(store_url)
    await push(store, engine, revision)
    assert sent(engine) == {} and await store.pushes.unpushed(revision, "slots") == []


async def test_a_revision_without_a_difference_is_no_request(store: Store, engine: EngineServer) -> None:
    await push(store, engine, await publish(store, (0, 4), FIRST))
    before = engine.stats().requests
    await push(store, engine, await publish(store, (0, 4), FIRST[::-1]))
    assert engine.stats().requests == before


async def test_removed_ids_are_sent_with_their_place(store: Store, engine: EngineServer) -> None:
    await push(store, engine, await publish(store, (0, 4), FIRST))
    revision = await publish(store, (0, 4), [])
    with scripted(Reply(207, reply_body(["a", "b", "c", "d"]))) as server:
        await push_all(store, engine_spec(server.url), revision)
    removed = [
        {"id": id, "warehouse_id": "WH-01", "timestamp_utc": iso(hour(at))} for id, at, _ in FIRST[::-1]
    ]
    assert json.loads(server.bodies[-1]) == {
        "source": "acme",
        "run": revision,
        "records": [],
        "removed": removed,
    }


@pytest.mark.parametrize("ids", [True, False], ids=["unfinished", "without ids"])
async def test_otherwise_the_window_is_sent_whole_in_place_of_the_earlier_runs(
    store: Store, engine: EngineServer, store_url: str, ids: bool
) -> None:
    rows = FIRST if ids else [(None, *row[1:]) for row in FIRST]
    revised = REVISED if ids else [(None, *row[1:]) for row in REVISED]
    first = await publish(store, (0, 4), rows)
    if ids:
        async with SlottingClient.open(engine_spec(engine.url, batch_size=2), None) as client:
            await store.pushes.begin(first, 0, "slots")
            opened = await store.pushes.next_batch(first, 0, "slots", 2)
            assert opened
            await client.push_movements(opened.batch)  # its answer is lost
    else:
        await push(store, engine, first)
    second = await publish(store, (0, 4), revised)
    run = await store.runs.find(second)
    assert run and (await plan_parts(store, run, "slots")).kind is PushKind.REPLACEMENT
    await push(store, engine, second)
    assert held(engine) == await published(store_url) and len(held(engine)) == 4


async def test_a_replacement_names_the_earlier_runs_and_the_ranges(store: Store) -> None:
    runs = [await publish(store, (0, 4), FIRST) for _ in range(2)]
    last = await publish(store, (0, 4), [])
    await publish(store, (1, 2), [])
    with scripted(Reply(207, reply_body(runs))) as server:
        await push_all(store, engine_spec(server.url), last)
    ranges = [{"start": iso(hour(start)), "end": iso(hour(end))} for start, end in ((0, 1), (2, 4))]
    assert json.loads(server.bodies[0]) == {
        "source": "acme",
        "run": last,
        "warehouse_id": "WH-01",
        "ranges": ranges,
        "replaces": runs,
        "records": [],
    }


async def test_a_revision_of_one_that_was_not_pushed_is_sent_whole(
    store: Store, engine: EngineServer, store_url: str
) -> None:
    await push(store, engine, await publish(store, (0, 4), FIRST))
    second = await publish(store, (0, 4), FIRST[:2])
    third = await publish(store, (0, 4), REVISED)
    for run in (third, second):  # the second has nothing to send any more
        await push(store, engine, run)
        assert held(engine) == await published(store_url)
    await push(store, engine, await publish(store, (0, 4), FIRST[1:]))
    assert sent(engine).keys() == {"a", "b", "c", "d", "e"} and held(engine) == await published(store_url)


async def test_an_open_batch_of_a_replaced_run_is_answered_before(
    store: Store, engine: EngineServer, store_url: str
) -> None:
    first = await publish(store, (0, 4), FIRST)
    await store.pushes.begin(first, 0, "slots")
    assert await store.pushes.next_batch(first, 0, "slots", 2)  # it may or may not have been sent
    revision = await publish(store, (0, 4), [("b", 1, 9)])
    await push(store, engine, revision)
    assert held(engine) == await published(store_url)
    assert sent(engine) == {"a": 1, "b": 2}
    await push(store, engine, first)
    assert sent(engine) == {} and held(engine) == await published(store_url)


async def test_a_row_that_the_engine_rejected_is_sent_again_with_a_revision(store: Store) -> None:
    first = await publish(store, (0, 4), FIRST[:3])
    answers = [reply_body(["a", "b"], {"c": "unknown SKU"}), reply_body(["c"])]
    with scripted(*(Reply(207, answer) for answer in answers)) as server:
        await push_all(store, engine_spec(server.url), first)
        await push_all(store, engine_spec(server.url), await publish(store, (0, 4), FIRST[:3]))
    assert [record["id"] for record in json.loads(server.bodies[1])["records"]] == ["c"]


async def test_a_removal_that_the_engine_rejects_is_a_dead_letter(store: Store) -> None:
    first = await publish(store, (0, 4), FIRST[:1])
    answers = [reply_body(["a"]), reply_body([], {"a": "picked already"})]
    with scripted(*(Reply(207, answer) for answer in answers)) as server:
        await push_all(store, engine_spec(server.url), first)
        revision = await publish(store, (0, 4), [])
        await push_all(store, engine_spec(server.url), revision)
    (letter,) = await store.dead_letters.of(revision)
    assert (letter.position, str(letter.reasons[0])) == (-1, "slots: picked already")


async def test_what_only_the_spec_changed_is_withheld_unless_asked_for(
    store: Store, engine: EngineServer, store_url: str
) -> None:
    await push(store, engine, await publish(store, (0, 4), FIRST))
    first = await published(store_url)
    other = await publish(store, (0, 4), REVISED, digest="d2")
    again = await publish(store, (0, 4), REVISED, digest="d3")
    for run in (other, again):
        await push(store, engine, run)
        assert held(engine) == first
    await push(store, engine, again, spec_changes=True)
    assert held(engine) == await published(store_url)


async def test_a_correction_after_a_withheld_window_sends_it_whole(
    store: Store, engine: EngineServer, store_url: str
) -> None:
    await push(store, engine, await publish(store, (0, 4), FIRST))
    await push(store, engine, await publish(store, (0, 4), REVISED, digest="d2"))
    await push(store, engine, await publish(store, (0, 4), REVISED[1:], digest="d2"))
    assert held(engine) == await published(store_url)


async def test_a_window_that_another_spec_has_read_is_pushed_to_an_engine_that_has_nothing_of_it(
    store: Store, engine: EngineServer, store_url: str
) -> None:
    await publish(store, (0, 4), FIRST)
    await push(store, engine, await publish(store, (0, 4), REVISED, digest="d2"))
    assert held(engine) == await published(store_url)


@pytest.mark.parametrize("is_first", [True, False])
async def test_a_record_that_moves_to_another_window_stays_in_either_order(
    store: Store, engine: EngineServer, store_url: str, is_first: bool
) -> None:
    await push(store, engine, await publish(store, (0, 1), [("a", 0, 1), ("b", 0.9, 1)]))
    await push(store, engine, await publish(store, (1, 2), [("c", 1, 1)]))
    windows: list[tuple[tuple[float, float], list[Row]]] = [
        ((0, 1), [("a", 0, 1)]),
        ((1, 2), [("b", 1.1, 1), ("c", 1, 1)]),
    ]
    for window, rows in windows if is_first else windows[::-1]:
        await push(store, engine, await publish(store, window, rows))
    assert held(engine) == await published(store_url)


async def test_a_batch_that_is_being_cut_is_waited_for(postgresql_url: str) -> None:
    async with Store.open(postgresql_url) as store:
        first = await publish(store, (0, 4), FIRST)
        await store.pushes.begin(first, 0, "slots")
        revision = await publish(store, (0, 4), REVISED)
        database = Database(postgresql_url)
        async with database.writing() as cutting:
            await cutting.execute(text("UPDATE pushes SET until_position = 2, visible_ranges = '[]'"))
            waiting = asyncio.create_task(store.pushes.unanswered(revision, "slots"))
            blocked = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
            while not waiting.done() and (await table(postgresql_url, blocked))[0][0] == 0:
                pass
            assert not waiting.done()
        assert [(run.id, chunk.index) for run, chunk in await waiting] == [(first, 0)]
        await database.close()


# Any order of publications and pushes that are cut off


class Killed(Exception):
    pass


@dataclass
class DyingClient:
    """A client of the engine whose process dies at a request: before it is sent, or before it is answered."""

    client: SlottingClient
    left: int
    is_sent: bool

    @property
    def spec(self) -> Any:
        return self.client.spec

    async def push_movements(self, batch: Any) -> Answer:
        self.left -= 1
        if self.left >= 0:
            return await self.client.push_movements(batch)
        if self.is_sent and self.left == -1:
            await self.client.push_movements(batch)
        raise Killed


edits = st.lists(st.tuples(st.integers(0, 7), st.integers(0, 9)), min_size=1, max_size=4)
windows = st.tuples(st.integers(0, 2), st.integers(2, 4))
a_push = st.tuples(st.integers(0, 3), st.integers(0, 4), st.booleans())  # of a run, killed at a request
rounds = st.lists(st.tuples(edits, windows, st.lists(a_push, max_size=2)), min_size=2, max_size=5)


@pytest.mark.parametrize("with_ids", [True, False])
@settings(max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(plan=rounds, order=st.sampled_from([1, -1]))
async def test_after_the_last_push_the_engine_holds_what_is_published(
    tmp_path_factory: pytest.TempPathFactory,
    server: EngineServer,
    with_ids: bool,
    plan: list[Any],
    order: int,
) -> None:
    url = f"sqlite:///{tmp_path_factory.mktemp('plan')}/store.db"
    server.play(EngineScenario())
    source = dict.fromkeys(range(8), 1)  # the units of each record
    runs: list[str] = []
    async with (
        Store.open(url) as store,
        SlottingClient.open(engine_spec(server.url, batch_size=1), None) as client,
    ):
        for changes, (start, length), pushed in plan:
            rows: list[Row] = [
                (f"m-{number}" if with_ids else None, number / 2, units)
                for number, units in source.items()
                if units and start <= number / 2 < start + length
            ]
            runs.append(await publish(store, (start, start + length), rows, chunk=2))
            for back, requests, is_sent in pushed:
                dying: Any = DyingClient(client, requests, is_sent)
                try:
                    await push_parts(dying, store, runs[-1 - back % len(runs)])
                except* Killed:
                    pass
            source |= dict(changes)
        for run in runs[::order]:
            await push_parts(client, store, run)
        assert held(server) == await published(url)
        assert [await store.pushes.unpushed(run, "slots") for run in runs] == [[]] * len(runs)

"""A process that was stopped and continues lands no page in a window that another one has read since."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest

from sku_velocity.errors import IncompleteWindowError
from sku_velocity.model.chunk import ChunkProgress
from sku_velocity.model.run import SyncRun, Verdict
from sku_velocity.model.window import Window
from sku_velocity.source.client import SourceClient
from sku_velocity.source.window import WindowReader
from sku_velocity.steps import window as steps
from sku_velocity.store import Store
from tests.support.scripted_server import Reply, ScriptedServer, answering
from tests.support.served_records import record, spec_of
from tests.support.steps_driver import no_sleep, sync

pytestmark = pytest.mark.anyio

SIZE = 10
KEYSET = {"style": "cursor", "cursor_path": "next", "stable": True, "page_size": SIZE}


@contextmanager
def keyset_source(rows: list[dict[str, Any]]) -> Iterator[ScriptedServer]:
    """Serve rows behind the instant in the cursor; a full page names the next one."""

    def answer(path: str) -> Reply:
        after = dict(parse_qsl(urlsplit(path).query)).get("cursor", "")
        page = [row for row in rows if row["timestamp_utc"] > after][:SIZE]
        cursor = page[-1]["timestamp_utc"] if len(page) == SIZE else None
        return Reply(body=json.dumps({"records": page, "next": cursor}).encode())

    with answering(answer) as server:
        yield server


@asynccontextmanager
async def reading(server: ScriptedServer) -> AsyncIterator[WindowReader]:
    spec = spec_of(server, paging=KEYSET, total={"from": "none"})  # type: ignore[arg-type]  # it has a URL
    async with SourceClient.open(spec, None, sleep=no_sleep) as client:
        yield WindowReader.of(client, "WH-01", Window.everything())


async def read_rest(reader: WindowReader, store: Store, run: SyncRun) -> ChunkProgress:
    (progress,) = await store.chunks.of(run.id)
    progress, _ = await steps.read_chunk(reader, store, run, progress)
    return progress


async def test_a_late_page_does_not_land_in_a_plan_that_replaced_its_own(store_url: str) -> None:
    rows = [record(n) for n in range(10, 35)]
    with keyset_source(rows) as server:
        async with reading(server) as stopped, reading(server) as other, Store.open(store_url) as store:
            run = await steps.plan(stopped, store, "run")
            first = await store.chunks.land_page("run", 0, await stopped.read_from(None, 0))
            late = await stopped.read_from(first.cursor, first.next_offset)
            rows.insert(0, record(5))
            plan = await steps.replan_window(other, store, run, await store.chunks.of("run"))
            await store.chunks.land_page("run", 0, await other.read_from(None, 0))
            before = await store.chunks.of("run")
            with pytest.raises(IncompleteWindowError, match="another process has planned its window again"):
                await store.chunks.land_page("run", 0, late, run.mapping_digest, run.repairs)
            await store.chunks.land_page("run", 0, late)  # its cursor is another one, too
            assert await store.chunks.of("run") == before
            assert (await read_rest(other, store, plan.run)).loaded == len(rows)


async def test_a_late_page_changes_nothing_in_a_published_run(store_url: str) -> None:
    rows = [record(n) for n in range(SIZE)]
    with keyset_source(rows[:-1]) as server:
        async with reading(server) as reader, Store.open(store_url) as store:
            run = await steps.plan(reader, store, "run")
            landed = await read_rest(reader, store, run)
            await store.publications.publish("run", "{}")
            late = await reader.read_from(None, landed.next_offset)
            assert await store.chunks.land_page("run", 0, late, run.mapping_digest, run.repairs) == landed
            assert await store.chunks.of("run") == [landed]


async def test_only_the_plan_that_was_proven_is_published(store_url: str) -> None:
    rows = [record(n) for n in range(25)]
    with keyset_source(rows) as server:
        async with reading(server) as reader, Store.open(store_url) as store:
            run = await steps.plan(reader, store, "run")
            await read_rest(reader, store, run)
            plan = await steps.replan_window(reader, store, run, await store.chunks.of("run"))
            await read_rest(reader, store, plan.run)
            with pytest.raises(IncompleteWindowError, match="another process has planned its window again"):
                await store.publications.publish("run", "{}", Verdict.COMPLETE, run.repairs)
            await store.publications.publish("run", "{}", Verdict.REPAIRED, plan.run.repairs)


@pytest.mark.parametrize("empty", [1, 3])
def test_a_cursor_whose_first_pages_are_empty_is_read_to_its_end(store_url: str, empty: int) -> None:
    def answer(path: str) -> Reply:
        number = int(dict(parse_qsl(urlsplit(path).query)).get("cursor", 0))
        rows = [record(n) for n in range(number * SIZE, number * SIZE + SIZE)] if number >= empty else []
        cursor = number + 1 if number < empty + 1 else None
        return Reply(body=json.dumps({"records": rows, "next": cursor}).encode())

    with answering(answer) as server:
        status = sync(server, store_url, paging=KEYSET, total={"from": "none"}, fields={"movement_id": "id"})
    assert status.verdict is Verdict.COMPLETE

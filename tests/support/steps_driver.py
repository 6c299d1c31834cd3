"""Running a window's steps without Prefect, and what a reader of the store sees afterwards."""

from __future__ import annotations

import asyncio
from collections import Counter
from dataclasses import dataclass
from itertools import count
from typing import Any

from sqlalchemy import text

from simulator.row import Row
from simulator.scenario import Scenario
from simulator.server import Server
from sku_velocity.errors import VelocityError
from sku_velocity.model.master import Master
from sku_velocity.model.run import Plan, RunReport, Verdict
from sku_velocity.model.window import Window
from sku_velocity.source.client import SourceClient
from sku_velocity.source.spec import parse_spec
from sku_velocity.source.window import WindowReader
from sku_velocity.steps import window as steps
from sku_velocity.steps.report import build_report, held_rows
from sku_velocity.store import Store
from sku_velocity.store.database import Database
from tests.support.scripted_server import ScriptedServer

Content = Counter[tuple[Any, ...]]
_ids = count()


@dataclass(frozen=True)
class RunStatus:
    """The result of a sync: its verdict, None if it was interrupted, and what it fetched."""

    verdict: Verdict | None
    requests: int = 0
    fetched: int = 0
    run_id: str = ""


def sync(
    server: Server | ScriptedServer,
    url: str,
    repairs: int = 2,
    attempts: int = 1,
    warehouse: str = "WH-01",
    master: Master | None = None,
    **parts: Any,
) -> RunStatus:
    """Run one window of everything as the flow does: plan, ingest, prove, read again, publish."""
    spec = {
        "name": "acme",
        "base_url": server.url,
        "request": {"params": {"warehouse": "{warehouse}"}},
        "records": {"path": "records"},
        "total": {"from": "body", "path": "total"},
        "pace": {"requests_per_second": 10_000},
        "auth": {"kind": "none"},
        **parts,
    }

    async def run() -> RunStatus:
        async with (
            SourceClient.open(parse_spec(spec, "test"), None, sleep=no_sleep) as client,
            Store.open(url) as store,
        ):
            reader = WindowReader.of(client, warehouse, Window.everything(), master)
            run_id = f"run-{next(_ids)}"
            verdict = None
            for _ in range(attempts):
                try:
                    verdict = await read_whole(reader, store, run_id, repairs)
                except* VelocityError:
                    verdict = None
            fetched = server.stats().records if isinstance(server, Server) else 0
            return RunStatus(verdict, client.tally.requests, fetched, run_id)

    return asyncio.run(run())


async def no_sleep(seconds: float) -> None:
    await asyncio.sleep(0)


async def read_whole(reader: WindowReader, store: Store, run_id: str, repairs: int) -> Verdict:
    return (await read_and_prove(reader, store, run_id, repairs)).verdict


async def read_and_prove(
    reader: WindowReader,
    store: Store,
    run_id: str,
    repairs: int,
    max_reject_ratio: float = 1,
    accept_shrunk: bool = False,
) -> RunReport:
    run = await store.runs.find(run_id) or await steps.plan(reader, store, run_id)
    plan = Plan(run, await store.chunks.of(run.id))
    if await steps.why_read_again(store, reader.client.spec, run):
        plan = await steps.replan_window(reader, store, run, plan.chunks)
    while True:
        while plan.pending:
            async with asyncio.TaskGroup() as reading:
                for progress in plan.pending:
                    reading.create_task(steps.read_chunk(reader, store, plan.run, progress))
            plan = Plan(plan.run, await store.chunks.of(run.id))
        proof = await steps.prove_window(
            reader, store, plan.run, max_reject_ratio, accept_shrunk=accept_shrunk
        )
        if plan.run.repairs >= repairs or not proof.needs_rereading:
            break
        plan = await steps.replan_window(reader, store, plan.run, proof.chunks)
    report = build_report(plan.run, proof, steps.Cost(), 0.0)
    if report.verdict is not Verdict.INCOMPLETE:
        await store.publications.publish(
            plan.run.id, report.model_dump_json(), report.verdict, report.repairs
        )
    else:
        await store.runs.refuse(plan.run.id, report.model_dump_json(), held_rows(report))
    return report


def published(url: str) -> Content:
    """Return what a reader of the store sees, by content."""

    async def look() -> Content:
        database = Database(url)
        try:
            async with database.reading() as connection:
                rows = await connection.execute(
                    text("SELECT movement_id, sku_id, units_moved, timestamp_utc FROM published_movements")
                )
                return Counter((*row[:3], str(row[3])[:19]) for row in rows)
        finally:
            await database.close()

    return asyncio.run(look())


def content(rows: list[Row], with_ids: bool = True) -> Content:
    return Counter(
        (
            row.movement_id if with_ids else None,
            row.sku_id,
            row.units_moved,
            row.at.isoformat()[:19],
        )
        for row in rows
        if row.defect is None
    )


def remaining_rows(before: list[Row], after: list[Row]) -> list[Row]:
    """Return the rows that stayed in the source during the read."""
    left = {row.movement_id for row in after}
    return [row for row in before if row.movement_id in left]


def play(server: Server, url: str, scenario: Scenario, **parts: Any) -> tuple[RunStatus, Content, Content]:
    """Sync a scenario. Return the result and the published content before and after it."""
    before = published(url)
    server.play(scenario)
    return sync(server, url, **parts), before, published(url)

"""The tasks of a window: plan, ingest, prove, publish."""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import suppress
from datetime import datetime, timedelta
from typing import cast

from prefect import get_run_logger, runtime, task, unmapped
from prefect.utilities.annotations import quote

from flows.artifacts.events import emit_window_events
from flows.artifacts.master_drift import publish_window_drift
from flows.artifacts.sync_run import publish_chunk, publish_run
from flows.runtime.connections import RunResources
from flows.runtime.progress import Progress
from flows.runtime.retries import TASK_RETRY, result_of
from flows.runtime.schedule import scheduled_start
from flows.runtime.task_runner import as_they_complete
from flows.tasks.rejects import publish_window_rejects
from sku_velocity.errors import ConfigurationError, RetriableError
from sku_velocity.model.chunk import ChunkProgress
from sku_velocity.model.run import Plan, RunReport, SyncRun, UnknownSku
from sku_velocity.model.window import Window
from sku_velocity.source.spec import SourceSpec
from sku_velocity.steps import sync as steps
from sku_velocity.steps.report import build_report

STARVED_LOOP = (
    "The event loop woke its tasks %d ms late (99th percentile): the process has too little of a core, so "
    "its pace and its timeouts suffer. Give it more, or lower pace.max_concurrency."
)
REPAIRS = 2
MAX_REJECT_RATIO = 0.05


@task(task_run_name="plan {warehouse}", **TASK_RETRY)
async def plan_window(
    connections: RunResources,
    warehouse: str,
    window: Window,
    resume: str | None,
    master: str | None = None,
    unknown_sku: UnknownSku = UnknownSku.REJECT,
) -> Plan:
    """Count the window and write its chunks to the ledger; on a retry, take the plan that stands there.

    A plan names the version of the master that shows now, and a retry keeps it: rows that are mapped by two
    versions would stand in one window, and nobody could tell them apart.
    """
    run_id = resume or str(runtime.flow_run.id)
    async with connections.watch(), connections.store() as store:
        run = await store.find_run(run_id)
        if run is None and resume:
            raise ConfigurationError(f"resume: this store knows no run {resume}")
        if run is None:
            version = await steps.version_of(store, master, unknown_sku)
            async with connections.reader(warehouse, window, version) as reader:
                run = await steps.plan(reader, store, run_id)
        else:
            await check_resumed(connections, run, warehouse, master, unknown_sku)
        return Plan(run, await store.chunks(run_id))


async def check_resumed(
    connections: RunResources, run: SyncRun, warehouse: str, master: str | None, unknown_sku: UnknownSku
) -> None:
    """See that a known run is the one meant, and, where it is still read, that its source answers."""
    source = connections.source.spec.name
    if (run.source, run.warehouse) != (source, warehouse):
        raise ConfigurationError(
            f"resume: run {run.id} is of {run.warehouse} from {run.source}, not of {warehouse} from {source}"
        )
    planned = (run.master.source, run.master.unknown_sku) if run.master else (None, unknown_sku)
    if planned != (master, unknown_sku):
        raise ConfigurationError(
            f"resume: run {run.id} maps its SKUs by {_told(*planned)}, not by {_told(master, unknown_sku)}: "
            "start a new run of this window"
        )
    if run.is_open:
        async with connections.reader_of(run) as reader:
            await reader.check()


def _told(master: str | None, unknown_sku: UnknownSku) -> str:
    return f"the master {master}, unknown_sku {unknown_sku}" if master else "no master"


@task(task_run_name="ingest {run.label} {progress.chunk.label}", **TASK_RETRY)
async def ingest_chunk(connections: RunResources, run: SyncRun, progress: ChunkProgress) -> ChunkProgress:
    """Read, sort and land a chunk's pages, from the first one that has not landed."""
    index = progress.chunk.index
    async with connections.store() as store, connections.reader_of(run) as reader:
        if runtime.task_run.run_count > 1:  # what was planned is not what stands there any more
            progress = await store.progress(run.id, index)
        try:
            progress, rejects = await steps.read_chunk(reader, store, run, progress)
        except Exception as error:
            with suppress(RetriableError):  # the store itself may be what is away
                await store.fail_chunk(run.id, index, str(error))
            raise
    await publish_chunk(progress, rejects)
    return progress


@task(task_run_name="prove {run.label}", **TASK_RETRY)
async def prove_window(
    connections: RunResources, run: SyncRun, max_reject_ratio: float
) -> tuple[steps.Proof, steps.Cost]:
    """Hold the ledger against what the source promised, and promises now; with what reading has cost."""
    async with (
        connections.store() as store,
        connections.reader_of(run) as reader,
        connections.watch() as watch,
    ):
        proof = await steps.prove_window(reader, store, run, max_reject_ratio)
        return proof, steps.Cost(reader.client.tally, watch.health)


@task(task_run_name="plan {run.label} again", **TASK_RETRY)
async def replan_window_task(
    connections: RunResources, run: SyncRun, chunks: Sequence[ChunkProgress]
) -> Plan:
    """Have a window that was not proven read again, the places first where the proof broke."""
    async with connections.store() as store, connections.reader_of(run) as reader:
        return await steps.replan_window(reader, store, run, chunks)


@task(task_run_name="publish {report.label}", **TASK_RETRY)
async def publish_window(connections: RunResources, report: RunReport) -> None:
    """Make a proven window visible; of any other keep the report alone."""
    async with connections.store() as store:
        if report.published:
            await store.publish(report.flow_run_id, report.model_dump_json(), report.verdict)
        else:
            await store.refuse(report.flow_run_id, report.model_dump_json())


async def sync_window(
    connections: RunResources,
    plan: Plan,
    started: float,
    retries: int,
    repairs: int,
    max_reject_ratio: float,
) -> tuple[RunReport, Sequence[ChunkProgress]]:
    """Read a planned window whole, publish it, and show the run; one that was published stays as it is."""
    if not plan.run.is_open:
        return build_report(plan.run, plan.chunks, [], steps.Cost(), 0.0), plan.chunks
    run, proof, cost = await read_whole(connections, plan, retries, repairs, max_reject_ratio)
    chunks = proof.chunks
    report = build_report(run, chunks, proof.checks, cost, time.monotonic() - started)
    await result_of(publish_window.with_options(retries=retries).submit(connections, report))
    if cost.loop.is_starved:
        get_run_logger().warning(STARVED_LOOP, cost.loop.lag_p99_ms)
    await publish_run(report, chunks)
    await publish_window_drift(report, chunks)
    await publish_window_rejects(connections, report, retries)
    emit_window_events(report)
    return report, chunks


async def read_whole(
    connections: RunResources, plan: Plan, retries: int, repairs: int, max_reject_ratio: float
) -> tuple[SyncRun, steps.Proof, steps.Cost]:
    """Ingest a window and prove it; read it again, at most `repairs` times, where that may mend the proof."""
    for repairs_left in range(repairs, -1, -1):
        await ingest(connections, plan, retries)
        proving = prove_window.with_options(retries=retries).submit(connections, plan.run, max_reject_ratio)
        proof, cost = await result_of(proving)
        if not repairs_left or not proof.needs_rereading:
            break
        planning = replan_window_task.with_options(retries=retries)
        plan = await result_of(planning.submit(connections, plan.run, proof.chunks))
    return plan.run, proof, cost


async def ingest(connections: RunResources, plan: Plan, retries: int) -> None:
    """Run a task for each chunk that has not landed, and move the bar as they end.

    Where pages come by cursor, a chunk shows only once the one before it has landed.
    """
    done, total = len(plan.chunks) - len(plan.pending), len(plan.chunks)
    progress = await Progress.start(plan.run.source, plan.run.label, done, total)
    pending = plan.pending
    while pending:
        futures = ingest_chunk.with_options(retries=retries).map(
            unmapped(connections), unmapped(quote(plan.run)), [quote(progress) for progress in pending]
        )
        pending = []
        async for future in as_they_complete(futures):
            done += future.state.is_completed()
            if future.state.is_completed():
                pending += steps.following(cast(ChunkProgress, future.result()))
            await progress.move(done, total + len(pending))
        total += len(pending)
    await progress.finish(done, total)


def choose_window(
    spec: SourceSpec, start: datetime | None, end: datetime | None, settle: timedelta
) -> Window:
    """The window asked for, or the last hour that has settled, by the run's *scheduled* start.

    Everything there is, where neither is given and the source cannot be asked for a window. Raises
    ConfigurationError where the end is not after the start.
    """
    if start is None and end is None and not spec.has_window:
        return Window.everything()
    end = end or Window.last_hour(scheduled_start(), settle).end
    try:
        return Window(start or end - timedelta(hours=1), end)
    except ValueError as error:
        raise ConfigurationError(str(error)) from error

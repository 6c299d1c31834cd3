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
from sku_velocity.masking import hide
from sku_velocity.model.chunk import ChunkProgress
from sku_velocity.model.run import Plan, RunReport, SyncRun, UnknownSku
from sku_velocity.model.window import Window
from sku_velocity.source.spec import SourceSpec
from sku_velocity.steps import sync as steps
from sku_velocity.steps.report import build_report, held_rows

STARVED_LOOP = (
    "The event loop woke its tasks %d ms late (99th percentile): the process gets too little CPU, so its "
    "pace and timeouts suffer. Give it more CPU, or lower pace.max_concurrency."
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
    """Count the window and write its chunks to the ledger; on a retry, return the stored plan.

    A plan names the master version that is published now, and a retry keeps it: otherwise one window could
    hold rows mapped by two versions that cannot be told apart.
    """
    run_id = resume or str(runtime.flow_run.id)
    async with connections.watch(), connections.store() as store:
        run = await store.find_run(run_id)
        if run is None and resume:
            raise ConfigurationError(f"resume: no run {resume} in this store: check the id and the store")
        if run is None:
            version = await steps.version_of(store, master, unknown_sku)
            async with connections.reader(warehouse, window, version) as reader:
                run = await steps.plan(reader, store, run_id)
            return Plan(run, await store.chunks(run_id))
        await check_resumed(connections, run, warehouse, master, unknown_sku)
        chunks = await store.chunks(run_id)
        reason = await steps.why_read_again(store, connections.source.spec, run) if run.is_open else None
        if reason is None:
            return Plan(run, chunks)
        get_run_logger().warning("Reading the window again: %s.", reason)
        async with connections.reader_of(run) as reader:
            return await steps.replan_window(reader, store, run, chunks)


async def check_resumed(
    connections: RunResources, run: SyncRun, warehouse: str, master: str | None, unknown_sku: UnknownSku
) -> None:
    """Check that a stored run matches the request and, if it is still being read, that its source answers."""
    source = connections.source.spec.name
    if (run.source, run.warehouse) != (source, warehouse):
        raise ConfigurationError(
            f"resume: run {run.id} reads {run.warehouse} from {run.source}, not {warehouse} from {source}: "
            "check the id"
        )
    planned = (run.master.source, run.master.unknown_sku) if run.master else (None, unknown_sku)
    if planned != (master, unknown_sku):
        raise ConfigurationError(
            f"resume: run {run.id} maps its SKUs by {_describe(*planned)}, not by "
            f"{_describe(master, unknown_sku)}: start a new run of this window"
        )
    if run.is_open:
        async with connections.reader_of(run) as reader:
            await reader.check()


def _describe(master: str | None, unknown_sku: UnknownSku) -> str:
    return f"the master {master}, unknown_sku {unknown_sku}" if master else "no master"


@task(task_run_name="ingest {run.label} {progress.chunk.label}", **TASK_RETRY)
async def ingest_chunk(connections: RunResources, run: SyncRun, progress: ChunkProgress) -> ChunkProgress:
    """Read, validate and store a chunk's pages, from the first one that has not landed."""
    index = progress.chunk.index
    async with connections.store() as store, connections.reader_of(run) as reader:
        if runtime.task_run.run_count > 1:  # the plan's progress is out of date
            progress = await store.progress(run.id, index)
        try:
            progress, rejects = await steps.read_chunk(reader, store, run, progress)
        except Exception as error:
            with suppress(RetriableError):  # the store itself may be what is unavailable
                await store.fail_chunk(run.id, index, hide(str(error)))
            raise
    await publish_chunk(progress, rejects)
    return progress


@task(task_run_name="prove {run.label}", **TASK_RETRY)
async def prove_window(
    connections: RunResources,
    run: SyncRun,
    max_reject_ratio: float,
    accept_shrunk: bool = False,
    require_proof: bool = False,
) -> tuple[steps.Proof, steps.Cost]:
    """Check the ledger against what the source reported and reports now. Return the proof and the cost."""
    async with (
        connections.store() as store,
        connections.reader_of(run) as reader,
        connections.watch() as watch,
    ):
        proof = await steps.prove_window(
            reader,
            store,
            run,
            max_reject_ratio,
            accept_shrunk=accept_shrunk,
            require_proof=require_proof,
        )
        return proof, steps.Cost(reader.client.tally, watch.health)


@task(task_run_name="plan {run.label} again", **TASK_RETRY)
async def replan_window(connections: RunResources, run: SyncRun, chunks: Sequence[ChunkProgress]) -> Plan:
    """Plan the reread of an unproven window, the positions where the proof failed first."""
    async with connections.store() as store, connections.reader_of(run) as reader:
        return await steps.replan_window(reader, store, run, chunks)


@task(task_run_name="publish {report.label}", **TASK_RETRY)
async def publish_window(connections: RunResources, report: RunReport) -> None:
    """Publish a proven window; of any other, store only the report."""
    async with connections.store() as store:
        if report.published:
            await store.publish(report.flow_run_id, report.model_dump_json(), report.verdict, report.repairs)
        else:
            await store.refuse(report.flow_run_id, report.model_dump_json(), held_rows(report))


async def sync_window(
    connections: RunResources,
    plan: Plan,
    started: float,
    retries: int,
    repairs: int,
    max_reject_ratio: float,
    accept_shrunk: bool = False,
    require_proof: bool = False,
) -> tuple[RunReport, Sequence[ChunkProgress]]:
    """Read a planned window whole, publish it and show the run. A closed run is returned unchanged."""
    if not plan.run.is_open:
        return build_report(plan.run, plan.chunks, [], steps.Cost(), 0.0), plan.chunks
    run, proof, cost = await read_whole(
        connections, plan, retries, repairs, max_reject_ratio, accept_shrunk, require_proof
    )
    chunks = proof.chunks
    report = build_report(run, chunks, proof.checks, cost, time.monotonic() - started)
    await result_of(publish_window.with_options(retries=retries).submit(connections, report))
    if cost.loop.is_starved:
        get_run_logger().warning(STARVED_LOOP, cost.loop.lag_p99_ms)
    for warning in [*([report.why_unproven] if report.why_unproven else []), *report.warnings]:
        get_run_logger().warning("%s from %s: %s", report.label, report.source, warning)
    await publish_run(report, chunks)
    await publish_window_drift(report, chunks)
    await publish_window_rejects(connections, report, retries)
    emit_window_events(report)
    return report, chunks


async def read_whole(
    connections: RunResources,
    plan: Plan,
    retries: int,
    repairs: int,
    max_reject_ratio: float,
    accept_shrunk: bool = False,
    require_proof: bool = False,
) -> tuple[SyncRun, steps.Proof, steps.Cost]:
    """Ingest a window and prove it. Reread it at most `repairs` times while that may complete the proof."""
    for repairs_left in range(repairs, -1, -1):
        await ingest(connections, plan, retries)
        proving = prove_window.with_options(retries=retries).submit(
            connections, plan.run, max_reject_ratio, accept_shrunk, require_proof
        )
        proof, cost = await result_of(proving)
        if not repairs_left or not proof.needs_rereading:
            break
        planning = replan_window.with_options(retries=retries)
        plan = await result_of(planning.submit(connections, plan.run, proof.chunks))
    return plan.run, proof, cost


async def ingest(connections: RunResources, plan: Plan, retries: int) -> None:
    """Run a task for each chunk that has not landed, and update the progress bar as they end.

    If the source pages by cursor, a chunk is known only after the previous one has landed.
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
                pending += steps.chunks_after(cast(ChunkProgress, future.result()))
            await progress.move(done, total + len(pending))
        total += len(pending)
    await progress.finish(done, total)


def choose_window(
    spec: SourceSpec, start: datetime | None, end: datetime | None, settle: timedelta
) -> Window:
    """Return the given window, or the last hour that had settled by the run's *scheduled* start.

    Return everything if neither bound is given and the source cannot be asked for a window. Raises
    ConfigurationError if the end is not after the start.
    """
    if start is None and end is None and not spec.has_window:
        return Window.everything()
    end = end or Window.last_hour(scheduled_start(), settle).end
    try:
        return Window(start or end - timedelta(hours=1), end)
    except ValueError as error:
        raise ConfigurationError(str(error)) from error

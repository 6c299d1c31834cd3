"""A sync, step by step: read one window of one warehouse whole, prove it, publish it, hand it on."""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime

from sku_velocity.errors import ConfigurationError, RetriableError, VelocityError
from sku_velocity.masking import hide
from sku_velocity.model.calendar import zone_of
from sku_velocity.model.chunk import ChunkProgress
from sku_velocity.model.master import MasterChanges, compare
from sku_velocity.model.publication import Publication
from sku_velocity.model.run import NO_WAREHOUSE, Origin, Plan, RunReport, SyncRun
from sku_velocity.model.status import SkuMapping, SkuMappingPolicy
from sku_velocity.model.window import Window
from sku_velocity.source.spec import SourceSpec
from sku_velocity.steps import window as steps
from sku_velocity.steps.outcome import Outcome, outcome_of
from sku_velocity.steps.push import push_published
from sku_velocity.steps.report import build_report, held_rows
from sku_velocity.steps.requests import (
    Delivery,
    MappedReading,
    Reading,
    SyncGroupRequest,
    SyncMasterRequest,
    SyncRequest,
    WindowReading,
)
from sku_velocity.steps.run_context import RunContext, step
from sku_velocity.steps.window_choice import Bounds, WindowChoice, grid_of

Windows = SyncRequest | SyncGroupRequest | SyncMasterRequest
Published = tuple[RunReport, Sequence[ChunkProgress]]  # of a window that was published, or refused

PAGES_PER_STEP = 10  # of a window in a group: a step for each page would cost more than the pages
STARVED_LOOP = (
    "The event loop woke its tasks %d ms late (99th percentile): the process gets too little CPU, so its "
    "pace and timeouts suffer. Give it more CPU, or lower pace.max_concurrency."
)


async def sync(context: RunContext, request: SyncRequest) -> Outcome[RunReport]:
    """Read a window whole, publish it, then export it, push it and refresh its velocity, as requested.

    Raises ConfigurationError for a wrong setting before anything is read.
    """
    check_delivery(request)
    await context.find(
        source=request.source, token_env=request.token_env, store=request.store, engine=request.push
    )
    context.retries = request.task_retries
    spec = movements_of(context)
    window = WindowChoice(spec, request, context.due, f"{context.program} sync", request.options()).window()
    return await sync_window(context, request.warehouse, window, request, request.resume)


async def sync_window(
    context: RunContext,
    warehouse: str,
    window: Window,
    request: SyncRequest | SyncGroupRequest,
    resume: str | None = None,
) -> Outcome[RunReport]:
    """Read a window of a source that was found, publish it, and hand it on."""
    wanted = Wanted(warehouse, window, resume, mapping_of(request))
    plan, (report, chunks) = await _read(context, wanted, request)
    report = await deliver(context, plan.run, report, request)
    return outcome_of(report, chunks)


async def sync_master(context: RunContext, request: SyncMasterRequest) -> Outcome[RunReport]:
    """Read all items of an ERP whole, and publish them as one version of the master."""
    await context.find(source=request.source, token_env=request.token_env, store=request.store)
    context.retries = request.task_retries
    spec = context.source.spec
    if spec.items is None:
        raise ConfigurationError(f"{spec.name} holds movements, not items: its spec needs `items`")
    wanted = Wanted(NO_WAREHOUSE, Window.everything(), request.resume)
    plan, (report, chunks) = await _read(context, wanted, request)
    if report.published:
        changes = await context.perform(compare_versions, plan.run.id)
        await context.display.show_master(spec.name, plan.run.id, changes)
    return outcome_of(report, chunks)


def check_delivery(request: WindowReading) -> None:
    """Check where a window goes once it is published. Raises ConfigurationError before anything is read."""
    check_export(request.export_to)
    if request.velocity_zone:
        zone_of(request.velocity_zone)


def check_export(url: str | None) -> None:
    """Check where an export goes, if there is one. Raises ConfigurationError, also for credentials in it."""
    if url:
        from sku_velocity.steps.destination import Destination

        Destination(url)


def movements_of(context: RunContext) -> SourceSpec:
    """Return the spec of a source of movements. Raises ConfigurationError for a source of items."""
    spec = context.source.spec
    if spec.items is not None:
        raise ConfigurationError(f"{spec.name} holds items, not movements: read it with sync-master")
    return spec


def mapping_of(request: WindowReading) -> SkuMappingPolicy:
    """Return the SKU mapping that a request asks for."""
    return SkuMapping(request.master, request.unknown_sku) if request.master else None


@dataclass(frozen=True)
class Wanted:
    """The window to read, and the run to resume if there is one.

    Its SKUs are mapped by the master version that is published when it is planned.
    """

    warehouse: str
    window: Window
    resume: str | None = None
    mapping: SkuMappingPolicy = None

    @property
    def label(self) -> str:
        return self.warehouse or "items"


async def _read(context: RunContext, wanted: Wanted, request: Windows) -> tuple[Plan, Published]:
    """Read a window whole, and publish it: in one step if it is small, otherwise in one per chunk."""
    plan, published = await context.perform(read_window, wanted, request)
    if published is None:
        context.listener.planned(plan.run.id)
        await context.display.show_plan(plan.run)
        published = await read_and_publish(context, plan, request)
    return plan, published


@step("read {wanted.label}")
async def read_window(context: RunContext, wanted: Wanted, request: Windows) -> tuple[Plan, Published | None]:
    """Plan a window. If it is a single page, or a few in a group, it is also read, proven and published."""
    plan = await _plan(context, wanted, request)
    if not plan.has_at_most(PAGES_PER_STEP if context.is_in_group else 1):
        return plan, None
    context.listener.planned(plan.run.id)
    await context.display.show_plan(plan.run)
    return plan, await read_and_publish(context.inline(), plan, request)


async def _plan(context: RunContext, wanted: Wanted, request: Windows) -> Plan:
    """Count the window and write its chunks to the ledger; on a retry, return the stored plan.

    A plan names the master version that is published now, and a retry keeps it: otherwise one window could
    hold rows mapped by two versions, with no way to distinguish them.
    """
    warehouse, window, spec = wanted.warehouse, wanted.window, context.source.spec
    run_id = wanted.resume or context.run_id(spec.name, warehouse, window)
    async with context.watch(), context.store() as store:
        run = await store.runs.find(run_id)
        if run is None and wanted.resume:
            raise ConfigurationError(f"resume: no run {run_id} in this store: check the id and the store")
        if run is None:
            version = await steps.version_of(store, wanted.mapping)
            grid = grid_of(spec, request) if isinstance(request, MappedReading) else None
            async with context.reader(warehouse, window, version) as reader:
                origin = Origin(context.program, request.source, request.token_env)
                run = await steps.plan(reader, store, run_id, context.flow_run_id, grid, origin)
            return Plan(run, await store.chunks.of(run.id))
        await _check_resumed(context, run, wanted, request)
        chunks = await store.chunks.of(run.id)
        reason = await steps.why_read_again(store, spec, run) if run.is_open else None
        if reason is None:
            return Plan(run, chunks, None if run.is_open else await store.publications.of_run(run.id))
        context.log.warning("Reading the window again: %s.", reason)
        async with context.reader_of(run) as reader:
            return await steps.replan_window(reader, store, run, chunks)


async def _check_resumed(context: RunContext, run: SyncRun, wanted: Wanted, reading: Reading) -> None:
    """Check that a stored run matches the request and, if it is being read, that its source answers."""
    source, warehouse, mapping = context.source.spec.name, wanted.warehouse, wanted.mapping
    if (run.source, run.warehouse) != (source, warehouse):
        raise ConfigurationError(
            f"resume: run {run.id} reads {run.warehouse} from {run.source}, not {warehouse} from {source}: "
            "check the id"
        )
    planned = SkuMapping(run.master.source, run.master.unknown_sku) if run.master else None
    if planned != mapping:
        raise ConfigurationError(
            f"resume: run {run.id} maps its SKUs by {_describe(planned)}, not by {_describe(mapping)}: start "
            "a new run of this window"
        )
    if run.is_open:
        asked, verb = Bounds(*run.window.bounds), f"{context.program} sync"
        choice = WindowChoice(context.source.spec, asked, context.due, verb, reading.options())
        choice.check([run.window], resume=None)
        async with context.reader_of(run) as reader:
            await reader.check()


def _describe(mapping: SkuMappingPolicy) -> str:
    return f"the master {mapping.master}, unknown_sku {mapping.unknown_sku}" if mapping else "no master"


@step("ingest {run.label} {progress.chunk.label}")
async def ingest_chunk(context: RunContext, run: SyncRun, progress: ChunkProgress) -> ChunkProgress:
    """Read, validate and store a chunk's pages, from the first one that has not landed."""
    index = progress.chunk.index
    async with context.store() as store, context.reader_of(run) as reader:
        if context.attempt > 1:  # the plan's progress is out of date
            progress = await store.chunks.progress(run.id, index)
        try:
            progress, rejects = await steps.read_chunk(reader, store, run, progress)
        except Exception as error:
            with suppress(RetriableError):  # the store itself may be what is unavailable
                cost = getattr(error, "cost", VelocityError.cost)
                await store.chunks.fail(run.id, index, hide(str(error)), cost)
            raise
    if not (context.is_in_group and context.is_inline):  # the window's table shows it, too
        await context.display.show_chunk(progress, rejects)
    return progress


@step("prove {run.label}")
async def prove_window(context: RunContext, run: SyncRun, reading: Reading) -> tuple[steps.Proof, steps.Cost]:
    """Check the ledger against what the source reported and reports now. Return the proof and the cost."""
    async with context.store() as store, context.reader_of(run) as reader, context.watch() as watch:
        proof = await steps.prove_window(
            reader,
            store,
            run,
            reading.max_reject_ratio,
            accept_shrunk=reading.accept_shrunk,
            require_proof=reading.require_proof,
        )
        return proof, steps.Cost(
            reader.client.tally, watch.health, reader.client.spec.pace.requests_per_second
        )


@step("plan {run.label} again")
async def replan_window(context: RunContext, run: SyncRun, chunks: Sequence[ChunkProgress]) -> Plan:
    """Plan the reread of an unproven window, the positions where the proof failed first."""
    async with context.store() as store, context.reader_of(run) as reader:
        return await steps.replan_window(reader, store, run, chunks)


@step("publish {report.label}")
async def publish_window(context: RunContext, run: SyncRun, report: RunReport) -> Publication | None:
    """Publish a proven window; of any other, store only the report."""
    text = report.model_dump_json()
    async with context.store() as store:
        if report.published:
            return await store.publications.publish(run.id, text, report.verdict, report.repairs)
        await store.runs.refuse(run.id, text, held_rows(report))
        return None


@step("show rejects {report.label}")
async def show_rejects(context: RunContext, report: RunReport) -> None:
    """Show a window's rejects."""
    async with context.store() as store:
        await context.display.show_rejects(store, report)


@step("compare with the previous version")
async def compare_versions(context: RunContext, version: str) -> MasterChanges:
    """Return what a published version maps differently from the previous one: nothing for the first."""
    async with context.store() as store:
        before = await store.masters.version_before(version)
        if before is None:
            return MasterChanges()
        return compare(await store.masters.names_of(before), await store.masters.names_of(version))


async def read_and_publish(context: RunContext, plan: Plan, reading: Reading) -> Published:
    """Read a planned window whole, publish it and show it. A closed run is returned unchanged."""
    if not plan.run.is_open:
        report = build_report(plan.run, steps.Proof(plan.chunks, []), steps.Cost(), 0.0)
        return report.as_published(plan.publication), plan.chunks
    run, proof, cost = await read_whole(context, plan, reading)
    return await publish_proven(context, run, proof, cost, time.monotonic() - context.started)


async def publish_proven(
    context: RunContext, run: SyncRun, proof: steps.Proof, cost: steps.Cost, seconds: float
) -> Published:
    """Publish a window that was read, if it is proven, and show it."""
    report = build_report(run, proof, cost, seconds)
    report = report.as_published(await context.perform(publish_window, run, report))
    if cost.loop.is_starved:
        context.log.warning(STARVED_LOOP, cost.loop.lag_p99_ms)
    for warning in [*([report.why_unproven] if report.why_unproven else []), *report.warnings]:
        context.log.warning("%s from %s: %s", report.label, report.source, warning)
    await context.display.show_window(report, proof.chunks)
    if report.rejected:
        await context.perform(show_rejects, report)
    return report, proof.chunks


async def read_whole(
    context: RunContext, plan: Plan, reading: Reading
) -> tuple[SyncRun, steps.Proof, steps.Cost]:
    """Ingest a window and prove it. Reread it at most `repairs` times while that may complete the proof."""
    for repairs_left in range(reading.repairs, -1, -1):
        await _ingest(context, plan)
        proof, cost = await context.perform(prove_window, plan.run, reading)
        if not repairs_left or not proof.needs_rereading:
            break
        plan = await context.perform(replan_window, plan.run, proof.chunks)
    return plan.run, proof, cost


async def _ingest(context: RunContext, plan: Plan) -> None:
    """Execute a step for each chunk that has not landed, and show the progress as they end.

    If the source pages by cursor, a chunk is known only after the previous one has landed.
    """
    done, total = len(plan.chunks) - len(plan.pending), len(plan.chunks)
    await context.display.show_progress(plan.run, done, total)
    pending = plan.pending
    while pending:
        calls, pending = [(plan.run, progress) for progress in pending], []
        async for landed in context.perform_each(ingest_chunk, calls):
            if isinstance(landed, RetriableError) and context.will_retry:
                raise landed
            if not isinstance(landed, BaseException):
                done += 1
                pending += steps.chunks_after(landed, context.source.spec)
            context.listener.progress(done, total + len(pending))
            await context.display.show_progress(plan.run, done, total + len(pending))
        total += len(pending)
    await context.display.show_progress(plan.run, done, total, is_last=True)


async def deliver(context: RunContext, run: SyncRun, report: RunReport, request: Delivery) -> RunReport:
    """Export, push and refresh a published window, as requested. Return the updated report.

    A failed export or refresh is an error in the report: the window stays published.
    """
    if not report.published:
        return report
    results: dict[str, object] = {}
    if request.export_to:
        try:
            name = await context.perform(export_published, run, request.export_to)
            results["exported"] = name
        except VelocityError as error:
            results["export_error"] = str(error)
    if context.engine:
        results["push"] = await push_published(context, run, request.push_spec_changes)
    if isinstance(request, WindowReading) and request.velocity_zone:
        try:
            await context.perform(refresh_published, run, request.velocity_zone, request.count_types)
        except VelocityError as error:
            results["refresh_error"] = str(error)
    return report.model_copy(update=results)


@step("export {run.label}")
async def export_published(context: RunContext, run: SyncRun, export_to: str) -> str:
    """Write a published window to a destination, unless its files are there. Return their directory."""
    from sku_velocity.steps.destination import Destination
    from sku_velocity.steps.export import export_window

    destination = Destination(export_to)
    async with context.store() as store:
        return (await export_window(store, destination, run.source, run.warehouse, run.window)).directory


@step("refresh velocity of {run.label}")
async def refresh_published(
    context: RunContext, run: SyncRun, time_zone: str, count_types: Sequence[str] | None
) -> None:
    """Compute a warehouse's velocity, and send the changed classes to the slotting engine."""
    from sku_velocity.steps.velocity import last_day, refresh_and_push

    end = datetime.now(UTC) if run.window.is_everything else run.window.end
    day = last_day(end, time_zone)
    await refresh_and_push(context, run.source, run.warehouse, day, time_zone, count_types)

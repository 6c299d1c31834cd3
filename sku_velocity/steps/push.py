"""The steps of a push to a slotting engine: a chunk of movements, or the figures of SKUs that changed."""

from __future__ import annotations

import json
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass

from sku_velocity.errors import EngineAddressError, EngineAuthError, EngineRefusalError, RetriableError
from sku_velocity.masking import hide
from sku_velocity.model.chunk import Chunk
from sku_velocity.model.movement import DeadLetter, Reason
from sku_velocity.model.push import REMOVALS, ChunkPush, OpenBatch, PushKind, SkuFigures, class_batch
from sku_velocity.model.run import PushReport, SyncRun
from sku_velocity.slotting.batches import Answer
from sku_velocity.slotting.client import SlottingClient
from sku_velocity.steps.outcome import WITHHELD
from sku_velocity.steps.run_context import RunContext, step
from sku_velocity.store import Store


@dataclass(frozen=True)
class ClassPush:
    """The result of a push of figures: of how many SKUs the engine accepted and rejected changed ones."""

    engine: str
    accepted: int
    rejected: int


@dataclass(frozen=True)
class PushPlan:
    """What of a run is left to push: `parts` of the run, `first` the one for what it replaced.

    Before them, `unanswered` batches of the runs that it replaced.
    """

    kind: PushKind
    unanswered: list[tuple[SyncRun, Chunk]]
    first: list[tuple[SyncRun, Chunk]]
    parts: list[tuple[SyncRun, Chunk]]


async def push_published(context: RunContext, run: SyncRun, spec_changes: bool = False) -> PushReport:
    """Push what is left of a published run, one step per chunk. A failed chunk does not stop the others.

    What the engine may not have answered of the runs that it replaced is sent before, then what it replaced:
    if one of these fails, the rest is left. A run that differs from them by its spec is only pushed with
    `spec_changes`, unless the engine has nothing of the window.
    """
    plan = await context.perform(plan_push, run, spec_changes)
    error = await _push_parts(context, plan.unanswered)
    if error:
        runs = ", ".join(sorted({earlier.id for earlier, _ in plan.unanswered}))
        error = f"a batch of an earlier run of the window comes first: {runs}: {error}"
    elif not await _push_parts(context, plan.first):
        await _push_parts(context, plan.parts)
    return await context.perform(report_push, run, plan.kind, error)


async def _push_parts(context: RunContext, parts: Sequence[tuple[SyncRun, Chunk]]) -> str | None:
    """Push parts concurrently. Return the error of one that failed, or None."""
    results = [result async for result in context.perform_each(push_chunk_of, parts)]
    return next((hide(str(result)) for result in results if isinstance(result, BaseException)), None)


@step("plan push {run.label}")
async def plan_push(context: RunContext, run: SyncRun, spec_changes: bool) -> PushPlan:
    """Return the parts of a run that the engine has not answered yet, and what must be answered before."""
    async with context.store() as store:
        plan = await plan_parts(store, run, context.engine_name, spec_changes)
    if plan.kind is PushKind.WITHHELD:
        context.log.warning("%s: not pushed to %s: %s", run.label, context.engine_name, WITHHELD)
    return plan


@step("push {run.label} {chunk.label}")
async def push_chunk_of(context: RunContext, run: SyncRun, chunk: Chunk) -> None:
    """Send the published rows of a chunk, from the first batch that has not been answered."""
    async with context.store() as store, context.engine_client() as client:
        try:
            await push_chunk(client, store, run.id, chunk.index)
        except Exception as error:
            with suppress(RetriableError):  # the store itself may be what is unavailable
                await store.pushes.fail(run.id, chunk.index, client.spec.name, hide(str(error)))
            raise


@step("report push {run.label}")
async def report_push(context: RunContext, run: SyncRun, kind: PushKind, error: str | None) -> PushReport:
    """Add up the push ledger and show it."""
    engine = context.engine_name
    async with context.store() as store:
        left = [] if kind is PushKind.WITHHELD else await store.pushes.unpushed(run.id, engine)
        report = add_up(engine, kind, await store.pushes.read(run.id, engine), left, error)
    await context.display.show_push(run, report)
    return report


@step("push classes of {source}")
async def push_current_classes(context: RunContext, source: str, warehouse: str) -> ClassPush:
    """Send the slotting engine those of a warehouse's current figures that it does not have yet."""
    async with context.store() as store, context.engine_client() as client:
        figures = await store.velocity.current(source, warehouse, client.spec.velocity_fields)
        return await push_classes(client, store, source, warehouse, figures)


async def plan_parts(store: Store, run: SyncRun, engine: str, spec_changes: bool = False) -> PushPlan:
    """Return what of a run is left to push; nothing if it is withheld."""
    kind = await store.pushes.kind(run.id, engine, spec_changes)
    if kind is PushKind.WITHHELD:
        return PushPlan(kind, [], [], [])
    unanswered = [] if kind is PushKind.FIRST else await store.pushes.unanswered(run.id, engine)
    parts = [(run, chunk) for chunk in await store.pushes.unpushed(run.id, engine)]
    first = [part for part in parts if part[1].index == REMOVALS]
    return PushPlan(kind, unanswered, first, parts[len(first) :])


async def push_chunk(client: SlottingClient, store: Store, run_id: str, index: int) -> None:
    """Send the published movements of a chunk, batch by batch, from the first unanswered one.

    Each answer is stored before the next batch starts. After any interruption, even a kill, the next call
    sends the open batch again with the same key and content; a batch of which the engine accepted nothing
    is cut again, and so is one that was refused after an attempt without an answer, if the batch size is
    lowered. Raises the errors of the engine and of the store.
    """
    ledger, engine = store.pushes, client.spec.name
    await ledger.begin(run_id, index, engine)
    size, fields = client.spec.batch_size, client.spec.movement_fields
    while opened := await ledger.next_batch(run_id, index, engine, size, fields):
        try:
            answer = await client.push_movements(opened.batch)
        except EngineRefusalError as error:
            if opened.is_new and error.took_nothing:
                await ledger.withdraw(run_id, index, engine, opened)
            elif not isinstance(error, EngineAddressError | EngineAuthError):  # those say nothing about it
                await ledger.mark_refused(run_id, index, engine, opened)
                error.args = (f"{error}{_way_out(opened)}",)
            raise
        letters = rejects_of(engine, opened, answer)
        await ledger.settle(run_id, index, engine, opened, letters, answer.requests)


def _way_out(opened: OpenBatch) -> str:
    """Return what to do about a refused batch that an earlier attempt may have delivered."""
    records, ids = len(opened.batch.records), opened.batch.ids
    return (
        f": an earlier attempt at this batch got no final response: to send its {records} records in smaller "
        f"batches, set batch_size below {records} and retry; if the engine accepted that attempt after all, "
        f"and does not replace records by id, it then holds up to {records} of them twice, from {ids[0]} to "
        f"{ids[-1]}"
    )


def rejects_of(engine: str, opened: OpenBatch, answer: Answer) -> list[DeadLetter]:
    """Return the records that an engine rejected as dead letters with the engine's name and reason."""
    sent = zip(opened.rows, opened.batch.records, strict=True)
    return [
        DeadLetter(
            row.position, json.dumps(record), (Reason("", f"{engine}: {answer.rejected[record['id']]}"),)
        )
        for row, record in sent
        if record["id"] in answer.rejected
    ]


def add_up(
    engine: str,
    kind: PushKind,
    pushes: Sequence[ChunkPush],
    left: Sequence[Chunk],
    error: str | None = None,
) -> PushReport:
    """Build the report of a run's push; `left` are the chunks that are not pushed, `error` why none was."""
    labels = {chunk.index: chunk.label for chunk in left}
    of_chunks = [each for each in pushes if each.chunk != REMOVALS]
    removed = sum(each.accepted for each in pushes if each.chunk == REMOVALS)
    errors = [f"{each.chunk} ({labels[each.chunk]}): {each.error}" for each in pushes if each.error]
    return PushReport(
        engine=engine,
        kind=kind,
        chunks=len({each.chunk for each in pushes} | labels.keys()),
        failed_chunks=sorted(labels),
        accepted=sum(each.accepted for each in of_chunks),
        rejected=sum(each.rejected for each in pushes),
        removed=removed if kind is PushKind.CORRECTIONS else 0,
        requests=sum(each.requests for each in pushes),
        errors=[*([error] if error else []), *errors],
    )


async def push_classes(
    client: SlottingClient, store: Store, source: str, warehouse: str, figures: Sequence[SkuFigures]
) -> ClassPush:
    """Send those of a warehouse's current figures that the engine does not have, or rejected before.

    A SKU that has none any more is sent once, with null in their place. After an interruption the next call
    sends them again. Raises the errors of the engine and of the store.
    """
    ledger, engine, size = store.sent_figures, client.spec.name, client.spec.batch_size
    changes = await ledger.changed(engine, source, warehouse, client.spec.velocity_fields, figures)
    revision, rejected = changes.revision, 0
    for first in range(0, len(changes.figures), size):
        some = changes.figures[first : first + size]
        await ledger.begin(engine, source, revision, some)
        answer = await client.push_classes(class_batch(source, revision, some))
        revision += 1
        await ledger.settle(engine, source, revision, some, answer.rejected)
        rejected += len(answer.rejected)
    return ClassPush(engine, len(changes.figures) - rejected, rejected)

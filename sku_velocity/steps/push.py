"""The steps of a push, each on the engine and the store: a chunk of movements, the classes that changed."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass

from sku_velocity.errors import EngineRefusalError
from sku_velocity.model.chunk import Chunk
from sku_velocity.model.movement import DeadLetter, Reason
from sku_velocity.model.push import ChunkPush, OpenBatch, SkuClass, class_batch
from sku_velocity.model.run import PushReport
from sku_velocity.slotting.batches import Answer
from sku_velocity.slotting.client import SlottingClient
from sku_velocity.store import Store


@dataclass(frozen=True)
class ClassPush:
    """What telling an engine of classes came to: how many changed ones it took, and how many it rejected."""

    engine: str
    accepted: int
    rejected: int


async def push_chunk(client: SlottingClient, store: Store, run_id: str, index: int) -> None:
    """Send what shows of a published chunk, batch by batch, from the first that has not been answered.

    Each answer is kept before the next batch is begun. What breaks off in between, however hard, is sent
    again under the same key with the same content by the next call; what the engine took nothing of is cut
    anew. Raises what both sides raise.
    """
    ledger, engine = store.pushes, client.spec.name
    await ledger.begin(run_id, index, engine)
    while opened := await ledger.next_batch(run_id, index, engine, client.spec.batch_size):
        try:
            answer = await client.push_movements(opened.batch)
        except EngineRefusalError as error:
            if opened.is_new and error.took_nothing:
                await ledger.withdraw(run_id, index, engine, opened)
            raise
        letters = rejects_of(engine, opened, answer)
        await ledger.settle(run_id, index, engine, opened, letters, answer.requests)


def rejects_of(engine: str, opened: OpenBatch, answer: Answer) -> list[DeadLetter]:
    """The records that an engine rejected, as dead letters that say which engine and why."""
    sent = zip(opened.rows, opened.batch.records, strict=True)
    return [
        DeadLetter(row[0], json.dumps(record), (Reason("", f"{engine}: {answer.rejected[record['id']]}"),))
        for row, record in sent
        if record["id"] in answer.rejected
    ]


def add_up(engine: str, pushes: Sequence[ChunkPush], left: Sequence[Chunk]) -> PushReport:
    """What the push of a run has come to; `left` are the chunks that are not pushed."""
    labels = {chunk.index: chunk.label for chunk in left}
    return PushReport(
        engine=engine,
        chunks=len({each.chunk for each in pushes} | labels.keys()),
        failed_chunks=sorted(labels),
        accepted=sum(each.accepted for each in pushes),
        rejected=sum(each.rejected for each in pushes),
        requests=sum(each.requests for each in pushes),
        errors=[f"{each.chunk} ({labels[each.chunk]}): {each.error}" for each in pushes if each.error],
    )


async def push_classes(
    client: SlottingClient, store: Store, source: str, classes: Sequence[SkuClass]
) -> ClassPush:
    """Tell an engine of those of a source's current classes that it does not know, or rejected before.

    What breaks off is sent again by the next call. Raises what both sides raise.
    """
    ledger, engine, size = store.sent_classes, client.spec.name, client.spec.batch_size
    changes = await ledger.changed(engine, source, classes)
    revision, rejected = changes.revision, 0
    for first in range(0, len(changes.classes), size):
        some = changes.classes[first : first + size]
        await ledger.begin(engine, source, revision, some)
        answer = await client.push_classes(class_batch(source, revision, some))
        revision += 1
        await ledger.settle(engine, source, revision, some, answer.rejected)
        rejected += len(answer.rejected)
    return ClassPush(engine, len(changes.classes) - rejected, rejected)

"""The steps of a sync, each on the source and the store: plan, read a chunk, prove, read again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from sku_velocity.completeness import calls_for_rereading, prove, suspects
from sku_velocity.http.exchange import Tally
from sku_velocity.model.chunk import BatchResult, Chunk, ChunkState, PageResult
from sku_velocity.model.movement import DeadLetter
from sku_velocity.model.run import Check, LastLook, MasterVersion, Plan, SyncRun, UnknownSku
from sku_velocity.process.loop_lag import LoopHealth
from sku_velocity.source.paging import plan_chunks
from sku_velocity.source.spec import PagingSpec
from sku_velocity.source.window import Survey, WindowReader
from sku_velocity.store import Store

PAGES_PER_CURSOR_CHUNK = 20
KEPT_REJECTS = 5  # of a chunk, to be shown; all of them stand in the store


@dataclass(frozen=True)
class Proof:
    """The ledger of a window and what the checks made of it."""

    batches: list[BatchResult]
    checks: list[Check]

    @property
    def calls_for_rereading(self) -> bool:
        return calls_for_rereading(self.checks)


@dataclass(frozen=True)
class Cost:
    """What an attempt at a window has cost: requests, and how the event loop bore them."""

    tally: Tally = field(default_factory=Tally)
    loop: LoopHealth = LoopHealth()


async def version_of(store: Store, master: str | None, unknown_sku: UnknownSku) -> MasterVersion | None:
    """The version of a master that shows now, for a run to map by. Raises ConfigurationError without one."""
    if master is None:
        return None
    return MasterVersion(source=master, version=await store.newest_master(master), unknown_sku=unknown_sku)


async def plan(reader: WindowReader, store: Store, run_id: str) -> SyncRun:
    """Ask the source how many records the window holds, cut it into chunks, and enter both."""
    survey = await reader.survey()
    spec = reader.client.spec
    run = SyncRun(
        run_id, spec.name, reader.warehouse, reader.window, survey.total, master=reader.master_version
    )
    await store.begin(run, chunks_of(survey, spec.paging))
    return run


def chunks_of(survey: Survey, paging: PagingSpec) -> list[Chunk]:
    """The chunks of a window; where pages come by cursor, the first one, which the others follow."""
    if paging.is_sequential:
        return [Chunk(0, 0, survey.page_size * PAGES_PER_CURSOR_CHUNK, survey.page_size)]
    overlap = min(paging.effective_overlap, survey.page_size - 1)
    return plan_chunks(survey.total or 0, survey.page_size - overlap, overlap)


def following(batch: BatchResult) -> list[BatchResult]:
    """The chunk that the ledger has entered after a landed one, where its cursor says that there is more."""
    if batch.cursor is None or batch.state is not ChunkState.LANDED:
        return []
    chunk = batch.chunk.followed_by(batch.chunk.page_size * PAGES_PER_CURSOR_CHUNK)
    return [BatchResult(chunk, ChunkState.PLANNED, chunk.offset, cursor=batch.cursor)]


async def read_chunk(
    reader: WindowReader, store: Store, run: SyncRun, batch: BatchResult
) -> tuple[BatchResult, list[DeadLetter]]:
    """Read, sort and land a chunk's pages, from the first one that has not landed; with its first rejects.

    `batch` is the chunk's row of the ledger. Where somebody has gone on with the chunk since, one page is
    read in vain, and the row as it stands then is gone on with.
    """
    rejects: list[DeadLetter] = []
    while batch.state is not ChunkState.LANDED:
        result = await _read_next(reader, batch)
        batch = await store.land_page(run.id, batch.chunk.index, result)
        rejects += result.dead_letters[: KEPT_REJECTS - len(rejects)]
    return batch, rejects


async def _read_next(reader: WindowReader, batch: BatchResult) -> PageResult:
    if reader.client.spec.paging.is_sequential:
        return await reader.read_from(batch.cursor, batch.next_offset)
    return await reader.read(next(batch.chunk.pages(since=batch.next_offset)))


async def prove_window(reader: WindowReader, store: Store, run: SyncRun, max_reject_ratio: float) -> Proof:
    """Hold the ledger against what the source promised, and promises now."""
    batches = await store.batches(run.id)
    landed = all(batch.state is ChunkState.LANDED for batch in batches)
    look = await _look_again(reader, store, run, batches) if landed else None
    return Proof(batches, prove(run, batches, look, max_reject_ratio))


async def _look_again(
    reader: WindowReader, store: Store, run: SyncRun, batches: Sequence[BatchResult]
) -> LastLook:
    look = await reader.look_again(run, batches)
    if reader.client.spec.items is not None:
        repeated, contested = await store.count_repeated_skus(run.id), await store.contested_names(run.id)
        return replace(look, repeated_ids=repeated, contested_names=contested)
    if reader.client.spec.fields.movement_id is None:
        return look
    return replace(look, repeated_ids=await store.count_repeated_ids(run.id))


async def plan_again(
    reader: WindowReader, store: Store, run: SyncRun, batches: Sequence[BatchResult]
) -> Plan:
    """Have the window read again, the chunks first where the proof broke."""
    survey = await reader.survey()
    run = await store.replan(run.id, survey.total, chunks_of(survey, reader.client.spec.paging))
    torn = suspects(batches)
    planned = await store.batches(run.id)
    return Plan(run, sorted(planned, key=lambda batch: batch.chunk.offset not in torn))

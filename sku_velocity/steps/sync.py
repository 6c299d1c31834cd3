"""The steps of a sync, each on the source and the store: plan, read a chunk, prove, read again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from sku_velocity.completeness import needs_rereading, prove, suspects
from sku_velocity.http.exchange import Tally
from sku_velocity.model.chunk import Chunk, ChunkProgress, ChunkState, PageResult
from sku_velocity.model.movement import DeadLetter
from sku_velocity.model.run import Check, FinalCheck, MasterVersion, Plan, SyncRun, UnknownSku
from sku_velocity.process.loop_lag import LoopHealth
from sku_velocity.source.paging import plan_chunks
from sku_velocity.source.spec import PagingSpec
from sku_velocity.source.window import WindowProbe, WindowReader
from sku_velocity.store import Store

PAGES_PER_CURSOR_CHUNK = 20
MAX_KEPT_REJECTS = 5  # of a chunk, to be shown; all of them stand in the store


@dataclass(frozen=True)
class Proof:
    """The ledger of a window and what the checks made of it."""

    chunks: list[ChunkProgress]
    checks: list[Check]

    @property
    def needs_rereading(self) -> bool:
        return needs_rereading(self.checks)


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
    probe = await reader.probe()
    spec = reader.client.spec
    run = SyncRun(
        run_id, spec.name, reader.warehouse, reader.window, probe.total, master=reader.master_version
    )
    await store.begin(run, chunks_of(probe, spec.paging))
    return run


def chunks_of(probe: WindowProbe, paging: PagingSpec) -> list[Chunk]:
    """The chunks of a window; where pages come by cursor, the first one, which the others follow."""
    if paging.is_sequential:
        return [Chunk(0, 0, probe.page_size * PAGES_PER_CURSOR_CHUNK, probe.page_size)]
    overlap = min(paging.effective_overlap, probe.page_size - 1)
    return plan_chunks(probe.total or 0, probe.page_size - overlap, overlap)


def following(progress: ChunkProgress) -> list[ChunkProgress]:
    """The chunk that the ledger has entered after a landed one, where its cursor says that there is more."""
    if progress.cursor is None or progress.state is not ChunkState.LANDED:
        return []
    chunk = progress.chunk.followed_by(progress.chunk.page_size * PAGES_PER_CURSOR_CHUNK)
    return [ChunkProgress(chunk, ChunkState.PLANNED, chunk.offset, cursor=progress.cursor)]


async def read_chunk(
    reader: WindowReader, store: Store, run: SyncRun, progress: ChunkProgress
) -> tuple[ChunkProgress, list[DeadLetter]]:
    """Read, sort and land a chunk's pages, from the first one that has not landed; with its first rejects.

    `progress` is the chunk's row of the ledger. Where somebody has gone on with the chunk since, one page is
    read in vain, and the row as it stands then is gone on with.
    """
    rejects: list[DeadLetter] = []
    while progress.state is not ChunkState.LANDED:
        result = await _read_next(reader, progress)
        progress = await store.land_page(run.id, progress.chunk.index, result)
        rejects += result.dead_letters[: MAX_KEPT_REJECTS - len(rejects)]
    return progress, rejects


async def _read_next(reader: WindowReader, progress: ChunkProgress) -> PageResult:
    if reader.client.spec.paging.is_sequential:
        return await reader.read_from(progress.cursor, progress.next_offset)
    return await reader.read(next(progress.chunk.pages(since=progress.next_offset)))


async def prove_window(reader: WindowReader, store: Store, run: SyncRun, max_reject_ratio: float) -> Proof:
    """Hold the ledger against what the source promised, and promises now."""
    chunks = await store.chunks(run.id)
    landed = all(progress.state is ChunkState.LANDED for progress in chunks)
    look = await _final_check(reader, store, run, chunks) if landed else None
    return Proof(chunks, prove(run, chunks, look, max_reject_ratio))


async def _final_check(
    reader: WindowReader, store: Store, run: SyncRun, chunks: Sequence[ChunkProgress]
) -> FinalCheck:
    look = await reader.final_check(run, chunks)
    if reader.client.spec.items is not None:
        repeated, contested = await store.count_repeated_skus(run.id), await store.contested_names(run.id)
        return replace(look, repeated_ids=repeated, contested_names=contested)
    if reader.client.spec.fields.movement_id is None:
        return look
    return replace(look, repeated_ids=await store.count_repeated_ids(run.id))


async def replan_window(
    reader: WindowReader, store: Store, run: SyncRun, chunks: Sequence[ChunkProgress]
) -> Plan:
    """Have the window read again, the chunks first where the proof broke."""
    probe = await reader.probe()
    run = await store.replan(run.id, probe.total, chunks_of(probe, reader.client.spec.paging))
    torn = suspects(chunks)
    planned = await store.chunks(run.id)
    return Plan(run, sorted(planned, key=lambda progress: progress.chunk.offset not in torn))

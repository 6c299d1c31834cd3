"""The steps of a sync on the source and the store: plan, read a chunk, prove, replan."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field, replace

from sku_velocity.completeness import Limits, needs_rereading, prove, suspects
from sku_velocity.http.exchange import Tally
from sku_velocity.model.chunk import Chunk, ChunkProgress, ChunkState, PageResult
from sku_velocity.model.movement import DeadLetter
from sku_velocity.model.run import Check, FinalCheck, MasterVersion, Origin, Plan, RunState, SyncRun
from sku_velocity.model.status import SkuMappingPolicy
from sku_velocity.model.window_grid import WindowGrid
from sku_velocity.process.loop_lag import LoopHealth
from sku_velocity.source.digest import mapping_digest
from sku_velocity.source.final_check import count_pages
from sku_velocity.source.paging import overlap_of, plan_chunks
from sku_velocity.source.spec import SourceSpec
from sku_velocity.source.window import WindowProbe, WindowReader
from sku_velocity.store import Store

PAGES_PER_CURSOR_CHUNK = 20
MAX_KEPT_REJECTS = 5  # per chunk, for the artifact; the store holds all of them


@dataclass(frozen=True)
class Proof:
    """A window's ledger, the results of its checks, and the unmapped fields of the one published before.

    `has_rows` is False if nothing of the warehouse was ever published.
    """

    chunks: list[ChunkProgress]
    checks: list[Check]
    known_fields: Collection[str] | None = None
    has_rows: bool = True

    @property
    def needs_rereading(self) -> bool:
        return needs_rereading(self.checks)


@dataclass(frozen=True)
class Cost:
    """The cost of an attempt at a window: requests, the health of the event loop, and the rate allowed."""

    tally: Tally = field(default_factory=Tally)
    loop: LoopHealth = LoopHealth()
    allowed_rate: float | None = None


async def version_of(store: Store, mapping: SkuMappingPolicy) -> MasterVersion | None:
    """Return the newest version of a master, to map a run by. Raises ConfigurationError if there is none."""
    if mapping is None:
        return None
    master, unknown_sku = mapping
    return MasterVersion(source=master, version=await store.masters.newest(master), unknown_sku=unknown_sku)


async def plan(
    reader: WindowReader,
    store: Store,
    run_id: str,
    flow_run_id: str | None = None,
    grid: WindowGrid | None = None,
    origin: Origin | None = None,
) -> SyncRun:
    """Probe how many records the window holds, cut it into chunks, and store both.

    Raises IncompleteWindowError, before any request, if a part of the window is archived.
    """
    spec = reader.client.spec
    await store.publications.check_not_archived(spec.name, reader.warehouse, reader.window)
    probe = await reader.probe()
    run = SyncRun(
        run_id,
        spec.name,
        reader.warehouse,
        reader.window,
        probe.total,
        master=reader.master_version,
        mapping_digest=mapping_digest(spec),
        flow_run_id=flow_run_id,
        grid=grid,
        has_types=bool(spec.types),
        origin=origin,
    )
    return await store.runs.begin(run, chunks_of(probe, spec))


def chunks_of(probe: WindowProbe, spec: SourceSpec) -> list[Chunk]:
    """Return the chunks of a window; with cursor paging only the first one, as the others follow from it."""
    if spec.paging.is_sequential:
        return [Chunk(0, 0, probe.page_size * _pages_by_cursor(spec), probe.page_size)]
    overlap = overlap_of(spec.paging.effective_overlap, probe.page_size, spec.has_ids)
    return plan_chunks(probe.total or 0, probe.page_size - overlap, overlap, spec.paging.pages_per_chunk)


def _pages_by_cursor(spec: SourceSpec) -> int:
    return spec.paging.pages_per_chunk or PAGES_PER_CURSOR_CHUNK


def chunks_after(progress: ChunkProgress, spec: SourceSpec) -> list[ChunkProgress]:
    """Return the chunk that the ledger appended after a landed one, if its cursor says that there is more."""
    if progress.cursor is None or progress.state is not ChunkState.LANDED:
        return []
    chunk = progress.chunk.followed_by(progress.chunk.page_size * _pages_by_cursor(spec))
    return [ChunkProgress(chunk, ChunkState.PLANNED, chunk.offset, cursor=progress.cursor)]


async def read_chunk(
    reader: WindowReader, store: Store, run: SyncRun, progress: ChunkProgress
) -> tuple[ChunkProgress, list[DeadLetter]]:
    """Read, validate and land a chunk's pages, from the first one not landed. Return its first rejects too.

    `progress` is the chunk's row of the ledger. If another run has advanced the chunk since, one page is
    read in vain, and reading resumes from the row as it is then.
    """
    rejects: list[DeadLetter] = []
    await _resume_cursors(reader, store, run, progress)
    while progress.state is not ChunkState.LANDED:
        result = await _read_next(reader, progress)
        index = progress.chunk.index
        progress = await store.chunks.land_page(run.id, index, result, run.mapping_digest, run.repairs)
        rejects += result.dead_letters[: MAX_KEPT_REJECTS - len(rejects)]
    return progress, rejects


async def _resume_cursors(reader: WindowReader, store: Store, run: SyncRun, progress: ChunkProgress) -> None:
    """Tell the reader of a resumed run the cursors in the ledger, so that it detects one that leads back."""
    trail = reader.pages.trail
    if progress.cursor is None or not trail.is_new:
        return
    for each in await store.chunks.of(run.id):
        if each.cursor is not None:
            trail.add(each.cursor, each.next_offset)


async def _read_next(reader: WindowReader, progress: ChunkProgress) -> PageResult:
    if reader.client.spec.paging.is_sequential:
        return await reader.read_from(progress.cursor, progress.next_offset)
    return await reader.read(next(progress.chunk.pages(since=progress.next_offset)))


async def why_read_again(store: Store, spec: SourceSpec, run: SyncRun) -> str | None:
    """Return why a stored run must be read again rather than resumed, or None."""
    if run.mapping_digest != mapping_digest(spec):
        return "the spec reads or maps records in another way than when the run was planned"
    if changed := _why_plan_again(spec, await store.chunks.of(run.id)):
        return changed
    if newer := await store.runs.newer(run):
        return f"run {newer} was planned later and is published"
    is_held = run.state is RunState.INCOMPLETE and run.held_rows is not None
    return "it was held because it would shrink, and a second reading confirms that" if is_held else None


def _why_plan_again(spec: SourceSpec, planned: Sequence[ChunkProgress]) -> str | None:
    """Return which portions of a plan no longer suit the spec, or None."""
    if not planned:
        return None
    paging, chunk = spec.paging, planned[0].chunk
    size = chunk.page_size + chunk.overlap
    is_sent = paging.limit_param is not None or paging.place == "range_header"
    if is_sent and paging.effective_page_size < size:
        return f"the pages of the plan have {size} records, more than paging.page_size or its maximum"
    if overlap_of(paging.effective_overlap, size, spec.has_ids) > chunk.overlap:
        return f"the pages of the plan overlap by {chunk.overlap} records, fewer than paging.overlap"
    return None


async def prove_window(
    reader: WindowReader,
    store: Store,
    run: SyncRun,
    max_reject_ratio: float,
    *,
    accept_shrunk: bool = False,
    require_proof: bool = False,
) -> Proof:
    """Check the ledger against what the source reported before the read and reports now.

    `max_reject_ratio` applies if the spec sets none, `require_proof` also if the spec does not.
    """
    chunks = await store.chunks.of(run.id)
    landed = all(progress.state is ChunkState.LANDED for progress in chunks)
    final = await _final_check(reader, store, run, chunks) if landed else None
    wanted = reader.client.spec.limits
    ratio = max_reject_ratio if wanted.max_reject_ratio is None else wanted.max_reject_ratio
    limits = Limits(
        ratio,
        wanted.max_rejects,
        wanted.empty_is_normal,
        accept_shrunk,
        require_proof or wanted.require_proof,
    )
    precedent = await store.precedents.of(run)
    checks = prove(run, chunks, final, limits, precedent)
    return Proof(chunks, checks, precedent.extra_fields, precedent.has_rows)


async def _final_check(
    reader: WindowReader, store: Store, run: SyncRun, chunks: Sequence[ChunkProgress]
) -> FinalCheck:
    final = await reader.final_check(run, chunks)
    spec, fetched = reader.client.spec, sum(progress.fetched for progress in chunks)
    if spec.items is not None:
        ids = await store.runs.count_ids(run.id)
        why = final.why_unproven or _why_items_may_be_missing(spec, chunks, fetched - ids.records)
        contested = await store.masters.contested_names(run.id)
        return replace(final, repeated_ids=ids.repeated, contested_names=contested, why_unproven=why)
    if spec.fields.movement_id is None:
        return final
    ids = await store.runs.count_ids(run.id)
    # A reject such as `null` has no id. In a fixed order the borders prove that it hides no other record.
    without = ids.loaded_without if spec.order.is_declared else fetched - ids.records
    return replace(final, repeated_ids=ids.repeated, without_id=without)


def _why_items_may_be_missing(
    spec: SourceSpec, chunks: Sequence[ChunkProgress], without_id: int
) -> str | None:
    """Return why a master is unproven: one of these items, read twice, would hide one that was not read.

    An item that a filter drops has no id, because it may well have the SKU of another: a row per plant, say.
    """
    is_fixed = spec.order.is_declared or spec.paging.stable
    if not without_id or is_fixed or count_pages(chunks) <= 1:
        return None
    return (
        f"the order of the items is not fixed, and {without_id} of them were filtered or have no SKU: if one "
        "was read twice, another may be missing: set order.params so that the API sorts by item, or "
        "order.stable: true if it always does"
    )


async def replan_window(
    reader: WindowReader, store: Store, run: SyncRun, chunks: Sequence[ChunkProgress]
) -> Plan:
    """Plan to read the window again, first the chunks for which the proof failed."""
    probe, spec = await reader.probe(), reader.client.spec
    run = await store.runs.replan(
        run.id, probe.total, chunks_of(probe, spec), mapping_digest(spec), bool(spec.types)
    )
    suspect_offsets = suspects(chunks)
    planned = await store.chunks.of(run.id)
    return Plan(run, sorted(planned, key=lambda progress: progress.chunk.offset not in suspect_offsets))

"""The proof that a window was read whole, out of the ledger and of what the source says at the end.

Why it suffices: let the order of the records be fixed, and call a record that stands in the source from the
first page's reading to the last look a standing one. Where two readings of a seam agree, the record at it has
the same rank at both readings, so every standing record before it belongs to the pages before, and every one
after it to the pages after: each is read exactly once. The last look shows that the last record read is the
last there is. Where the order is not fixed, record ids show it: as many ids as records, none twice.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from sku_velocity.model.chunk import ChunkProgress, ChunkState
from sku_velocity.model.run import REJECTS, Check, FinalCheck, SyncRun, Verdict

LANDED = "every chunk landed"
PAGES = "pages hold what the total promises"
SEAMS = "pages join without gap or overlap"
ENDS = "the ends stood still"
TOTAL = "the total stood still"
IDS = "no record id twice"
NAMES = "no name of two items"
ITEMS = "the master holds items"
SHOWN_NAMES = 5
ARITHMETIC = "fetched = loaded + rejected + trimmed + filtered"
FIXED_BY_REREADING = frozenset({PAGES, SEAMS, ENDS, TOTAL, IDS, NAMES})


def prove(
    run: SyncRun, chunks: Sequence[ChunkProgress], look: FinalCheck | None, max_reject_ratio: float
) -> list[Check]:
    """Hold the ledger of a window against what the source promised.

    `look` is None where a chunk is missing, so that nothing was looked at again.
    """
    return [
        _every_chunk_landed(chunks),
        _pages_are_full(run.total, chunks),
        _pages_join(chunks),
        _ends_unchanged(look),
        _total_unchanged(run.total, look),
        _no_id_twice(look),
        *_master_is_sound(look, chunks),
        _every_record_is_accounted_for(chunks),
        _rejects_within(max_reject_ratio, chunks),
    ]


def verdict_of(checks: Sequence[Check], repairs: int = 0) -> Verdict:
    """Complete where no check is broken; repaired, if that took reading the window again."""
    if any(check.passed is False for check in checks):
        return Verdict.INCOMPLETE
    return Verdict.REPAIRED if repairs else Verdict.COMPLETE


def needs_rereading(checks: Sequence[Check]) -> bool:
    """Whether all chunks have landed, and what is broken may hold once the window is read again."""
    broken = {check.name for check in checks if check.passed is False}
    return LANDED not in broken and bool(broken & FIXED_BY_REREADING)


def suspects(chunks: Sequence[ChunkProgress]) -> set[int]:
    """The places where the proof broke: the first positions of chunks that are short or do not join."""
    short = {progress.chunk.offset for progress in chunks if progress.fetched != progress.chunk.size}
    torn = {progress.chunk.offset for progress in chunks if progress.broken_seams}
    for before, after in pairwise(chunks):
        if after.chunk.overlap and before.last_fingerprint != after.first_fingerprint:
            torn |= {before.chunk.offset, after.chunk.offset}
    return short | torn


def _every_chunk_landed(chunks: Sequence[ChunkProgress]) -> Check:
    landed = sum(progress.state is ChunkState.LANDED for progress in chunks)
    return Check(LANDED, landed == len(chunks), f"{landed} of {len(chunks)} chunks landed")


def _pages_are_full(total: int | None, chunks: Sequence[ChunkProgress]) -> Check:
    fetched = sum(progress.fetched for progress in chunks)
    if total is None:
        return Check(PAGES, None, f"{fetched} records fetched; the source promises no total")
    ends = [0, *(progress.chunk.end for progress in chunks)]
    tiled = all(progress.chunk.offset == end for progress, end in zip(chunks, ends[:-1], strict=True))
    full = all(progress.fetched == progress.chunk.size for progress in chunks)
    return Check(PAGES, tiled and full and ends[-1] == total, f"{fetched} of {total} records fetched")


def _pages_join(chunks: Sequence[ChunkProgress]) -> Check:
    seams = [(before, after) for before, after in pairwise(chunks) if after.chunk.overlap]
    inner = sum(_pages_of(progress) - 1 for progress in chunks if progress.chunk.overlap)
    if not seams and not inner:
        return Check(SEAMS, None, "no page reads again what the one before it has read")
    broken = sum(before.last_fingerprint != after.first_fingerprint for before, after in seams)
    broken += sum(progress.broken_seams for progress in chunks)
    return Check(SEAMS, not broken, f"{broken} of {len(seams) + inner} seams broken")


def _pages_of(progress: ChunkProgress) -> int:
    return -(-progress.chunk.size // progress.chunk.page_size)


def _ends_unchanged(look: FinalCheck | None) -> Check:
    if look is None:
        return Check(ENDS, False, "not looked at again")
    if look.ends_agree is None:
        return Check(ENDS, None, "the source does not show them again")
    return Check(
        ENDS, look.ends_agree, "as they were" if look.ends_agree else "other records stand there now"
    )


def _total_unchanged(total: int | None, look: FinalCheck | None) -> Check:
    if look is None:
        return Check(TOTAL, False, "not counted again")
    if total is None or look.total is None:
        return Check(TOTAL, None, "the source promises no total")
    return Check(TOTAL, look.total == total, f"{total} before, {look.total} after")


def _no_id_twice(look: FinalCheck | None) -> Check:
    if look is None:
        return Check(IDS, False, "not looked at")
    if look.repeated_ids is None:
        return Check(IDS, None, "no record id is mapped")
    return Check(IDS, not look.repeated_ids, f"{look.repeated_ids} ids more than once")


def _master_is_sound(look: FinalCheck | None, chunks: Sequence[ChunkProgress]) -> list[Check]:
    """Of a master: what a contested name means would be a guess, and an empty one knows no SKU at all."""
    if look is None or look.contested_names is None:
        return []
    contested = look.contested_names
    named = f": {', '.join(contested[:SHOWN_NAMES])}" if contested else ""
    loaded = sum(progress.loaded for progress in chunks)
    return [
        Check(NAMES, not contested, f"{len(contested)} names of more than one item{named}"),
        Check(ITEMS, loaded > 0, f"{loaded} items"),
    ]


def _every_record_is_accounted_for(chunks: Sequence[ChunkProgress]) -> Check:
    fetched = sum(progress.fetched for progress in chunks)
    shares = [
        sum(getattr(progress, share) for progress in chunks)
        for share in ("loaded", "rejected", "trimmed", "filtered")
    ]
    return Check(ARITHMETIC, fetched == sum(shares), f"{fetched} = {' + '.join(map(str, shares))}")


def _rejects_within(limit: float, chunks: Sequence[ChunkProgress]) -> Check:
    rejected = sum(progress.rejected for progress in chunks)
    judged = rejected + sum(progress.loaded for progress in chunks)
    ratio = rejected / judged if judged else 0.0
    return Check(REJECTS, ratio <= limit, f"{rejected} of {judged} ({ratio:.1%}), at most {limit:.1%}")

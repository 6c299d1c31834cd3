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

from sku_velocity.model.chunk import BatchResult, ChunkState
from sku_velocity.model.run import REJECTS, Check, LastLook, SyncRun, Verdict

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
MENDED_BY_REREADING = frozenset({PAGES, SEAMS, ENDS, TOTAL, IDS, NAMES})


def prove(
    run: SyncRun, batches: Sequence[BatchResult], look: LastLook | None, max_reject_ratio: float
) -> list[Check]:
    """Hold the ledger of a window against what the source promised.

    `look` is None where a chunk is missing, so that nothing was looked at again.
    """
    return [
        _every_chunk_landed(batches),
        _pages_hold_what_the_total_promises(run.total, batches),
        _pages_join(batches),
        _the_ends_stood_still(look),
        _the_total_stood_still(run.total, look),
        _no_id_twice(look),
        *_the_master_is_sound(look, batches),
        _every_record_is_accounted_for(batches),
        _rejects_within(max_reject_ratio, batches),
    ]


def verdict_of(checks: Sequence[Check], repairs: int = 0) -> Verdict:
    """Complete where no check is broken; repaired, if that took reading the window again."""
    if any(check.held is False for check in checks):
        return Verdict.INCOMPLETE
    return Verdict.REPAIRED if repairs else Verdict.COMPLETE


def calls_for_rereading(checks: Sequence[Check]) -> bool:
    """Whether all chunks have landed, and what is broken may hold once the window is read again."""
    broken = {check.name for check in checks if check.held is False}
    return LANDED not in broken and bool(broken & MENDED_BY_REREADING)


def suspects(batches: Sequence[BatchResult]) -> set[int]:
    """The places where the proof broke: the first positions of chunks that are short or do not join."""
    short = {batch.chunk.offset for batch in batches if batch.fetched != batch.chunk.size}
    torn = {batch.chunk.offset for batch in batches if batch.broken_seams}
    for before, after in pairwise(batches):
        if after.chunk.overlap and before.tail != after.head:
            torn |= {before.chunk.offset, after.chunk.offset}
    return short | torn


def _every_chunk_landed(batches: Sequence[BatchResult]) -> Check:
    landed = sum(batch.state is ChunkState.LANDED for batch in batches)
    return Check(LANDED, landed == len(batches), f"{landed} of {len(batches)} chunks landed")


def _pages_hold_what_the_total_promises(total: int | None, batches: Sequence[BatchResult]) -> Check:
    fetched = sum(batch.fetched for batch in batches)
    if total is None:
        return Check(PAGES, None, f"{fetched} records fetched; the source promises no total")
    ends = [0, *(batch.chunk.end for batch in batches)]
    tiled = all(batch.chunk.offset == end for batch, end in zip(batches, ends[:-1], strict=True))
    full = all(batch.fetched == batch.chunk.size for batch in batches)
    return Check(PAGES, tiled and full and ends[-1] == total, f"{fetched} of {total} records fetched")


def _pages_join(batches: Sequence[BatchResult]) -> Check:
    seams = [(before, after) for before, after in pairwise(batches) if after.chunk.overlap]
    inner = sum(_pages_of(batch) - 1 for batch in batches if batch.chunk.overlap)
    if not seams and not inner:
        return Check(SEAMS, None, "no page reads again what the one before it has read")
    broken = sum(before.tail != after.head for before, after in seams)
    broken += sum(batch.broken_seams for batch in batches)
    return Check(SEAMS, not broken, f"{broken} of {len(seams) + inner} seams broken")


def _pages_of(batch: BatchResult) -> int:
    return -(-batch.chunk.size // batch.chunk.page_size)


def _the_ends_stood_still(look: LastLook | None) -> Check:
    if look is None:
        return Check(ENDS, False, "not looked at again")
    if look.ends_agree is None:
        return Check(ENDS, None, "the source does not show them again")
    return Check(
        ENDS, look.ends_agree, "as they were" if look.ends_agree else "other records stand there now"
    )


def _the_total_stood_still(total: int | None, look: LastLook | None) -> Check:
    if look is None:
        return Check(TOTAL, False, "not counted again")
    if total is None or look.total is None:
        return Check(TOTAL, None, "the source promises no total")
    return Check(TOTAL, look.total == total, f"{total} before, {look.total} after")


def _no_id_twice(look: LastLook | None) -> Check:
    if look is None:
        return Check(IDS, False, "not looked at")
    if look.repeated_ids is None:
        return Check(IDS, None, "no record id is mapped")
    return Check(IDS, not look.repeated_ids, f"{look.repeated_ids} ids more than once")


def _the_master_is_sound(look: LastLook | None, batches: Sequence[BatchResult]) -> list[Check]:
    """Of a master: what a contested name means would be a guess, and an empty one knows no SKU at all."""
    if look is None or look.contested_names is None:
        return []
    contested = look.contested_names
    named = f": {', '.join(contested[:SHOWN_NAMES])}" if contested else ""
    loaded = sum(batch.loaded for batch in batches)
    return [
        Check(NAMES, not contested, f"{len(contested)} names of more than one item{named}"),
        Check(ITEMS, loaded > 0, f"{loaded} items"),
    ]


def _every_record_is_accounted_for(batches: Sequence[BatchResult]) -> Check:
    fetched = sum(batch.fetched for batch in batches)
    shares = [
        sum(getattr(batch, share) for batch in batches)
        for share in ("loaded", "rejected", "trimmed", "filtered")
    ]
    return Check(ARITHMETIC, fetched == sum(shares), f"{fetched} = {' + '.join(map(str, shares))}")


def _rejects_within(limit: float, batches: Sequence[BatchResult]) -> Check:
    rejected = sum(batch.rejected for batch in batches)
    judged = rejected + sum(batch.loaded for batch in batches)
    ratio = rejected / judged if judged else 0.0
    return Check(REJECTS, ratio <= limit, f"{rejected} of {judged} ({ratio:.1%}), at most {limit:.1%}")

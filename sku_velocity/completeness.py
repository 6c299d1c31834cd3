"""The proof that a window was read whole, from the ledger and from a final check of the source.

The order of the records is fixed. A record is persistent if it is in the source, at its place in the order,
from the first page's read to the final check; a record that moves counts as deleted and inserted, as another
one, since the field that orders it is mapped. Proven is: every persistent record is published exactly once.
For all styles: every page was full, the last record is the last in the source, and all totals agree.

- One page: a single answer holds all records.
- `offset`, seams: each page also reads the last record of the page before it. If both reads agree, that
  record has the same rank in both, so every persistent record before it belongs to the pages before it, and
  every one after it to the pages after it.
- `page`, seam pages: once all pages have landed, one answer shows the last record X of a page next to the
  first record Y of the following one. So no persistent record is between them. All others are between the Y
  before a page and the X of that page, and the answer that the page is holds everything between its first and
  last.
- `page`, reread: all pages are read again, from the last to the first, and agree. This needs more: no record
  leaves and returns, or comes and leaves. Then all records of the pages before a page are in the source when
  it is read again, and fill all ranks before it, so no persistent record precedes it that they do not hold.
- `cursor` and `next_link`: as declared by `paging.stable`: a page continues behind the last record of the
  page before it, or all pages are of one snapshot.

Without record ids, records are compared by all their fields, and equal ones must follow one another in the
order. Then a seam or border must show two different records: only the place between them is fixed. If the
order is not fixed, ids reveal it as long as the records do not change: as many ids as records, none twice.

What no proof sees: a record replaced by another with the same place and id, a source that does not show all
of its records (an index with a cap, a replica that lags), and what is wrong in the source itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

from sku_velocity.model.chunk import ChunkProgress, ChunkState, ValueCounts, sum_values
from sku_velocity.model.run import REJECTS, Check, FinalCheck, Precedent, SyncRun, Verdict

LANDED = "every chunk landed"
PAGES = "pages hold what the total promises"
REQUIRE_PROOF = "require_proof"
PROOF = "the paging style allows a proof"
SEAMS = "pages join without gap or overlap"
ENDS = "the ends are unchanged"
TOTAL = "the total is unchanged"
IDS = "no record id twice"
NAMES = "no name shared by two items"
ITEMS = "the master contains items"
SCOPE = "something of what was asked for is in scope"
BOUNDS = "no record is outside the requested window"
SHRUNK = "the window has not shrunk"
SHOWN_NAMES = 5
SHOWN_TOTALS = 3
MAX_OVERLAP = 100  # of paging.overlap
LEAST_ROUND_TOTAL = 1_000
ARITHMETIC = "fetched = loaded + rejected + trimmed + filtered"
# How the places of dropped values begin, in `PageResult.dropped_values`.
FILTER, WAREHOUSE, TIME = "filter ", "fields.warehouse_id", "fields.timestamp_utc"
NEED_ALL = (PAGES, SEAMS, ENDS, TOTAL, IDS)
MISSING = "chunks are missing"
FIXED_BY_REREADING = frozenset({PAGES, SEAMS, ENDS, TOTAL, IDS, NAMES})


@dataclass(frozen=True)
class Limits:
    """What a window may lack and still be published.

    It is refused if the share of its rejects is over `max_reject_ratio` and they are more than `max_rejects`;
    the latter counts only if at least half of the validated records loaded. With `require_proof` it is also
    refused if the source allows no proof.
    """

    max_reject_ratio: float
    max_rejects: int = 10
    empty_is_normal: bool = False
    accept_shrunk: bool = False
    require_proof: bool = False


def prove(
    run: SyncRun,
    chunks: Sequence[ChunkProgress],
    final: FinalCheck | None,
    limits: Limits,
    precedent: Precedent | None = None,
) -> list[Check]:
    """Check the ledger of a window against what the source promised, and against what is published.

    `final` is None if a chunk is missing: then nothing is checked that needs all of them.
    """
    always = [
        _every_record_is_accounted_for(chunks),
        _rejects_within(limits, chunks),
        *_nothing_out_of_bounds(chunks),
    ]
    if final is None:
        return [_every_chunk_landed(chunks), *(Check(name, None, MISSING) for name in NEED_ALL), *always]
    precedent = precedent or Precedent()
    checks = [
        _every_chunk_landed(chunks),
        _pages_are_full(run.total, chunks),
        _style_allows_a_proof(final),
        _pages_join(chunks, final),
        _ends_unchanged(final),
        _total_unchanged(run.total, chunks, final),
        _no_id_twice(final),
        *_master_is_sound(final, chunks),
        *always,
        _something_in_scope(limits, precedent, chunks),
        _not_shrunk(limits, precedent, chunks),
    ]
    return [_refused(check) for check in checks] if limits.require_proof else checks


def _refused(check: Check) -> Check:
    """Return a check that failed if it is a gap in the proof."""
    return replace(check, passed=False, detail=f"{check.detail} ({REQUIRE_PROOF})") if check.is_gap else check


def verdict_of(checks: Sequence[Check], repairs: int = 0) -> Verdict:
    """Return COMPLETE if the window is proven, REPAIRED if after rereading it, UNPROVEN if it cannot be."""
    if any(check.passed is False for check in checks):
        return Verdict.INCOMPLETE
    if any(check.is_gap for check in checks):
        return Verdict.UNPROVEN
    return Verdict.REPAIRED if repairs else Verdict.COMPLETE


def needs_rereading(checks: Sequence[Check]) -> bool:
    """Return True if all chunks have landed and rereading the window may fix a failed check."""
    broken = {check.name for check in checks if check.passed is False and not check.is_gap}
    return LANDED not in broken and bool(broken & FIXED_BY_REREADING)


def warnings_of(total: int | None) -> list[str]:
    """Return what an operator should look at although no check can fail for it."""
    if total is None or total < LEAST_ROUND_TOTAL or len(str(total).rstrip("0")) > 1:
        return []
    return [
        f"the source reports exactly {total} records: if its index shows no more than that, records are "
        "missing and no check sees it: read shorter windows"
    ]


def suspects(chunks: Sequence[ChunkProgress]) -> set[int]:
    """Return where the proof failed: the first positions of chunks that are short or do not join."""
    short = {progress.chunk.offset for progress in chunks if progress.fetched != progress.chunk.size}
    unjoined = {progress.chunk.offset for progress in chunks if progress.broken_seams}
    for before, after in pairwise(chunks):
        if after.chunk.overlap and before.last_fingerprint != after.first_fingerprint:
            unjoined |= {before.chunk.offset, after.chunk.offset}
    return short | unjoined


def _every_chunk_landed(chunks: Sequence[ChunkProgress]) -> Check:
    landed = sum(progress.state is ChunkState.LANDED for progress in chunks)
    return Check(LANDED, landed == len(chunks), f"{landed} of {len(chunks)} chunks landed")


def _pages_are_full(total: int | None, chunks: Sequence[ChunkProgress]) -> Check:
    fetched = sum(progress.fetched for progress in chunks)
    if total is None:
        return Check(PAGES, None, f"{fetched} records fetched; the source promises no total")
    ends = [0, *(progress.chunk.end for progress in chunks)]
    contiguous = all(progress.chunk.offset == end for progress, end in zip(chunks, ends[:-1], strict=True))
    full = all(progress.fetched == progress.chunk.size for progress in chunks)
    return Check(PAGES, contiguous and full and ends[-1] == total, f"{fetched} of {total} records fetched")


def _style_allows_a_proof(final: FinalCheck) -> Check:
    if final.why_unproven:
        return Check(PROOF, None, final.why_unproven, is_gap=True)
    return Check(PROOF, True, final.proof)


def _pages_join(chunks: Sequence[ChunkProgress], final: FinalCheck) -> Check:
    if final.joins:
        joins = final.joins
        if joins.gap and not joins.broken:
            return Check(SEAMS, None, joins.gap, is_gap=True)
        return Check(SEAMS, not joins.broken, f"{joins.broken} of {joins.compared} differ when read again")
    seams = [(before, after) for before, after in pairwise(chunks) if after.chunk.overlap]
    inner = sum(_pages_of(progress) - 1 for progress in chunks if progress.chunk.overlap)
    if not seams and not inner:
        return Check(SEAMS, None, "the pages do not overlap")
    broken = sum(before.last_fingerprint != after.first_fingerprint for before, after in seams)
    broken += sum(progress.broken_seams for progress in chunks)
    ambiguous = min(sum(progress.ambiguous_seams for progress in chunks), len(seams) + inner)
    if ambiguous and not broken:
        longest = max(progress.equal_rows for progress in chunks)
        detail = f"equal records at {ambiguous} of {len(seams) + inner} seams: " + _longer_than(
            longest, chunks
        )
        return Check(SEAMS, None, detail, is_gap=True)
    return Check(SEAMS, not broken, f"{broken} of {len(seams) + inner} seams broken")


def _longer_than(equal_rows: int, chunks: Sequence[ChunkProgress]) -> str:
    chunk = chunks[0].chunk
    if equal_rows < min(MAX_OVERLAP, chunk.page_size + chunk.overlap - 1):
        return f"set paging.overlap to {equal_rows + 1} or more, or map fields.movement_id"
    return "map fields.movement_id, since no overlap is longer than their run"


def _pages_of(progress: ChunkProgress) -> int:
    return -(-progress.chunk.size // progress.chunk.page_size)


def _ends_unchanged(final: FinalCheck) -> Check:
    if final.ends_agree is None:
        return Check(ENDS, None, "the source does not allow reading them again")
    if final.ends_agree:
        return Check(ENDS, True, "as they were")
    return Check(ENDS, False, final.ends_detail or "they hold other records now")


def _total_unchanged(total: int | None, chunks: Sequence[ChunkProgress], final: FinalCheck) -> Check:
    if total is None or final.total is None:
        return Check(TOTAL, None, "the source promises no total")
    reported = {each for progress in chunks for each in progress.page_totals} - {str(total)}
    others = ", ".join(sorted(reported)[:SHOWN_TOTALS])
    detail = f"{total} before, {final.total} after" + (f"; some pages reported {others}" if others else "")
    return Check(TOTAL, final.total == total and not reported, detail)


def _no_id_twice(final: FinalCheck) -> Check:
    if final.repeated_ids is None:
        return Check(IDS, None, "no record id is mapped")
    if final.without_id and not final.repeated_ids:
        detail = f"{final.without_id} records have no id: check the path at fields.movement_id, or remove it"
        return Check(IDS, None, detail, is_gap=True)
    return Check(IDS, not final.repeated_ids, f"{final.repeated_ids} ids read more than once")


def _master_is_sound(final: FinalCheck, chunks: Sequence[ChunkProgress]) -> list[Check]:
    """Check a master: a contested name cannot be mapped without a guess, and an empty master knows no SKU."""
    if final.contested_names is None:
        return []
    contested = final.contested_names
    named = f": {', '.join(contested[:SHOWN_NAMES])}" if contested else ""
    loaded = sum(progress.loaded for progress in chunks)
    return [
        Check(NAMES, not contested, f"{len(contested)} names shared by several items{named}"),
        Check(ITEMS, loaded > 0, f"{loaded} items"),
    ]


def _every_record_is_accounted_for(chunks: Sequence[ChunkProgress]) -> Check:
    fetched = sum(progress.fetched for progress in chunks)
    parts = [
        sum(getattr(progress, part) for progress in chunks)
        for part in ("loaded", "rejected", "trimmed", "filtered")
    ]
    return Check(ARITHMETIC, fetched == sum(parts), f"{fetched} = {' + '.join(map(str, parts))}")


def _rejects_within(limits: Limits, chunks: Sequence[ChunkProgress]) -> Check:
    rejected, loaded = (sum(getattr(each, part) for each in chunks) for part in ("rejected", "loaded"))
    validated = rejected + loaded
    ratio = rejected / validated if validated else 0.0
    floor = limits.max_rejects if loaded >= rejected else 0
    detail = (
        f"{rejected} of {validated} ({ratio:.1%}), at most {limits.max_reject_ratio:.1%} or {floor} records"
    )
    return Check(REJECTS, ratio <= limits.max_reject_ratio or rejected <= floor, detail)


def _something_in_scope(limits: Limits, precedent: Precedent, chunks: Sequence[ChunkProgress]) -> Check:
    """Check a window of which every record was dropped: for values seen before, or by a wrong spec."""
    fetched = sum(progress.fetched for progress in chunks)
    kept = sum(progress.loaded + progress.rejected for progress in chunks)
    if kept or not fetched or limits.empty_is_normal:
        return Check(SCOPE, True, f"{kept} of {fetched} records")
    dropped = sum_values(progress.dropped_values for progress in chunks)
    if not dropped:
        return Check(SCOPE, True, f"none of {fetched} records: the others are near it, as the request allows")
    if not any(_is_new(place, value, precedent) for place, values in dropped.items() for value in values):
        return Check(SCOPE, True, f"none of {fetched} records, dropped as in earlier windows")
    return Check(SCOPE, False, f"none of {fetched} records; dropped for {_describe(dropped)}")


def _nothing_out_of_bounds(chunks: Sequence[ChunkProgress]) -> list[Check]:
    """Check a window with records that its request excludes: if times are misread, as many are missing.

    Two windows side by side both lose them: each gets those that the source counts to it.
    """
    dropped = sum_values(progress.dropped_values for progress in chunks)
    outside = {place: values for place, values in dropped.items() if place.startswith(TIME)}
    if not outside:
        return []
    detail = (
        f"the source returned records outside the requested window ({_describe(outside)}): if times or "
        "bounds are in another time zone, others are missing: check fields.timestamp_utc.assume_timezone, "
        "window.timezone and the field that the API filters by; if the API only returns more than requested, "
        "set window.pad_seconds to cover it, or remove window.params"
    )
    return [Check(BOUNDS, None, detail, is_gap=True)]


def _is_new(place: str, value: str, precedent: Precedent) -> bool:
    """Return True if no earlier window explains why a record with this value was dropped."""
    if place.startswith(FILTER):
        return value not in precedent.values.get(place, ())
    return not (place.startswith(WAREHOUSE) and precedent.has_rows)


def _describe(values: ValueCounts) -> str:
    shown = (
        f"{place} = "
        + ", ".join(f"{value!r} ({number})" for value, number in [*counts.items()][:SHOWN_NAMES])
        for place, counts in values.items()
    )
    return "; ".join(shown)


def _not_shrunk(limits: Limits, precedent: Precedent, chunks: Sequence[ChunkProgress]) -> Check:
    """Check that a window does not lose most of its published rows, unless two readings agree on it."""
    loaded = sum(progress.loaded for progress in chunks)
    has_shrunk = 2 * loaded < precedent.rows
    is_confirmed = limits.accept_shrunk or loaded in precedent.held
    detail = f"{loaded} rows, {precedent.rows} published"
    return Check(SHRUNK, not has_shrunk or is_confirmed, detail)

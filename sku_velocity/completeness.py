"""The proof that a window was read whole: checks over the ledger, and the verdict they come to."""

from collections.abc import Sequence

from sku_velocity.models import BatchResult, Check, ChunkState, Verdict


def prove(total: int, recounted: int | None, batches: Sequence[BatchResult]) -> list[Check]:
    """Hold the ledger of a window against what the source promised.

    `total` is the number of records at plan time, `recounted` the number after the last
    chunk; None where a chunk is missing, so that nothing was counted again.
    """
    return [
        _every_chunk_landed(batches),
        _pages_hold_what_the_total_promises(total, batches),
        _every_record_is_accounted_for(batches),
        _the_total_stood_still(total, recounted),
    ]


def verdict_of(checks: Sequence[Check]) -> Verdict:
    """Complete where every check held."""
    return Verdict.COMPLETE if all(check.held for check in checks) else Verdict.INCOMPLETE


def _every_chunk_landed(batches: Sequence[BatchResult]) -> Check:
    landed = sum(batch.state is ChunkState.LANDED for batch in batches)
    return Check("every chunk landed", landed == len(batches), f"{landed} of {len(batches)} chunks landed")


def _pages_hold_what_the_total_promises(total: int, batches: Sequence[BatchResult]) -> Check:
    fetched = sum(batch.fetched for batch in batches)
    ends = [0, *(batch.chunk.end for batch in batches)]
    seamless = all(batch.chunk.offset == end for batch, end in zip(batches, ends[:-1], strict=True))
    full = all(batch.fetched == batch.chunk.size for batch in batches)
    return Check(
        "pages hold what the total promises",
        seamless and full and ends[-1] == total,
        f"{fetched} of {total} records fetched",
    )


def _every_record_is_accounted_for(batches: Sequence[BatchResult]) -> Check:
    fetched = sum(batch.fetched for batch in batches)
    loaded = sum(batch.loaded for batch in batches)
    rejected = sum(batch.rejected for batch in batches)
    trimmed = sum(batch.trimmed for batch in batches)
    filtered = sum(batch.filtered for batch in batches)
    return Check(
        "fetched = loaded + rejected + trimmed + filtered",
        fetched == loaded + rejected + trimmed + filtered,
        f"{fetched} = {loaded} + {rejected} + {trimmed} + {filtered}",
    )


def _the_total_stood_still(total: int, recounted: int | None) -> Check:
    found = "not counted again" if recounted is None else f"{total} before, {recounted} after"
    return Check("the total stood still", recounted == total, found)

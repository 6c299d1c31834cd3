"""A window is whole when every check holds; each check can break alone."""

from dataclasses import replace

from sku_velocity.completeness import prove, verdict_of
from sku_velocity.models import BatchResult, Chunk, ChunkState, Verdict
from sku_velocity.source.paging import plan_chunks


def landed(chunk: Chunk) -> BatchResult:
    return BatchResult(
        chunk,
        ChunkState.LANDED,
        next_offset=chunk.end,
        fetched=chunk.size,
        loaded=chunk.size - 3,
        rejected=2,
        trimmed=1,
    )


WHOLE = [landed(chunk) for chunk in plan_chunks(2_500, 1000)]


def broken(total: int, recounted: int | None, batches: list[BatchResult]) -> list[str]:
    return [check.name for check in prove(total, recounted, batches) if not check.held]


def test_a_whole_window_is_complete() -> None:
    assert verdict_of(prove(2_500, 2_500, WHOLE)) is Verdict.COMPLETE


def test_an_empty_window_is_complete() -> None:
    assert verdict_of(prove(0, 0, [])) is Verdict.COMPLETE


def test_a_chunk_that_failed_breaks_it() -> None:
    failed = replace(WHOLE[1], state=ChunkState.FAILED, fetched=0, loaded=0, rejected=0, trimmed=0)
    checks = prove(2_500, None, [WHOLE[0], failed, WHOLE[2]])
    assert verdict_of(checks) is Verdict.INCOMPLETE
    assert checks[0].found == "2 of 3 chunks landed" and checks[3].found == "not counted again"


def test_a_gap_between_chunks_breaks_it() -> None:
    assert broken(2_500, 2_500, [WHOLE[0], WHOLE[2]]) == ["pages hold what the total promises"]


def test_a_short_chunk_breaks_it() -> None:
    short = replace(WHOLE[1], fetched=999, loaded=996)
    assert broken(2_500, 2_500, [WHOLE[0], short, WHOLE[2]]) == ["pages hold what the total promises"]


def test_a_record_unaccounted_for_breaks_it() -> None:
    leaky = replace(WHOLE[1], loaded=996)
    assert broken(2_500, 2_500, [WHOLE[0], leaky, WHOLE[2]]) == [
        "fetched = loaded + rejected + trimmed + filtered"
    ]


def test_a_total_that_moved_breaks_it() -> None:
    assert broken(2_500, 2_501, WHOLE) == ["the total stood still"]

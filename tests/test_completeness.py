"""A window is whole if no check fails; each check can fail on its own."""

from dataclasses import replace

import pytest

from sku_velocity.completeness import (
    ARITHMETIC,
    ENDS,
    IDS,
    LANDED,
    PAGES,
    SEAMS,
    TOTAL,
    Limits,
    needs_rereading,
    prove,
    suspects,
    verdict_of,
)
from sku_velocity.model.chunk import Chunk, ChunkProgress, ChunkState
from sku_velocity.model.run import REJECTS, Check, FinalCheck, SyncRun, Verdict
from sku_velocity.model.window import Window
from sku_velocity.source.paging import plan_chunks

RUN = SyncRun("r1", "acme", "WH-01", Window.everything(), total=2_500)
UNCHANGED = FinalCheck(total=2_500, ends_agree=True, repeated_ids=0)


def landed(chunk: Chunk) -> ChunkProgress:
    return ChunkProgress(
        chunk,
        ChunkState.LANDED,
        next_offset=chunk.end,
        fetched=chunk.size,
        loaded=chunk.size - 4,
        rejected=2,
        trimmed=1,
        filtered=1,
        first_fingerprint=f"seam {chunk.offset}",
        last_fingerprint=f"seam {chunk.end}",
    )


WHOLE = [landed(chunk) for chunk in plan_chunks(2_500, 1000, overlap=1)]


def changed(index: int, **changes: object) -> list[ChunkProgress]:
    return [*WHOLE[:index], replace(WHOLE[index], **changes), *WHOLE[index + 1 :]]  # type: ignore[arg-type]


def check(
    chunks: list[ChunkProgress], final: FinalCheck | None = UNCHANGED, total: int | None = 2_500
) -> list[Check]:
    return prove(replace(RUN, total=total), chunks, final, Limits(0.05))


def failed_checks(
    chunks: list[ChunkProgress], final: FinalCheck | None = UNCHANGED, total: int | None = 2_500
) -> list[str]:
    return [each.name for each in check(chunks, final, total) if each.passed is False]


def test_a_whole_window_is_complete() -> None:
    assert verdict_of(check(WHOLE)) is Verdict.COMPLETE
    assert verdict_of(check(WHOLE), repairs=1) is Verdict.REPAIRED


def test_an_empty_window_is_complete() -> None:
    assert verdict_of(check([], FinalCheck(0, True, 0), total=0)) is Verdict.COMPLETE


@pytest.mark.parametrize(
    ("chunks", "name"),
    [
        (changed(1, fetched=999, loaded=995), PAGES),
        (changed(1, first_fingerprint="another"), SEAMS),
        (changed(1, last_fingerprint=None), SEAMS),
        (changed(1, broken_seams=1), SEAMS),
        (changed(1, loaded=995), ARITHMETIC),
        (changed(1, loaded=796, rejected=202), REJECTS),
    ],
)
def test_a_chunk_can_fail_a_single_check(chunks: list[ChunkProgress], name: str) -> None:
    assert failed_checks(chunks) == [name]


@pytest.mark.parametrize(
    ("final", "name"),
    [
        (replace(UNCHANGED, total=2_501), TOTAL),
        (replace(UNCHANGED, ends_agree=False), ENDS),
        (replace(UNCHANGED, repeated_ids=1), IDS),
    ],
)
def test_the_final_check_can_fail_a_single_check(final: FinalCheck, name: str) -> None:
    assert failed_checks(WHOLE, final) == [name] and needs_rereading(check(WHOLE, final))


def test_a_gap_between_chunks_fails_the_total() -> None:
    assert PAGES in failed_checks([WHOLE[0], WHOLE[2]])


def test_a_chunk_that_failed_is_read_by_a_retry_and_not_by_rereading() -> None:
    failed = changed(1, state=ChunkState.FAILED, fetched=0, loaded=0, rejected=0, trimmed=0, filtered=0)
    assert LANDED in failed_checks(failed, None) and not needs_rereading(check(failed, None))
    assert check(failed, None)[0].detail == "2 of 3 chunks landed"


def test_too_many_rejects_are_not_fixed_by_rereading() -> None:
    assert not needs_rereading(check(changed(1, loaded=796, rejected=202)))


def test_a_check_that_the_source_does_not_allow_is_not_a_failure() -> None:
    cursor = [replace(progress, chunk=replace(progress.chunk, overlap=0)) for progress in WHOLE]
    checks = check(cursor, FinalCheck(), total=None)
    assert verdict_of(checks) is Verdict.COMPLETE
    assert [each.name for each in checks if each.passed is None] == [PAGES, SEAMS, ENDS, TOTAL, IDS]


def test_the_chunks_at_a_broken_seam_are_the_suspects() -> None:
    assert suspects(WHOLE) == set()
    assert suspects(changed(1, first_fingerprint="another")) == {0, 1000}
    assert suspects(changed(2, fetched=1)) == {2000}

"""Chunks tile a window; its end is found in few requests."""

import asyncio
from math import log2
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sku_velocity.model.chunk import MAX_TOTAL
from sku_velocity.source.paging import (
    KEPT_CURSORS,
    MAX_CHUNKS,
    PAGES_BEYOND,
    CursorTrail,
    EndlessPagingError,
    SeenPage,
    find_end,
    plan_chunks,
)


@given(st.integers(0, 10_000_000), st.integers(1, 5_000))
def test_chunks_tile_the_window(total: int, page_size: int) -> None:
    chunks = plan_chunks(total, page_size)
    assert [chunk.offset for chunk in chunks] == [0, *(chunk.end for chunk in chunks)][: len(chunks)]
    assert sum(chunk.size for chunk in chunks) == total
    assert len(chunks) <= MAX_CHUNKS and [chunk.index for chunk in chunks] == list(range(len(chunks)))
    assert all(chunk.size % page_size == 0 for chunk in chunks[:-1])


def test_each_page_rereads_the_end_of_the_previous_one() -> None:
    chunks = plan_chunks(2_500, 999, overlap=1)
    pages = [page for chunk in chunks for page in chunk.pages()]
    assert [(page.offset - page.before, page.before + page.size) for page in pages] == [
        (0, 999),
        (998, 1000),
        (1997, 503),
    ]


@pytest.mark.parametrize(
    ("pages", "chunks"),
    [(1, 1), (20, 20), (29, 29), (30, 15), (100, 25), (1_000, 72), (10_000, 200), (10_001, 197)],
)
def test_a_chunk_is_one_page_and_grows_slowly_with_the_window(pages: int, chunks: int) -> None:
    assert len(plan_chunks(pages * 1000, 1000)) == chunks


def test_the_number_of_pages_per_chunk_can_be_set() -> None:
    assert [chunk.size for chunk in plan_chunks(2_500, 1000)] == [1000, 1000, 500]
    assert [chunk.size for chunk in plan_chunks(2_500, 1000, pages_per_chunk=2)] == [2000, 500]
    assert len(plan_chunks(1_000_000, 1000, pages_per_chunk=1)) == 1000


def end_of(positions: list[int], size: int, clamp: int | None = None, **parts: Any) -> tuple[int, list[int]]:
    """Find the end of a source that has these positions. Return it and the offsets that were requested.

    Past `clamp`, it returns the page at `clamp`.
    """
    asked: list[int] = []

    async def look(offset: int) -> SeenPage:
        asked.append(offset)
        start = offset if clamp is None else min(offset, clamp)
        found = [position for position in positions if start <= position < start + size]
        return SeenPage(len(found), str(found) if found else None)

    async def search() -> int:
        first = await look(0)
        return await find_end(look, first, first.received, **parts)

    return asyncio.run(search()), asked


@pytest.mark.parametrize("total", [0, 1, 2, 999, 1000, 1001, 4096, 123_457])
@pytest.mark.parametrize("page_size", [1, 500, 1000])
def test_the_end_is_found_in_a_logarithmic_number_of_requests(total: int, page_size: int) -> None:
    end, asked = end_of(list(range(total)), page_size)
    assert end == total and len(asked) <= 2 * log2(total + 1) + 2 + len(PAGES_BEYOND)


def test_a_hidden_record_is_not_taken_for_the_end() -> None:
    assert end_of([position for position in range(100) if position != 10], 10)[0] == 100


def test_the_search_for_the_end_stops_if_the_position_is_ignored() -> None:
    with pytest.raises(EndlessPagingError, match="the same page at 0 and 10"):
        end_of(list(range(100)), 10, clamp=0, repeats_last=True)


def test_the_search_for_the_end_stops_if_the_position_is_clamped() -> None:
    with pytest.raises(EndlessPagingError, match="the same page at"):
        end_of(list(range(100)), 10, clamp=90)


def test_the_search_for_the_end_never_goes_beyond_the_largest_total() -> None:
    async def look(offset: int) -> SeenPage:
        assert offset <= MAX_TOTAL
        return SeenPage(10, str(offset))

    with pytest.raises(EndlessPagingError, match="still returns records"):
        asyncio.run(find_end(look, SeenPage(10, "0"), 10))


@given(st.integers(11, 5_000), st.integers(1, 10))
def test_a_page_that_repeats_the_last_one_is_the_end(total: int, size: int) -> None:
    last = (total - 1) // size * size
    assert end_of(list(range(total)), size, clamp=last, repeats_last=True)[0] == total


def test_a_page_whose_records_are_all_hidden_is_not_the_end() -> None:
    with pytest.raises(EndlessPagingError, match="no record at 10, but records at 20"):
        end_of([position for position in range(28) if not 10 <= position < 20], 10)


def test_a_cursor_that_leads_back_is_an_error() -> None:
    trail = CursorTrail()
    for cursor, following, offset in [(None, "A", 0), ("A", "B", 10)]:
        trail.add(cursor, offset)
        trail.check(cursor, following, offset, received=10)
    trail.add("B", 20)
    with pytest.raises(EndlessPagingError, match="requested before"):
        trail.check("B", "A", 20, received=10)


def test_a_page_may_be_read_again_after_a_failure() -> None:
    trail = CursorTrail()
    for cursor, following, offset in [(None, "A", 0), ("A", "B", 10), ("B", "C", 10), ("A", "B", 10)] * 2:
        trail.add(cursor, offset)
        trail.check(cursor, following, offset, received=10 if offset == 0 else 0)


def test_the_memory_of_cursors_is_bounded() -> None:
    trail = CursorTrail()
    for number in range(KEPT_CURSORS + 10):
        trail.add(str(number), number)
    assert len(trail._offsets) == KEPT_CURSORS

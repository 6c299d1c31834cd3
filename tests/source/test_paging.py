"""Chunks tile a window; its end is found in few questions."""

import asyncio
from math import log2

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sku_velocity.source.paging import MAX_CHUNKS, find_end, plan_chunks


@given(st.integers(0, 10_000_000), st.integers(1, 5_000))
def test_chunks_tile_the_window(total: int, page_size: int) -> None:
    chunks = plan_chunks(total, page_size)
    assert [chunk.offset for chunk in chunks] == [0, *(chunk.end for chunk in chunks)][: len(chunks)]
    assert sum(chunk.size for chunk in chunks) == total
    assert len(chunks) <= MAX_CHUNKS and [chunk.index for chunk in chunks] == list(range(len(chunks)))
    assert all(chunk.size % page_size == 0 for chunk in chunks[:-1])


def test_each_page_reads_the_end_of_the_one_before_it_again() -> None:
    chunks = plan_chunks(2_500, 999, overlap=1)
    pages = [page for chunk in chunks for page in chunk.pages()]
    assert [(page.offset - page.before, page.before + page.size) for page in pages] == [
        (0, 999),
        (998, 1000),
        (1997, 503),
    ]


def test_a_chunk_is_one_page_while_there_are_few() -> None:
    assert [chunk.size for chunk in plan_chunks(2_500, 1000)] == [1000, 1000, 500]
    assert plan_chunks(200_001, 1000)[0].size == 2000


@pytest.mark.parametrize("total", [0, 1, 2, 999, 1000, 1001, 4096, 123_457])
@pytest.mark.parametrize("page_size", [1, 500, 1000])
def test_the_end_is_found_in_a_logarithm_of_questions(total: int, page_size: int) -> None:
    asked: list[int] = []

    async def has_record(position: int) -> bool:
        asked.append(position)
        return position < total

    assert asyncio.run(find_end(has_record, known=min(total, page_size))) == total
    assert len(asked) <= 2 * log2(total + 1) + 2

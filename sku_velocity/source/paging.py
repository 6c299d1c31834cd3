"""How a window is cut into chunks, and how its end is found where the API gives no total."""

from collections.abc import Awaitable, Callable
from math import ceil

from sku_velocity.model.chunk import Chunk

# A chunk is a task run with an artifact: 30 ms of a Prefect server's CPU, as much as three pages cost here.
MAX_CHUNKS = 200


def plan_chunks(total: int, page_size: int, overlap: int = 0, max_chunks: int = MAX_CHUNKS) -> list[Chunk]:
    """Cut `total` positions into at most `max_chunks` chunks of whole pages; only the last may be shorter.

    Each page reads `overlap` records of the one before it again, beside the `page_size` of its own.
    """
    pages_per_chunk = max(1, ceil(total / (page_size * max_chunks)))
    size = pages_per_chunk * page_size
    return [
        Chunk(index, offset, min(size, total - offset), page_size, overlap)
        for index, offset in enumerate(range(0, total, size))
    ]


async def find_end(has_record: Callable[[int], Awaitable[bool]], known: int) -> int:
    """The number of records, by asking whether there is one at a position: O(log n) questions.

    Steps out from the `known` first ones in doubling strides until there is none, then halves the stretch
    in between.
    """
    last, beyond = known - 1, known
    while await has_record(beyond):
        last, beyond = beyond, 2 * beyond + 1
    while beyond - last > 1:
        middle = (last + beyond) // 2
        if await has_record(middle):
            last = middle
        else:
            beyond = middle
    return beyond

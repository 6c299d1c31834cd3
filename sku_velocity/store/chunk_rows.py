"""The SQL of the ledger's chunks that several repositories share, and how a page advances its chunk."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, NamedTuple

from sqlalchemy import Connection, Row, Select, bindparam, func, insert, select, update

from sku_velocity.errors import IncompleteWindowError, RequestCost, StoreConfigurationError
from sku_velocity.model.chunk import (
    MAX_VALUES,
    Chunk,
    ChunkProgress,
    ChunkState,
    PageEdges,
    PageResult,
    sum_extra_fields,
    sum_values,
)
from sku_velocity.store.run_rows import MISSING, check_plan
from sku_velocity.store.tables import UtcDateTime, chunks, escaped, sync_runs

COPIED = (
    "state",
    "next_offset",
    "first_fingerprint",
    "last_fingerprint",
    "broken_seams",
    "ambiguous_seams",
    "equal_rows",
    "error",
)
COUNTS = ("extra_fields", "unknown_skus", "dropped_values", "page_totals")
SUMS = (
    "attempts",
    "fetched",
    "loaded",
    "rejected",
    "trimmed",
    "filtered",
    "requests",
    "retried",
    "throttled",
    "seconds",
)

# The statements of every page are built once: building one costs more than running it.
CHUNK = (
    select(chunks, sync_runs.c.mapping_digest, sync_runs.c.repairs)
    .join(sync_runs)
    .where(sync_runs.c.run_id == bindparam("run"), chunks.c.chunk_index == bindparam("index"))
)
_CHUNK_LOCKED = CHUNK.with_for_update(of=chunks)
_WRITE_CHUNK = (
    update(chunks)
    .where(chunks.c.run_key == bindparam("run"), chunks.c.chunk_index == bindparam("index"))
    .values(
        {name: bindparam(name) for name in (*COPIED, *SUMS, *COUNTS, "page_edges", "size", "cursor_token")}
        # With its type, because coalesce would assume a plain DateTime.
        | {"landed_at": func.coalesce(chunks.c.landed_at, bindparam("now", type_=UtcDateTime()))}
    )
)


class LockedChunk(NamedTuple):
    """A chunk's row, locked until the transaction ends, with the key of its run."""

    run_key: int
    progress: ChunkProgress


def append_chunks(connection: Connection, key: int, plan: Sequence[Chunk], cursor: str | None = None) -> None:
    """Insert chunks that have not been started; `cursor` is where the first of them begins."""
    if plan:
        connection.execute(insert(chunks), [_chunk_values(key, chunk, cursor) for chunk in plan])


def lock_chunk(
    connection: Connection,
    run_id: str,
    index: int,
    mapping_digest: str | None = None,
    repairs: int | None = None,
) -> LockedChunk:
    """Lock a chunk until the transaction ends. Return it.

    Raises StoreConfigurationError if the store has no such chunk, and IncompleteWindowError if the run is no
    longer read by the spec with this digest, or by the plan after this number of repairs.
    """
    row = find_chunk(connection, _CHUNK_LOCKED, run_id, index)
    if mapping_digest is not None and row.mapping_digest != mapping_digest:
        raise IncompleteWindowError(
            f"run {run_id}: the store holds rows of it by another spec now: let the other process end, "
            "then retry the run, which reads its window again if necessary"
        )
    check_plan(run_id, row.repairs, repairs)
    return LockedChunk(row.run_key, to_progress(row))


def find_chunk(connection: Connection, statement: Select[Any], run_id: str, index: int) -> Row[Any]:
    """Return a chunk's row. Raises StoreConfigurationError if the store has no such chunk."""
    values = {"run": run_id, "index": index}
    row: Row[Any] | None = connection.execute(statement, values).one_or_none()
    if row is None:  # it may have waited until another plan replaced the chunk: the next statement finds that
        row = connection.execute(statement, values).one_or_none()
    if row is None:
        raise StoreConfigurationError(f"this store has no chunk {index} of run {run_id}: {MISSING}")
    return row


def write_chunk(connection: Connection, key: int, progress: ChunkProgress) -> None:
    """Update a chunk's row."""
    values = {name: getattr(progress, name) for name in COPIED + SUMS}
    values["size"] = progress.chunk.size  # it shrinks if the last page of a cursor comes early
    values["cursor_token"] = progress.cursor
    values["page_edges"] = json.dumps(progress.page_edges)
    values |= {name: json.dumps(dict(getattr(progress, name))) for name in COUNTS}
    landed_at = datetime.now(UTC) if progress.state is ChunkState.LANDED else None
    where = {"run": key, "index": progress.chunk.index, "now": landed_at}
    connection.execute(_WRITE_CHUNK, values | where)


def is_next(progress: ChunkProgress, result: PageResult) -> bool:
    """Return True if a page is the next of its chunk and fits in it; a cursor's page may be longer.

    By cursor the offset is not enough: an empty page does not advance it. A landed chunk has no next page.
    """
    if result.page.offset != progress.next_offset or progress.state is ChunkState.LANDED:
        return False
    if result.is_last is None:
        return result.page.end <= progress.chunk.end
    return escaped(result.cursor) == escaped(progress.cursor)  # as it may come from the store


def after_page(progress: ChunkProgress, result: PageResult) -> ChunkProgress:
    """Return a chunk after its next page: with the page's counts added, and landed if it was the last."""
    landed = result.is_last or result.page.end >= progress.chunk.end
    counts = {
        **vars(result),
        "loaded": result.loaded,
        "rejected": len(result.dead_letters),
        "attempts": int(landed),
    }
    # By cursor the first page may be empty, and the second one then has the same offset.
    is_first = progress.next_offset == progress.chunk.offset and not progress.page_edges
    joins = is_first or not result.page.before or result.first_fingerprint == progress.last_fingerprint
    return replace(
        progress,
        chunk=_as_read(progress.chunk, result) if landed else progress.chunk,
        state=ChunkState.LANDED if landed else ChunkState.PLANNED,
        next_offset=result.page.end,
        first_fingerprint=result.first_fingerprint if is_first else progress.first_fingerprint,
        last_fingerprint=result.last_fingerprint,
        broken_seams=progress.broken_seams + (not joins),
        ambiguous_seams=progress.ambiguous_seams + bool(result.equal_rows),
        equal_rows=max(progress.equal_rows, result.equal_rows),
        page_edges=(*progress.page_edges, *([result.edges] if result.edges else [])),
        page_totals=_count_total(progress.page_totals, result.total),
        cursor=result.next_cursor,
        extra_fields=sum_extra_fields((progress.extra_fields, result.extra_fields)),
        error=None,
        unknown_skus=dict(Counter(progress.unknown_skus) + Counter(result.unknown_skus)),
        dropped_values=sum_values((progress.dropped_values, result.dropped_values)),
        **{name: getattr(progress, name) + counts[name] for name in SUMS},
    )


def _count_total(counts: Mapping[str, int], total: int | None) -> Mapping[str, int]:
    """Count a page by the total that it reports; of many totals, the first ones."""
    if total is None or (str(total) not in counts and len(counts) >= MAX_VALUES):
        return counts
    return {**counts, str(total): counts.get(str(total), 0) + 1}


def chunk_after(progress: ChunkProgress, result: PageResult, size: int) -> Chunk | None:
    """Return the chunk of `size` records after a landed one if pages come by cursor and there are more."""
    if result.is_last is not False or progress.state is not ChunkState.LANDED:
        return None
    return progress.chunk.followed_by(size)


def _as_read(chunk: Chunk, result: PageResult) -> Chunk:
    """Return a landed chunk: if pages come by cursor, its size is the number of records read."""
    return chunk if result.is_last is None else replace(chunk, size=result.page.end - chunk.offset)


def after_failure(progress: ChunkProgress, error: str, cost: RequestCost) -> ChunkProgress:
    """Return a chunk as failed, unless it has landed: a landed chunk stays landed."""
    if progress.state is ChunkState.LANDED:
        return progress
    return replace(
        progress,
        state=ChunkState.FAILED,
        attempts=progress.attempts + 1,
        requests=progress.requests + cost.requests,
        retried=progress.retried + cost.retried,
        throttled=progress.throttled + cost.throttled,
        seconds=progress.seconds + cost.seconds,
        error=error,
    )


def _chunk_values(key: int, chunk: Chunk, cursor: str | None = None) -> dict[str, Any]:
    return {
        "run_key": key,
        "chunk_index": chunk.index,
        "start_offset": chunk.offset,
        "size": chunk.size,
        "page_size": chunk.page_size,
        "overlap": chunk.overlap,
        "next_offset": chunk.offset,
        "state": ChunkState.PLANNED,
        "cursor_token": cursor,
    }


def to_progress(row: Row[Any]) -> ChunkProgress:
    """Convert a chunk's row to its progress."""
    return ChunkProgress(
        chunk=Chunk(row.chunk_index, row.start_offset, row.size, row.page_size, row.overlap),
        cursor=row.cursor_token,
        page_edges=tuple(PageEdges(*edges) for edges in json.loads(row.page_edges)),
        **{name: json.loads(getattr(row, name)) for name in COUNTS},
        **{name: getattr(row, name) for name in COPIED[1:] + SUMS},
        state=ChunkState(row.state),
    )

"""The ledger: the plan of each sync run, and the state of each of its chunks."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Row, ScalarSelect, Select, bindparam, delete, func, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from sku_velocity.errors import IncompleteWindowError, StoreConfigurationError
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
from sku_velocity.model.run import MasterVersion, RunState, SyncRun
from sku_velocity.model.window import Window
from sku_velocity.store.database import lock
from sku_velocity.store.tables import (
    UtcDateTime,
    chunks,
    dead_letters,
    escaped,
    item_aliases,
    items,
    movements,
    sync_runs,
    unloaded_ids,
)
from sku_velocity.text import is_unicode

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

_MISSING = "use the store in which the run was planned, or start a new run if this one was pruned"

# The statements of every page are built once: building one costs more than running it.
_CHUNK = (
    select(chunks, sync_runs.c.mapping_digest, sync_runs.c.repairs)
    .join(sync_runs)
    .where(sync_runs.c.flow_run_id == bindparam("run"), chunks.c.chunk_index == bindparam("index"))
)
_CHUNK_LOCKED = _CHUNK.with_for_update(of=chunks)
_WRITE_CHUNK = (
    update(chunks)
    .where(chunks.c.run_key == bindparam("run"), chunks.c.chunk_index == bindparam("index"))
    .values(
        {name: bindparam(name) for name in (*COPIED, *SUMS, *COUNTS, "page_edges", "size", "cursor_token")}
        # With its type, because coalesce would assume a plain DateTime.
        | {"landed_at": func.coalesce(chunks.c.landed_at, bindparam("now", type_=UtcDateTime()))}
    )
)


@dataclass(frozen=True)
class RunRow:
    """A sync run with the key of its rows in the store."""

    key: int
    run: SyncRun


async def write_plan(connection: AsyncConnection, run: SyncRun, plan: Sequence[Chunk]) -> None:
    """Insert a run and its chunks, all or none. Does nothing if the store has the run already.

    Raises StoreConfigurationError if its id, source or warehouse is text that not every database can hold.
    """
    for text in (run.id, run.source, run.warehouse):
        if "\x00" in text or not is_unicode(text):
            raise StoreConfigurationError(
                f"no store can hold {text!r}: it is not valid Unicode, or contains NUL: correct it"
            )
    await lock(connection, "run", run.id)
    if await find_run(connection, run.id):
        return
    number = _next_plan_number(run)
    await connection.execute(insert(sync_runs).values(**_run_values(run), plan_number=number))
    await append_chunks(connection, (await get_run(connection, run.id)).key, plan)


async def append_chunks(
    connection: AsyncConnection, key: int, plan: Sequence[Chunk], cursor: str | None = None
) -> None:
    """Insert chunks that have not been started; `cursor` is where the first of them begins."""
    if plan:
        await connection.execute(insert(chunks), [_chunk_values(key, chunk, cursor) for chunk in plan])


async def replace_plan(
    connection: AsyncConnection, row: RunRow, total: int | None, plan: Sequence[Chunk], digest: str | None
) -> None:
    """Delete what was read of a run's window, and insert a new plan for reading it again."""
    # The chunks first: that waits for a page that is landing now, whose rows are then deleted, too.
    for table in (chunks, movements, unloaded_ids, items, item_aliases, dead_letters):
        await connection.execute(delete(table).where(table.c.run_key == row.key))
    await append_chunks(connection, row.key, plan)
    await connection.execute(
        update(sync_runs)
        .where(sync_runs.c.run_key == row.key)
        .values(
            total=total,
            state=RunState.RUNNING,
            repairs=sync_runs.c.repairs + 1,
            plan_number=_next_plan_number(row.run),
            mapping_digest=digest,
        )
    )


def _next_plan_number(run: SyncRun) -> ScalarSelect[int]:
    """Return the next plan number of a source and warehouse: by the store, whose clock all runs share."""
    others = sync_runs.alias()
    return (
        select(func.coalesce(func.max(others.c.plan_number), 0) + 1)
        .where(others.c.source == run.source, others.c.warehouse_id == run.warehouse)
        .scalar_subquery()
    )


async def find_run(connection: AsyncConnection, flow_run_id: str) -> RunRow | None:
    """Return the run of this id, or None."""
    rows = await connection.execute(select(sync_runs).where(sync_runs.c.flow_run_id == flow_run_id))
    row = rows.one_or_none()
    return to_run(row) if row else None


async def get_run(connection: AsyncConnection, flow_run_id: str) -> RunRow:
    """Return the run of this id. Raises StoreConfigurationError if the store has none."""
    if row := await find_run(connection, flow_run_id):
        return row
    raise StoreConfigurationError(f"this store has no run {flow_run_id}: {_MISSING}")


async def close_run(
    connection: AsyncConnection,
    key: int,
    state: RunState,
    verdict: str,
    report: str,
    held_rows: int | None = None,
) -> None:
    """Store the result of a run. The ids of what it did not load are deleted once it is published."""
    await connection.execute(
        update(sync_runs)
        .where(sync_runs.c.run_key == key)
        .values(
            state=state,
            verdict=verdict,
            report=report,
            finished_at=datetime.now(UTC),
            held_rows=held_rows,
        )
    )
    if state is RunState.PUBLISHED:
        await connection.execute(delete(unloaded_ids).where(unloaded_ids.c.run_key == key))


async def read_chunks(connection: AsyncConnection, flow_run_id: str) -> list[ChunkProgress]:
    """Return all chunks of a run, by index."""
    rows = await connection.execute(
        select(chunks)
        .join(sync_runs)
        .where(sync_runs.c.flow_run_id == flow_run_id)
        .order_by(chunks.c.chunk_index)
    )
    return [_to_chunk_progress(row) for row in rows]


async def read_chunk_progress(connection: AsyncConnection, flow_run_id: str, index: int) -> ChunkProgress:
    """Return a chunk's row. Raises StoreConfigurationError if the store has no such chunk."""
    return _to_chunk_progress(await _find_chunk(connection, _CHUNK, flow_run_id, index))


async def lock_chunk(
    connection: AsyncConnection,
    flow_run_id: str,
    index: int,
    mapping_digest: str | None = None,
    repairs: int | None = None,
) -> tuple[int, ChunkProgress]:
    """Lock a chunk until the transaction ends. Return the run's key and the chunk's row.

    Raises StoreConfigurationError if the store has no such chunk, and IncompleteWindowError if the run is no
    longer read by the spec with this digest, or by the plan after this number of repairs.
    """
    row = await _find_chunk(connection, _CHUNK_LOCKED, flow_run_id, index)
    if mapping_digest is not None and row.mapping_digest != mapping_digest:
        raise IncompleteWindowError(
            f"run {flow_run_id}: the store holds rows of it by another spec now: let the other process end, "
            "then retry the run, which reads its window again if necessary"
        )
    check_plan(flow_run_id, row.repairs, repairs)
    return row.run_key, _to_chunk_progress(row)


def check_plan(flow_run_id: str, stored: int, repairs: int | None) -> None:
    """Check that a run is still read by the plan after this number of repairs.

    Raises IncompleteWindowError if another process has planned it again: what this one has read is too old.
    """
    if repairs is not None and repairs != stored:
        raise IncompleteWindowError(
            f"run {flow_run_id}: another process has planned its window again meanwhile: let that process "
            "end; if the window is then not published, retry the run"
        )


async def _find_chunk(
    connection: AsyncConnection, statement: Select[Any], flow_run_id: str, index: int
) -> Row[Any]:
    values = {"run": flow_run_id, "index": index}
    row: Row[Any] | None = (await connection.execute(statement, values)).one_or_none()
    if row is None:  # it may have waited until another plan replaced the chunk: the next statement finds that
        row = (await connection.execute(statement, values)).one_or_none()
    if row is None:
        raise StoreConfigurationError(f"this store has no chunk {index} of run {flow_run_id}: {_MISSING}")
    return row


async def write_chunk(connection: AsyncConnection, key: int, progress: ChunkProgress) -> None:
    """Update a chunk's row."""
    values = {name: getattr(progress, name) for name in COPIED + SUMS}
    values["size"] = progress.chunk.size  # it shrinks if the last page of a cursor comes early
    values["cursor_token"] = progress.cursor
    values["page_edges"] = json.dumps(progress.page_edges)
    values |= {name: json.dumps(dict(getattr(progress, name))) for name in COUNTS}
    landed_at = datetime.now(UTC) if progress.state is ChunkState.LANDED else None
    where = {"run": key, "index": progress.chunk.index, "now": landed_at}
    await connection.execute(_WRITE_CHUNK, values | where)


async def count_unlanded(connection: AsyncConnection, key: int) -> int:
    """Count the chunks of a run that have not landed."""
    unlanded = select(func.count()).where(chunks.c.run_key == key, chunks.c.state != ChunkState.LANDED)
    return (await connection.execute(unlanded)).scalar_one()


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


def after_failure(progress: ChunkProgress, error: str) -> ChunkProgress:
    """Return a chunk as failed, unless it has landed: a landed chunk stays landed."""
    if progress.state is ChunkState.LANDED:
        return progress
    return replace(progress, state=ChunkState.FAILED, attempts=progress.attempts + 1, error=error)


def _run_values(run: SyncRun) -> dict[str, Any]:
    return {
        "flow_run_id": run.id,
        "source": run.source,
        "warehouse_id": run.warehouse,
        "window_start": run.window.start,
        "window_end": run.window.end,
        "total": run.total,
        "master": run.master.model_dump_json() if run.master else None,
        "mapping_digest": run.mapping_digest,
        "state": RunState.RUNNING,
        "created_at": datetime.now(UTC),
    }


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


def to_run(row: Row[Any]) -> RunRow:
    """Convert a row to a run."""
    run = SyncRun(
        row.flow_run_id,
        row.source,
        row.warehouse_id,
        Window(row.window_start, row.window_end),
        row.total,
        RunState(row.state),
        row.repairs,
        MasterVersion.model_validate_json(row.master) if row.master else None,
        row.plan_number,
        row.mapping_digest,
        row.held_rows,
    )
    return RunRow(row.run_key, run)


def _to_chunk_progress(row: Row[Any]) -> ChunkProgress:
    return ChunkProgress(
        chunk=Chunk(row.chunk_index, row.start_offset, row.size, row.page_size, row.overlap),
        cursor=row.cursor_token,
        page_edges=tuple(PageEdges(*edges) for edges in json.loads(row.page_edges)),
        **{name: json.loads(getattr(row, name)) for name in COUNTS},
        **{name: getattr(row, name) for name in COPIED[1:] + SUMS},
        state=ChunkState(row.state),
    )

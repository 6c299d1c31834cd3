"""The ledger: what each sync run promised, and where each of its chunks stands."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Row, Select, bindparam, delete, func, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from sku_velocity.errors import StoreConfigurationError
from sku_velocity.model.chunk import Chunk, ChunkProgress, ChunkState, PageResult, sum_extra_fields
from sku_velocity.model.run import MasterVersion, RunState, SyncRun
from sku_velocity.model.window import Window
from sku_velocity.store.database import lock
from sku_velocity.store.tables import (
    UtcDateTime,
    chunks,
    dead_letters,
    item_aliases,
    items,
    movements,
    sync_runs,
)
from sku_velocity.text import is_unicode

KEPT = ("state", "next_offset", "first_fingerprint", "last_fingerprint", "broken_seams", "error")
DRIFT = ("extra_fields", "unknown_skus")
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

# The statements that every page takes stand ready: to put one together costs more than to run it.
_CHUNK = (
    select(chunks)
    .join(sync_runs)
    .where(sync_runs.c.flow_run_id == bindparam("run"), chunks.c.chunk_index == bindparam("index"))
)
_CHUNK_LOCKED = _CHUNK.with_for_update(of=chunks)
_WRITE_CHUNK = (
    update(chunks)
    .where(chunks.c.run_key == bindparam("run"), chunks.c.chunk_index == bindparam("index"))
    .values(
        {name: bindparam(name) for name in (*KEPT, *SUMS, *DRIFT, "size", "cursor_token")}
        # Its type is told, for coalesce would take it for a plain DateTime.
        | {"landed_at": func.coalesce(chunks.c.landed_at, bindparam("now", type_=UtcDateTime()))}
    )
)


@dataclass(frozen=True)
class RunRow:
    """A sync run with the key that its rows bear in the store."""

    key: int
    run: SyncRun


async def write_plan(connection: AsyncConnection, run: SyncRun, plan: Sequence[Chunk]) -> None:
    """Enter a run and its chunks, all or none. Nothing changes where the run stands there already.

    Raises StoreConfigurationError where its id, source or warehouse is no text that every database holds.
    """
    for text in (run.id, run.source, run.warehouse):
        if "\x00" in text or not is_unicode(text):
            raise StoreConfigurationError(f"no store can hold {text!r}: it is no Unicode, or holds a NUL")
    await lock(connection, "run", run.id)
    if await find_run(connection, run.id):
        return
    await connection.execute(insert(sync_runs).values(**_run_values(run)))
    await append_chunks(connection, (await get_run(connection, run.id)).key, plan)


async def append_chunks(
    connection: AsyncConnection, key: int, plan: Sequence[Chunk], cursor: str | None = None
) -> None:
    """Enter chunks that nobody has set about yet; `cursor` is where the first of them begins."""
    if plan:
        await connection.execute(insert(chunks), [_chunk_values(key, chunk, cursor) for chunk in plan])


async def replace_plan(
    connection: AsyncConnection, key: int, total: int | None, plan: Sequence[Chunk]
) -> None:
    """Enter that a window is read again, by this plan; what was read of it before is gone."""
    for table in (movements, items, item_aliases, dead_letters, chunks):
        await connection.execute(delete(table).where(table.c.run_key == key))
    await append_chunks(connection, key, plan)
    await connection.execute(
        update(sync_runs)
        .where(sync_runs.c.run_key == key)
        .values(total=total, state=RunState.RUNNING, repairs=sync_runs.c.repairs + 1)
    )


async def find_run(connection: AsyncConnection, flow_run_id: str) -> RunRow | None:
    """The run of this id, if the store knows it."""
    rows = await connection.execute(select(sync_runs).where(sync_runs.c.flow_run_id == flow_run_id))
    row = rows.one_or_none()
    return to_run(row) if row else None


async def get_run(connection: AsyncConnection, flow_run_id: str) -> RunRow:
    """The run of this id. Raises StoreConfigurationError where the store does not know it."""
    if row := await find_run(connection, flow_run_id):
        return row
    raise StoreConfigurationError(f"this store knows no run {flow_run_id}: is it the one it was planned in?")


async def close_run(
    connection: AsyncConnection, key: int, state: RunState, verdict: str, report: str
) -> None:
    """Enter how a run ended."""
    await connection.execute(
        update(sync_runs)
        .where(sync_runs.c.run_key == key)
        .values(state=state, verdict=verdict, report=report, finished_at=datetime.now(UTC))
    )


async def read_chunks(connection: AsyncConnection, flow_run_id: str) -> list[ChunkProgress]:
    """All chunks of a run, by index."""
    rows = await connection.execute(
        select(chunks)
        .join(sync_runs)
        .where(sync_runs.c.flow_run_id == flow_run_id)
        .order_by(chunks.c.chunk_index)
    )
    return [_to_chunk_progress(row) for row in rows]


async def read_chunk_progress(connection: AsyncConnection, flow_run_id: str, index: int) -> ChunkProgress:
    """A chunk's row. Raises StoreConfigurationError where the store knows no such chunk."""
    return _to_chunk_progress(await _find_chunk(connection, _CHUNK, flow_run_id, index))


async def lock_chunk(connection: AsyncConnection, flow_run_id: str, index: int) -> tuple[int, ChunkProgress]:
    """The run's key and the chunk's row, which nobody else changes until the transaction ends.

    Raises StoreConfigurationError where the store knows no such chunk.
    """
    row = await _find_chunk(connection, _CHUNK_LOCKED, flow_run_id, index)
    return row.run_key, _to_chunk_progress(row)


async def _find_chunk(
    connection: AsyncConnection, statement: Select[Any], flow_run_id: str, index: int
) -> Row[Any]:
    row = (await connection.execute(statement, {"run": flow_run_id, "index": index})).one_or_none()
    if row is None:
        raise StoreConfigurationError(f"this store knows no chunk {index} of run {flow_run_id}")
    return row


async def write_chunk(connection: AsyncConnection, key: int, progress: ChunkProgress) -> None:
    """Enter what became of a chunk."""
    values = {name: getattr(progress, name) for name in KEPT + SUMS}
    values["size"] = progress.chunk.size  # it shrinks where the last page of a cursor comes early
    values["cursor_token"] = progress.cursor
    values |= {name: json.dumps(dict(getattr(progress, name))) for name in DRIFT}
    landed_at = datetime.now(UTC) if progress.state is ChunkState.LANDED else None
    place = {"run": key, "index": progress.chunk.index, "now": landed_at}
    await connection.execute(_WRITE_CHUNK, values | place)


async def count_unlanded(connection: AsyncConnection, key: int) -> int:
    """How many chunks of a run have not landed."""
    unlanded = select(func.count()).where(chunks.c.run_key == key, chunks.c.state != ChunkState.LANDED)
    return (await connection.execute(unlanded)).scalar_one()


def is_next(progress: ChunkProgress, result: PageResult) -> bool:
    """Whether a page is the one that its chunk waits for, and lies in it; a cursor's page may be longer."""
    lies_in_it = result.is_last is not None or result.page.end <= progress.chunk.end
    return result.page.offset == progress.next_offset and lies_in_it


def after_page(progress: ChunkProgress, result: PageResult) -> ChunkProgress:
    """A chunk whose next page has come: its counts grow, and it has landed when that page was its last."""
    landed = result.is_last or result.page.end >= progress.chunk.end
    counts = {
        **vars(result),
        "loaded": result.loaded,
        "rejected": len(result.dead_letters),
        "attempts": int(landed),
    }
    is_first = progress.next_offset == progress.chunk.offset
    joins = is_first or not result.page.before or result.first_fingerprint == progress.last_fingerprint
    return replace(
        progress,
        chunk=_as_read(progress.chunk, result) if landed else progress.chunk,
        state=ChunkState.LANDED if landed else ChunkState.PLANNED,
        next_offset=result.page.end,
        first_fingerprint=result.first_fingerprint if is_first else progress.first_fingerprint,
        last_fingerprint=result.last_fingerprint,
        broken_seams=progress.broken_seams + (not joins),
        cursor=result.next_cursor,
        extra_fields=sum_extra_fields((progress.extra_fields, result.extra_fields)),
        error=None,
        unknown_skus=dict(Counter(progress.unknown_skus) + Counter(result.unknown_skus)),
        **{name: getattr(progress, name) + counts[name] for name in SUMS},
    )


def chunk_after(progress: ChunkProgress, result: PageResult, size: int) -> Chunk | None:
    """The chunk of `size` records after a landed one, where pages come by cursor and there are more."""
    if result.is_last is not False or progress.state is not ChunkState.LANDED:
        return None
    return progress.chunk.followed_by(size)


def _as_read(chunk: Chunk, result: PageResult) -> Chunk:
    """A chunk that has landed: where pages come by cursor, it holds as many records as came."""
    return chunk if result.is_last is None else replace(chunk, size=result.page.end - chunk.offset)


def after_failure(progress: ChunkProgress, error: str) -> ChunkProgress:
    """A chunk that failed, unless it has landed: what has landed stays so."""
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
    """A row as a run."""
    run = SyncRun(
        row.flow_run_id,
        row.source,
        row.warehouse_id,
        Window(row.window_start, row.window_end),
        row.total,
        RunState(row.state),
        row.repairs,
        MasterVersion.model_validate_json(row.master) if row.master else None,
    )
    return RunRow(row.run_key, run)


def _to_chunk_progress(row: Row[Any]) -> ChunkProgress:
    return ChunkProgress(
        chunk=Chunk(row.chunk_index, row.start_offset, row.size, row.page_size, row.overlap),
        cursor=row.cursor_token,
        **{name: json.loads(getattr(row, name)) for name in DRIFT},
        **{name: getattr(row, name) for name in KEPT[1:] + SUMS},
        state=ChunkState(row.state),
    )

"""The SQL of sync runs that several repositories share: find one, lock its warehouse, close it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import ColumnElement, Row, and_, bindparam, delete, select, text, update
from sqlalchemy.ext.asyncio import AsyncConnection

from sku_velocity.errors import IncompleteWindowError, StoreConfigurationError
from sku_velocity.model.run import MasterVersion, Origin, RunState, SyncRun
from sku_velocity.model.window import Window
from sku_velocity.model.window_grid import WindowGrid
from sku_velocity.store.tables import ForeignText, published_ranges, sync_runs, unloaded_ids

MISSING = "use the store in which the run was planned, or start a new run if this one was pruned"

# One statement, so that nothing is read before the lock is taken. In a transaction whose snapshot is older
# than another's lock it fails: such a transaction would not see what the other one published.
_LOCK = text(
    "INSERT INTO publishing_locks (source, warehouse_id, times_taken) "
    "SELECT source, warehouse_id, 1 FROM sync_runs WHERE run_id = :run "
    "ON CONFLICT (source, warehouse_id) DO UPDATE SET times_taken = publishing_locks.times_taken + 1"
).bindparams(bindparam("run", type_=ForeignText))


@dataclass(frozen=True)
class RunRow:
    """A sync run with the key of its rows in the store."""

    key: int
    run: SyncRun


async def find_run(connection: AsyncConnection, run_id: str) -> RunRow | None:
    """Return the run of this id, or None."""
    rows = await connection.execute(select(sync_runs).where(sync_runs.c.run_id == run_id))
    row = rows.one_or_none()
    return to_run(row) if row else None


async def get_run(connection: AsyncConnection, run_id: str) -> RunRow:
    """Return the run of this id. Raises StoreConfigurationError if the store has none."""
    if row := await find_run(connection, run_id):
        return row
    raise StoreConfigurationError(f"this store has no run {run_id}: {MISSING}")


async def lock_run(connection: AsyncConnection, run_id: str) -> RunRow:
    """Lock publishing for a run's source and warehouse until the transaction ends. Return the run."""
    await lock_warehouse(connection, run_id)
    return await get_run(connection, run_id)


async def lock_warehouse(connection: AsyncConnection, run_id: str) -> None:
    """Lock publishing for a run's source and warehouse until the transaction ends, if the run exists."""
    await connection.execute(_LOCK, {"run": run_id})


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


async def check_not_archived(
    connection: AsyncConnection, source: str, warehouse: str, window: Window
) -> None:
    """Check that no part of a window is archived: what is archived is final.

    Raises IncompleteWindowError, which names the first such part and where its movements are.
    """
    ranges, runs = published_ranges.c, sync_runs.c
    found = (
        select(ranges.range_start, ranges.range_end, runs.archived_to)
        .join(sync_runs)
        .where(overlapping(source, warehouse, window), runs.archived_at.is_not(None))
        .order_by(ranges.range_start)
        .limit(1)
    )
    if row := (await connection.execute(found)).one_or_none():
        archived = Window(row.range_start, row.range_end)
        raise IncompleteWindowError(
            f"{warehouse} from {source}, {window}: the movements of {archived} are archived in "
            f"{row.archived_to}, and an archived window is final: read a window without it, or read this "
            "one into another store"
        )


async def find_newer(connection: AsyncConnection, run: SyncRun) -> dict[int, str]:
    """Return the runs that were planned after this one and are published in its window: ids by key."""
    newer = (
        select(sync_runs.c.run_key, sync_runs.c.run_id)
        .join(published_ranges)
        .where(is_overlapped_by(run), sync_runs.c.plan_number > run.plan_number)
        .distinct()
    )
    return {row.run_key: row.run_id for row in await connection.execute(newer)}


def is_overlapped_by(run: SyncRun) -> ColumnElement[bool]:
    """Return the condition for a published range to overlap a run's window."""
    return overlapping(run.source, run.warehouse, run.window)


def overlapping(source: str, warehouse: str, window: Window) -> ColumnElement[bool]:
    """Return the condition for a published range of a warehouse to overlap a window."""
    ranges = published_ranges.c
    return and_(
        ranges.source == source,
        ranges.warehouse_id == warehouse,
        ranges.range_start < window.end,
        ranges.range_end > window.start,
    )


def to_run(row: Row[Any]) -> RunRow:
    """Convert a row to a run."""
    run = SyncRun(
        row.run_id,
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
        row.flow_run_id,
        to_grid(row),
        row.has_types,
        to_origin(row),
    )
    return RunRow(row.run_key, run)


def to_origin(row: Row[Any]) -> Origin | None:
    """Return how a run was asked for."""
    return Origin(row.program, row.source_option, row.token_env) if row.program else None


def to_grid(row: Row[Any]) -> WindowGrid | None:
    """Return the grid of the windows that a run was asked for."""
    return WindowGrid.of(row.window_minutes, row.window_zone) if row.window_minutes else None


def check_plan(run_id: str, stored: int, repairs: int | None) -> None:
    """Check that a run is still read by the plan after this number of repairs.

    Raises IncompleteWindowError if another process has planned it again: what this one has read is too old.
    """
    if repairs is not None and repairs != stored:
        raise IncompleteWindowError(
            f"run {run_id}: another process has planned its window again meanwhile: let that process end; "
            "if the window is then not published, retry the run"
        )

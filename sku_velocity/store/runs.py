"""Sync runs: each with its window, its plan, its state, its verdict and its report."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import ScalarSelect, delete, func, insert, select, union_all, update
from sqlalchemy.ext.asyncio import AsyncConnection

from sku_velocity.errors import ConfigurationError, IncompleteWindowError, StoreConfigurationError
from sku_velocity.model.chunk import Chunk
from sku_velocity.model.dead_letter import DeadLetterState
from sku_velocity.model.run import IdCounts, RunState, SyncRun, Verdict
from sku_velocity.store.chunk_rows import append_chunks
from sku_velocity.store.database import Repository, lock
from sku_velocity.store.run_rows import close_run, find_newer, find_run, get_run, lock_run, to_run
from sku_velocity.store.tables import (
    chunks,
    dead_letters,
    item_aliases,
    items,
    movements,
    sync_runs,
    unloaded_ids,
)
from sku_velocity.text import is_unicode


class Runs(Repository):
    """The sync runs of a store, until they are published."""

    async def begin(self, run: SyncRun, plan: Sequence[Chunk]) -> SyncRun:
        """Insert a run and its chunks, unless the store has a run of that id already. Return the stored run.

        Raises StoreConfigurationError if one of its ids, its source or warehouse is text that not every
        database can hold.
        """
        for text in (run.id, run.flow_run_id or "", run.source, run.warehouse):
            if "\x00" in text or not is_unicode(text):
                raise StoreConfigurationError(
                    f"no store can hold {text!r}: it is not valid Unicode, or contains NUL: correct it"
                )
        async with self.database.writing() as connection:
            await lock(connection, "run", run.id)
            if stored := await find_run(connection, run.id):
                return stored.run
            values = _values(run) | {"plan_number": _next_plan_number(run)}
            await connection.execute(insert(sync_runs).values(values))
            row = await get_run(connection, run.id)
            await connection.run_sync(append_chunks, row.key, plan)
            return row.run

    async def find(self, identifier: str) -> SyncRun | None:
        """Return the run of this id, or else the run that the flow run of this id started, or None.

        Raises ConfigurationError, with their ids, if that flow run started several.
        """
        started = select(sync_runs).where(sync_runs.c.flow_run_id == identifier).order_by(sync_runs.c.run_key)
        async with self.database.reading() as connection:
            if row := await find_run(connection, identifier):
                return row.run
            found = [to_run(row).run for row in await connection.execute(started)]
        if len(found) > 1:
            named = ", ".join(f"{run.id} ({run.label} {run.window})" for run in found)
            raise ConfigurationError(
                f"flow run {identifier} has started {len(found)} runs: name one of them instead: {named}"
            )
        return found[0] if found else None

    async def replan(
        self,
        run_id: str,
        total: int | None,
        plan: Sequence[Chunk],
        mapping_digest: str | None = None,
        has_types: bool = False,
    ) -> SyncRun:
        """Replace the plan of a run, and delete what was read of its window, so that it is read again.

        Raises IncompleteWindowError if it was published, or if dead letters of it were discarded: those
        decisions would be lost. What a replay accepted is read again, by the current spec.
        """
        async with self.database.writing() as connection:
            row = await lock_run(connection, run_id)
            if not row.run.is_open:
                raise IncompleteWindowError(
                    f"run {run_id} of {row.run.warehouse} was {row.run.state} meanwhile: "
                    "start a new run of this window"
                )
            if discarded := await _count_discarded(connection, row.key):
                raise IncompleteWindowError(
                    f"run {run_id} of {row.run.warehouse} has {discarded} dead letters that were "
                    "discarded, and cannot be read again: start a new run of this window"
                )
            # The chunks first: that waits for a page that is landing now. Its rows, and the chunk that it may
            # have appended, are then deleted, too.
            chunks_left = delete(chunks).where(chunks.c.run_key == row.key)
            while (await connection.execute(chunks_left)).rowcount:
                pass
            for table in (movements, unloaded_ids, items, item_aliases, dead_letters):
                await connection.execute(delete(table).where(table.c.run_key == row.key))
            await connection.run_sync(append_chunks, row.key, plan)
            await connection.execute(
                update(sync_runs)
                .where(sync_runs.c.run_key == row.key)
                .values(
                    total=total,
                    state=RunState.RUNNING,
                    repairs=sync_runs.c.repairs + 1,
                    plan_number=_next_plan_number(row.run),
                    mapping_digest=mapping_digest,
                    has_types=has_types,
                )
            )
            return (await get_run(connection, run_id)).run

    async def refuse(self, run_id: str, report: str, held_rows: int | None = None) -> None:
        """Store the report of a window that was not proven. A run that has been published stays as it is.

        `held_rows` is the number of its rows if it was held because it would shrink.
        """
        async with self.database.writing() as connection:
            row = await lock_run(connection, run_id)
            if row.run.is_open:
                await close_run(
                    connection, row.key, RunState.INCOMPLETE, Verdict.INCOMPLETE, report, held_rows
                )

    async def newer(self, run: SyncRun) -> str | None:
        """Return a run that was planned after this one and is published in its window, or None."""
        async with self.database.reading() as connection:
            found = await find_newer(connection, run)
        return next(iter(found.values()), None)

    async def count_ids(self, run_id: str) -> IdCounts:
        """Count the source's own record ids, or the SKUs of a master, that a run read, loaded or not."""
        key = select(sync_runs.c.run_key).where(sync_runs.c.run_id == run_id).scalar_subquery()
        loaded, unloaded = movements.c, unloaded_ids.c
        with_id = loaded.movement_id.is_not(None)
        ids = union_all(
            select(loaded.movement_id.label("id")).where(loaded.run_key == key, with_id),
            select(items.c.sku_id).where(items.c.run_key == key),
            select(unloaded.record_id).where(unloaded.run_key == key),
        ).subquery()
        times = select(func.count().label("read")).select_from(ids).group_by(ids.c.id).subquery().c.read
        loaded_without = select(func.count()).where(loaded.run_key == key, ~with_id).scalar_subquery()
        counts = select(func.coalesce(func.sum(times), 0), func.count().filter(times > 1), loaded_without)
        async with self.database.reading() as connection:
            read, repeated, without = (await connection.execute(counts)).one()
        return IdCounts(int(read), repeated, without)


def _next_plan_number(run: SyncRun) -> ScalarSelect[int]:
    """Return the next plan number of a source and warehouse: by the store, whose clock all runs share."""
    others = sync_runs.alias()
    return (
        select(func.coalesce(func.max(others.c.plan_number), 0) + 1)
        .where(others.c.source == run.source, others.c.warehouse_id == run.warehouse)
        .scalar_subquery()
    )


async def _count_discarded(connection: AsyncConnection, key: int) -> int:
    letters = dead_letters.c
    is_discarded = letters.state == DeadLetterState.DISCARDED
    discarded = select(func.count()).where(letters.run_key == key, is_discarded)
    return (await connection.execute(discarded)).scalar_one()


def _values(run: SyncRun) -> dict[str, Any]:
    return {
        "run_id": run.id,
        "flow_run_id": run.flow_run_id,
        "source": run.source,
        "warehouse_id": run.warehouse,
        "window_start": run.window.start,
        "window_end": run.window.end,
        "window_minutes": run.grid and run.grid.minutes,
        "window_zone": run.grid and run.grid.zone.key,
        "total": run.total,
        "master": run.master.model_dump_json() if run.master else None,
        "mapping_digest": run.mapping_digest,
        "has_types": run.has_types,
        "program": run.origin and run.origin.program,
        "source_option": run.origin and run.origin.source,
        "token_env": run.origin and run.origin.token_env,
        "state": RunState.RUNNING,
        "created_at": datetime.now(UTC),
    }

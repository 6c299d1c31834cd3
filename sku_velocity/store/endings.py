"""How runs have ended, by what the store has of them: many at once, for whoever started them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Select, func, select

from sku_velocity.model.run import Ending, RunState, Verdict
from sku_velocity.store.engine import Database
from sku_velocity.store.tables import chunks, sync_runs

AT_ONCE = 500  # ids in a statement: SQLite binds no more than 999 values


class Endings:
    """Each method is one transaction, and raises what those of `Store` raise."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def of(self, flow_run_ids: Sequence[str]) -> dict[str, Ending]:
        """How these runs stand, by id; those that never were planned are not among them."""
        found: dict[str, Ending] = {}
        async with self._database.reading() as connection:
            for first in range(0, len(flow_run_ids), AT_ONCE):
                rows = await connection.execute(_statement(flow_run_ids[first : first + AT_ONCE]))
                found |= {row[0]: _to_ending(*row[1:]) for row in rows}
        return found


def _statement(ids: Sequence[str]) -> Select[Any]:
    runs = sync_runs.c
    loaded, rejected = (func.coalesce(func.sum(chunks.c[name]), 0) for name in ("loaded", "rejected"))
    return (
        select(runs.flow_run_id, runs.state, runs.verdict, loaded, rejected)
        .outerjoin(chunks, chunks.c.run_key == runs.run_key)
        .where(runs.flow_run_id.in_(ids))
        .group_by(runs.run_key)
    )


def _to_ending(state: str, verdict: str | None, loaded: int, rejected: int) -> Ending:
    return Ending(RunState(state), Verdict(verdict) if verdict else None, int(loaded), int(rejected))

"""Paces that several processes share: how many slots each of them holds, and since when."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from sqlalchemy import ColumnElement, Float, cast, delete, func, insert, select
from sqlalchemy.ext.asyncio import AsyncConnection

from sku_velocity.store.database import Repository, lock
from sku_velocity.store.tables import shared_paces

TURN = 20.0  # seconds that a slot is one process's if there are fewer slots than processes
STALLED = 3.0  # seconds that a transaction may wait for its process, which may be cut off: others wait for it


class Share(NamedTuple):
    """The slots that a process holds of a pace, and the slots that it should hold.

    It holds more until it releases the rest, and less until other processes have.
    """

    held: int
    fair: int


class Paces(Repository):
    """The processes that share a pace. The database's clock decides which of them are alive."""

    async def renew(self, pace: str, holder: str, slots: int, kept: int, wants: bool, expiry: float) -> Share:
        """Renew a process's share of a pace of `slots`, and return what it is now.

        The process keeps at most `kept` slots, or none if its share has expired; if it `wants` more, it gets
        those that are free, up to its fair part. The shares of processes that have not been renewed for
        `expiry` seconds are free. The slots of all processes are never more than those of the pace.
        """
        columns = shared_paces.c
        async with self.database.writing() as connection:
            await _limit_stalls(connection)
            await lock(connection, "pace", pace)
            now = await _now(connection)
            is_expired = columns.renewed_at < now - expiry
            await connection.execute(delete(shared_paces).where(columns.pace == pace, is_expired))
            rows = (await connection.execute(select(shared_paces).where(columns.pace == pace))).all()
            others = [row for row in rows if row.holder != holder]
            held = min(kept, sum(row.slots for row in rows if row.holder == holder))
            wanting = [row.holder for row in others if row.wants]
            fair = fair_share(holder, [*wanting, holder], slots, now) if wants else 0
            free = slots - held - sum(row.slots for row in others)
            held += max(0, min(free, fair - held))
            await connection.execute(
                delete(shared_paces).where(columns.pace == pace, columns.holder == holder)
            )
            if held or wants:
                values = {"slots": held, "wants": wants, "renewed_at": now}
                await connection.execute(insert(shared_paces).values(pace=pace, holder=holder, **values))
        return Share(held, fair)

    async def release(self, pace: str, holder: str) -> None:
        """Release all slots of a process."""
        columns = shared_paces.c
        async with self.database.writing() as connection:
            await _limit_stalls(connection)
            await connection.execute(
                delete(shared_paces).where(columns.pace == pace, columns.holder == holder)
            )

    async def of(self, pace: str) -> dict[str, int]:
        """Return the slots of each process that shares a pace, or did until its end."""
        columns = shared_paces.c
        async with self.database.reading() as connection:
            rows = await connection.execute(select(columns.holder, columns.slots).where(columns.pace == pace))
            return {row.holder: row.slots for row in rows}


def fair_share(holder: str, wanting: Sequence[str], slots: int, now: float) -> int:
    """Return a process's part of the slots, if they are divided equally among those that want some.

    If there are fewer slots than processes, they take turns.
    """
    each, rest = divmod(slots, len(wanting))
    turn = int(now // TURN) if not each else 0
    return each + ((sorted(wanting).index(holder) + turn) % len(wanting) < rest)


async def _limit_stalls(connection: AsyncConnection) -> None:
    """End the transaction, and release its locks, if the database hears nothing from this process."""
    if connection.dialect.name == "postgresql":
        milliseconds = str(round(1000 * STALLED))
        await connection.execute(
            select(func.set_config("idle_in_transaction_session_timeout", milliseconds, True))
        )


async def _now(connection: AsyncConnection) -> float:
    """Return the database's time, in seconds since 1970."""
    clock: ColumnElement[float]
    if connection.dialect.name == "postgresql":
        clock = cast(func.extract("epoch", func.clock_timestamp()), Float)
    else:
        clock = (func.julianday("now") - 2_440_587.5) * 86_400.0
    return float((await connection.execute(select(clock))).scalar_one())

"""The SQL of publications that several repositories share: number one, find one."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Row, func, insert, select
from sqlalchemy.ext.asyncio import AsyncConnection

from sku_velocity.model.publication import Cause, Difference, Publication
from sku_velocity.model.run import SyncRun
from sku_velocity.model.window import Window
from sku_velocity.store.database import lock
from sku_velocity.store.tables import publications


async def insert_publication(
    connection: AsyncConnection, run: SyncRun, cause: Cause, difference: Difference
) -> Publication:
    """Insert the next publication, of rows in a run's window.

    The store's next number is taken under one lock, which is kept until the transaction ends, so that
    numbers become visible in order. Take every other lock, and do what takes long, before.
    """
    await lock(connection, "publications")
    newest = select(func.coalesce(func.max(publications.c.publication), 0))
    number = (await connection.execute(newest)).scalar_one() + 1
    now = datetime.now(UTC)
    await connection.execute(
        insert(publications).values(
            publication=number,
            source=run.source,
            warehouse_id=run.warehouse,
            range_start=run.window.start,
            range_end=run.window.end,
            run_id=run.id,
            published_at=now,
            cause=cause,
            **difference._asdict(),
        )
    )
    return Publication(number, run.source, run.warehouse, run.window, run.id, now, cause, difference)


async def find_publication(connection: AsyncConnection, run_id: str) -> Publication | None:
    """Return the publication in which a run became visible, not a later replay; None if it never was."""
    found = (
        select(publications)
        .where(publications.c.run_id == run_id, publications.c.cause != Cause.REPLAY)
        .order_by(publications.c.publication)
        .limit(1)
    )
    row = (await connection.execute(found)).one_or_none()
    return to_publication(row) if row else None


async def get_publication(connection: AsyncConnection, run_id: str) -> Publication:
    """Return the publication in which a published run became visible."""
    found = await find_publication(connection, run_id)
    assert found is not None, f"run {run_id} is published without a publication"
    return found


def to_publication(row: Row[Any]) -> Publication:
    """Convert a row to a publication."""
    return Publication(
        row.publication,
        row.source,
        row.warehouse_id,
        Window(row.range_start, row.range_end),
        row.run_id,
        row.published_at,
        Cause(row.cause),
        Difference(row.added, row.changed, row.removed, row.unchanged),
    )

"""What is published of a warehouse and a source, to compare a window with before it is published."""

from __future__ import annotations

import json
from collections import defaultdict

from sqlalchemy import and_, exists, func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from sku_velocity.model.run import Precedent, SyncRun
from sku_velocity.store.database import Repository
from sku_velocity.store.run_rows import is_overlapped_by
from sku_velocity.store.tables import chunks, items, movements, published_ranges, sync_runs


class Precedents(Repository):
    """What is published already, to compare a window with."""

    async def of(self, run: SyncRun) -> Precedent:
        """Return what is published already, to compare a run's window with."""
        async with self.database.reading() as connection:
            return Precedent(
                await _count_published(connection, run),
                await _read_held(connection, run),
                await _has_rows(connection, run),
                await _read_dropped_values(connection, run.source),
                await _read_extra_fields(connection, run),
            )


async def _count_published(connection: AsyncConnection, run: SyncRun) -> int:
    """Count the movements, or the items, that are published in a run's window."""
    ranges, moved_at = published_ranges.c, movements.c.timestamp_utc
    is_visible = and_(
        movements.c.run_key == ranges.run_key,
        moved_at >= ranges.range_start,
        moved_at < ranges.range_end,
        moved_at >= run.window.start,
        moved_at < run.window.end,
    )
    visible = select(func.count()).where(is_overlapped_by(run), is_visible)
    of_master = select(func.count()).where(is_overlapped_by(run), items.c.run_key == ranges.run_key)
    movement_count = (await connection.execute(visible)).scalar_one()
    return int(movement_count + (await connection.execute(of_master)).scalar_one())


async def _read_held(connection: AsyncConnection, run: SyncRun) -> frozenset[int]:
    """Return the row counts of exactly this window in the readings held since it was published."""
    runs, others = sync_runs.c, sync_runs.alias()
    published = (
        select(func.coalesce(func.max(others.c.plan_number), 0))
        .join(published_ranges, published_ranges.c.run_key == others.c.run_key)
        .where(is_overlapped_by(run))
        .scalar_subquery()
    )
    held = select(runs.held_rows).where(
        runs.source == run.source,
        runs.warehouse_id == run.warehouse,
        runs.window_start == run.window.start,
        runs.window_end == run.window.end,
        runs.held_rows.is_not(None),
        runs.plan_number > published,
    )
    return frozenset((await connection.execute(held)).scalars())


async def _has_rows(connection: AsyncConnection, run: SyncRun) -> bool:
    """Return True if a published window of the warehouse has a row."""
    ranges = published_ranges.c
    found = exists().where(
        ranges.source == run.source,
        ranges.warehouse_id == run.warehouse,
        chunks.c.run_key == ranges.run_key,
        chunks.c.loaded > 0,
    )
    return bool((await connection.execute(select(found))).scalar_one())


async def _read_dropped_values(connection: AsyncConnection, source: str) -> dict[str, set[str]]:
    """Return the values for which records were dropped in published windows of a source, by place."""
    seen: defaultdict[str, set[str]] = defaultdict(set)
    rows = await connection.execute(
        select(chunks.c.dropped_values)
        .join(published_ranges, published_ranges.c.run_key == chunks.c.run_key)
        .where(published_ranges.c.source == source, chunks.c.dropped_values != "{}")
        .distinct()
    )
    for text in rows.scalars():
        for place, values in json.loads(text).items():
            seen[place].update(values)
    return dict(seen)


async def _read_extra_fields(connection: AsyncConnection, run: SyncRun) -> set[str]:
    """Return the unmapped fields of the window of the warehouse that was published last."""
    ranges = published_ranges.c
    last = (
        select(ranges.run_key)
        .where(ranges.source == run.source, ranges.warehouse_id == run.warehouse)
        .order_by(ranges.publication.desc())
        .limit(1)
    )
    rows = await connection.execute(
        select(chunks.c.extra_fields).where(chunks.c.run_key == last.scalar_subquery()).distinct()
    )
    return {name for text in rows.scalars() for name in json.loads(text)}

"""Masters in the store: their versions, their names, and names that several items claim."""

from __future__ import annotations

from sys import intern

from sqlalchemy import CompoundSelect, func, select, union_all
from sqlalchemy.ext.asyncio import AsyncConnection

from sku_velocity.errors import ConfigurationError
from sku_velocity.model.item import ItemStatus
from sku_velocity.model.master import Names
from sku_velocity.model.run import NO_WAREHOUSE, RunState
from sku_velocity.store.chunks import find_run, get_run
from sku_velocity.store.tables import item_aliases, items, published_ranges, sync_runs


async def newest_version(connection: AsyncConnection, source: str) -> str:
    """Return the published version of a source's master. Raises ConfigurationError if there is none."""
    rows = await connection.execute(
        select(sync_runs.c.run_id)
        .join(published_ranges)
        .where(published_ranges.c.source == source, published_ranges.c.warehouse_id == NO_WAREHOUSE)
    )
    if version := rows.scalar_one_or_none():
        return str(version)
    raise ConfigurationError(
        f"this store has no published master {source}: run `sku-velocity sync-master` on its source, "
        "and use the name in that source's spec"
    )


async def version_before(connection: AsyncConnection, version: str) -> str | None:
    """Return the version that was published before this one; None for the first."""
    run = (await get_run(connection, version)).run
    published = select(sync_runs.c.finished_at).where(sync_runs.c.run_id == version).scalar_subquery()
    rows = await connection.execute(
        select(sync_runs.c.run_id)
        .where(
            sync_runs.c.source == run.source,
            sync_runs.c.warehouse_id == NO_WAREHOUSE,
            sync_runs.c.state == RunState.SUPERSEDED,
            sync_runs.c.finished_at < published,
        )
        .order_by(sync_runs.c.finished_at.desc())
        .limit(1)
    )
    return rows.scalar_one_or_none()


async def read_names(connection: AsyncConnection, version: str) -> Names:
    """Return all names of a version; none if it has been pruned."""
    run = await find_run(connection, version)
    if run is None:
        return Names({}, {})
    found: dict[str, dict[str, str]] = {status: {} for status in ItemStatus}
    for row in await connection.execute(_names(run.key)):
        found[row.status][row.name] = intern(row.sku_id)  # a copy per name would fill the memory
    return Names(found[ItemStatus.ACTIVE], found[ItemStatus.RETIRED])


async def contested_names(connection: AsyncConnection, run_id: str) -> list[str]:
    """Return the names that more than one item of a run claims: own ids and aliases, in order."""
    key = (await get_run(connection, run_id)).key
    claims = _names(key).subquery()
    contested = select(claims.c.name).group_by(claims.c.name).having(func.count() > 1).order_by(claims.c.name)
    return list((await connection.execute(contested)).scalars())


def _names(key: int) -> CompoundSelect[tuple[str, str, str]]:
    """Select each item's own id and its aliases."""
    own = select(items.c.sku_id.label("name"), items.c.sku_id, items.c.status)
    others = (
        select(item_aliases.c.alias, items.c.sku_id, items.c.status)
        .join(
            items, (items.c.run_key == item_aliases.c.run_key) & (items.c.position == item_aliases.c.position)
        )
        .where(item_aliases.c.run_key == key)
    )
    return union_all(own.where(items.c.run_key == key), others)

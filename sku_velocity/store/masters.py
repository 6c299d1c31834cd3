"""Masters in the store: their versions, their names, and names that several items claim."""

from __future__ import annotations

from sys import intern

from sqlalchemy import CompoundSelect, func, select, union_all

from sku_velocity.errors import ConfigurationError
from sku_velocity.model.item import ItemStatus
from sku_velocity.model.master import Master, Names
from sku_velocity.model.run import NO_WAREHOUSE, MasterVersion, RunState
from sku_velocity.store.database import Repository
from sku_velocity.store.run_rows import find_run, get_run
from sku_velocity.store.tables import item_aliases, items, published_ranges, sync_runs


class Masters(Repository):
    """The masters of a store. A version of one is the id of the run that published it."""

    async def newest(self, source: str) -> str:
        """Return the published version of a source's master. Raises ConfigurationError if there is none."""
        published = (
            select(sync_runs.c.run_id)
            .join(published_ranges)
            .where(published_ranges.c.source == source, published_ranges.c.warehouse_id == NO_WAREHOUSE)
        )
        async with self.database.reading() as connection:
            version = (await connection.execute(published)).scalar_one_or_none()
        if version:
            return str(version)
        raise ConfigurationError(
            f"this store has no published master {source}: run `sku-velocity sync-master` on its source, "
            "and use the name in that source's spec"
        )

    async def of_newest_window(self, source: str, warehouse: str) -> str | None:
        """Return the source of the master that the newest published window of a warehouse was mapped by."""
        ranges = published_ranges.c
        newest = (
            select(sync_runs.c.master)
            .join(published_ranges)
            .where(ranges.source == source, ranges.warehouse_id == warehouse)
            .order_by(ranges.range_end.desc())
            .limit(1)
        )
        async with self.database.reading() as connection:
            found = (await connection.execute(newest)).scalar_one_or_none()
        return MasterVersion.model_validate_json(found).source if found else None

    async def volumes(self, source: str) -> dict[str, float | None]:
        """Return the volume of a unit of each active SKU of a master's published version.

        Raises ConfigurationError if there is none.
        """
        version = await self.newest(source)
        of_version = (
            select(items.c.sku_id, items.c.unit_volume)
            .join(sync_runs, sync_runs.c.run_key == items.c.run_key)
            .where(sync_runs.c.run_id == version, items.c.status == ItemStatus.ACTIVE)
        )
        async with self.database.reading() as connection:
            return {sku: volume for sku, volume in await connection.execute(of_version)}

    async def version_before(self, version: str) -> str | None:
        """Return the version of a master that was published before this one; None for the first."""
        runs = sync_runs.c
        published = select(runs.finished_at).where(runs.run_id == version).scalar_subquery()
        async with self.database.reading() as connection:
            source = (await get_run(connection, version)).run.source
            before = (
                select(runs.run_id)
                .where(
                    runs.source == source,
                    runs.warehouse_id == NO_WAREHOUSE,
                    runs.state == RunState.SUPERSEDED,
                    runs.finished_at < published,
                )
                .order_by(runs.finished_at.desc())
                .limit(1)
            )
            return (await connection.execute(before)).scalar_one_or_none()

    async def load(self, version: MasterVersion) -> Master:
        """Load a version of a master with all its names. Raises ConfigurationError if it was pruned."""
        names = await self.names_of(version.version)
        if not (names.active or names.retired):
            raise ConfigurationError(
                f"version {version.version} of the master {version.source} is no longer in this store: "
                "start a new run of this window, which maps by the newest version"
            )
        return Master(version, names)

    async def names_of(self, version: str) -> Names:
        """Return all names of a version of a master; none if its items have been pruned."""
        found: dict[str, dict[str, str]] = {status: {} for status in ItemStatus}
        async with self.database.reading() as connection:
            if run := await find_run(connection, version):
                for row in await connection.execute(_names(run.key)):
                    found[row.status][row.name] = intern(row.sku_id)  # a copy per name would fill the memory
        return Names(found[ItemStatus.ACTIVE], found[ItemStatus.RETIRED])

    async def contested_names(self, run_id: str) -> list[str]:
        """Return the names that more than one item of a run claims: own ids and aliases, in order."""
        async with self.database.reading() as connection:
            claims = _names((await get_run(connection, run_id)).key).subquery()
            contested = select(claims.c.name).group_by(claims.c.name).having(func.count() > 1)
            return list((await connection.execute(contested.order_by(claims.c.name))).scalars())


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

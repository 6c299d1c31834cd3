"""The velocity classes last sent to each slotting engine, so that it is sent only changes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from sqlalchemy import ColumnElement, and_, delete, insert, select
from sqlalchemy.ext.asyncio import AsyncConnection

from sku_velocity.model.push import SkuClass
from sku_velocity.store.database import Repository, lock
from sku_velocity.store.tables import sent_classes

UNANSWERED = "sent, and not answered yet"

columns = sent_classes.c


@dataclass(frozen=True)
class Changes:
    """The classes that an engine does not have yet, by id; `revision` counts those sent to it before."""

    revision: int
    classes: list[SkuClass]


class SentClasses(Repository):
    """The classes that each engine has."""

    async def changed(self, engine: str, source: str, classes: Sequence[SkuClass]) -> Changes:
        """Return the current classes of a source that were not sent to an engine, or that it rejected."""
        async with self.database.reading() as connection:
            rows = (await connection.execute(select(sent_classes).where(_of(engine, source)))).all()
        known = {
            SkuClass(row.warehouse_id, row.sku_id, row.abc_lines, row.abc_units, row.xyz)
            for row in rows
            if row.reason is None
        }
        changed = sorted((each for each in classes if each not in known), key=lambda each: each.id)
        return Changes(max((row.revision for row in rows), default=0), changed)

    async def begin(self, engine: str, source: str, revision: int, classes: Sequence[SkuClass]) -> None:
        """Mark classes as in flight. Until the engine replies, its state is unknown."""
        await self._replace(engine, source, revision, classes, dict.fromkeys(map(_id, classes), UNANSWERED))

    async def settle(
        self,
        engine: str,
        source: str,
        revision: int,
        classes: Sequence[SkuClass],
        rejected: Mapping[str, str],
    ) -> None:
        """Store an engine's answer to these classes, with its reason for each that it rejected.

        `revision` is that of the answer: one more than before it.
        """
        await self._replace(engine, source, revision, classes, rejected)

    async def _replace(
        self,
        engine: str,
        source: str,
        revision: int,
        classes: Sequence[SkuClass],
        reasons: Mapping[str, str],
    ) -> None:
        key = {"engine": engine, "source": source, "revision": revision, "sent_at": datetime.now(UTC)}
        rows = [{**vars(each), **key, "reason": reasons.get(each.id)} for each in classes]
        async with self.database.writing() as connection:
            await lock(connection, "sent classes", engine, source)
            await _delete(connection, engine, source, classes)
            await connection.execute(insert(sent_classes), rows)


def _id(sku: SkuClass) -> str:
    return sku.id


async def _delete(connection: AsyncConnection, engine: str, source: str, classes: Sequence[SkuClass]) -> None:
    by_warehouse: dict[str, list[str]] = {}
    for each in classes:
        by_warehouse.setdefault(each.warehouse_id, []).append(each.sku_id)
    for warehouse, skus in by_warehouse.items():
        matching = and_(_of(engine, source), columns.warehouse_id == warehouse, columns.sku_id.in_(skus))
        await connection.execute(delete(sent_classes).where(matching))


def _of(engine: str, source: str) -> ColumnElement[bool]:
    return and_(columns.engine == engine, columns.source == source)

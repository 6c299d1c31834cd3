"""The velocity figures last sent to each slotting engine, so that it is sent only changes."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from sqlalchemy import ColumnElement, and_, delete, func, insert, select

from sku_velocity.model.push import SkuFigures
from sku_velocity.store.database import Repository, lock
from sku_velocity.store.tables import sent_figures

UNANSWERED = "sent, and not answered yet"
IDS = 500  # in one statement: a database limits its parameters

columns = sent_figures.c


@dataclass(frozen=True)
class Changes:
    """The figures that an engine does not have yet, by id; `revision` counts those sent to it before."""

    revision: int
    figures: list[SkuFigures]


class SentFigures(Repository):
    """The figures that each engine has."""

    async def changed(
        self, engine: str, source: str, warehouse: str, names: Sequence[str], figures: Sequence[SkuFigures]
    ) -> Changes:
        """Return the current figures of a warehouse that were not sent to an engine, or that it rejected.

        A SKU that the engine has figures of, and that is not among the current ones, has None for each name.
        """
        sent = select(columns.sku_id, columns.figures, columns.reason).where(_of(engine, source, warehouse))
        revision = select(func.max(columns.revision)).where(
            columns.engine == engine, columns.source == source
        )
        async with self.database.reading() as connection:
            known = {sku: text if reason is None else None
                     for sku, text, reason in await connection.execute(sent)}  # fmt: skip
            last = (await connection.execute(revision)).scalar_one()
        none = dict.fromkeys(names)
        gone = known.keys() - {each.sku_id for each in figures}
        current = [*figures, *(SkuFigures(warehouse, sku, none) for sku in gone)]
        changed = [each for each in current if known.get(each.sku_id) != _text(each)]
        return Changes(last or 0, sorted(changed, key=_id))

    async def begin(self, engine: str, source: str, revision: int, figures: Sequence[SkuFigures]) -> None:
        """Mark figures as in flight. Until the engine replies, its state is unknown."""
        await self._replace(engine, source, revision, figures, dict.fromkeys(map(_id, figures), UNANSWERED))

    async def settle(
        self,
        engine: str,
        source: str,
        revision: int,
        figures: Sequence[SkuFigures],
        rejected: Mapping[str, str],
    ) -> None:
        """Store an engine's answer to figures of one warehouse, with its reason for each that it rejected.

        `revision` is that of the answer: one more than before it.
        """
        await self._replace(engine, source, revision, figures, rejected)

    async def _replace(
        self,
        engine: str,
        source: str,
        revision: int,
        figures: Sequence[SkuFigures],
        reasons: Mapping[str, str],
    ) -> None:
        now, warehouse = datetime.now(UTC), figures[0].warehouse_id
        rows = [
            {
                "engine": engine,
                "source": source,
                "warehouse_id": warehouse,
                "sku_id": each.sku_id,
                "figures": _text(each),
                "reason": reasons.get(each.id),
                "revision": revision,
                "sent_at": now,
            }
            for each in figures
        ]
        async with self.database.writing() as connection:
            await lock(connection, "sent figures", engine, source)
            for first in range(0, len(rows), IDS):
                skus = [row["sku_id"] for row in rows[first : first + IDS]]
                mine = _of(engine, source, warehouse)
                await connection.execute(delete(sent_figures).where(mine, columns.sku_id.in_(skus)))
            await connection.execute(insert(sent_figures), rows)


def _id(sku: SkuFigures) -> str:
    return sku.id


def _text(sku: SkuFigures) -> str:
    return json.dumps(sku.values)


def _of(engine: str, source: str, warehouse: str) -> ColumnElement[bool]:
    return and_(columns.engine == engine, columns.source == source, columns.warehouse_id == warehouse)

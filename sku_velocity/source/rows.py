"""From mapped records to the store's rows: movements of one warehouse and window, or items of a master."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC
from itertools import repeat
from operator import itemgetter, methodcaller
from typing import Any, Protocol

from pydantic import BaseModel

from sku_velocity.model.item import Item
from sku_velocity.model.master import Master, NamedMovement
from sku_velocity.model.movement import ItemRow, Movement, MovementRow, Reason
from sku_velocity.model.window import Window
from sku_velocity.source.fields import RecordFields
from sku_velocity.source.mapping import constants
from sku_velocity.source.spec import SourceSpec

Refused = dict[int, tuple[Reason, ...]]  # by position
_to_utc = methodcaller("astimezone", UTC)


@dataclass(frozen=True)
class Rows:
    """A page's sound records as rows, those that may not pass all the same, and the count out of scope."""

    movements: list[MovementRow] = field(default_factory=list)
    items: list[ItemRow] = field(default_factory=list)
    refused: Refused = field(default_factory=dict)
    trimmed: int = 0
    unknown_skus: Mapping[str, int] = field(default_factory=dict)


class RowMaker(Protocol):
    """What a source's records are: the model that each is held to, and the rows that they come to."""

    @property
    def model(self) -> type[BaseModel]: ...

    @property
    def id_field(self) -> str:
        """The field that tells a record from all others, where it is mapped."""
        ...

    def rows(self, records: Sequence[dict[str, Any]], positions: Sequence[int]) -> Rows: ...


def row_maker(spec: SourceSpec, warehouse: str, window: Window, master: Master | None) -> RowMaker:
    """The maker of rows for what a source holds."""
    if spec.items is not None:
        return ItemRows(spec)
    return MovementRows(spec, warehouse, window, master)


class Columns:
    """The mapped records of a page, column by column."""

    def __init__(self, fields: RecordFields, model: type[BaseModel]) -> None:
        self._constants = constants(fields, model)
        self._mapped = {name for name, _ in fields.mapped()} - self._constants.keys()
        self._defaults = {name: rule.default for name, rule in model.model_fields.items()}

    def of(self, records: Sequence[dict[str, Any]], name: str) -> Iterable[Any]:
        """One field of all records: what each tells, or what is the same in all."""
        if name in self._mapped:
            return map(itemgetter(name), records)
        return repeat(self._constants.get(name, self._defaults[name]), len(records))


class MovementRows:
    """Movements of one warehouse and window, with their SKUs as the run's master has them.

    A record outside the window is trimmed. So is one of another warehouse, where the API cannot be asked
    for one warehouse alone; where it was asked and answers with another, the record is refused.
    """

    id_field = "movement_id"

    def __init__(self, spec: SourceSpec, warehouse: str, window: Window, master: Master | None) -> None:
        self.model = NamedMovement if master else Movement
        self._spec = spec
        self._warehouse = warehouse
        self._window = window
        self._master = master
        self._columns = Columns(spec.fields, self.model)

    def rows(self, records: Sequence[dict[str, Any]], positions: Sequence[int]) -> Rows:
        told = list(self._columns.of(records, "sku_id"))
        rows = self._rows(records, positions, told)
        refused: Refused = {}
        trimmed = 0
        if not self._all_in_scope(rows):
            rows, refused, trimmed = self._sort_by_scope(rows)
        sorted_rows = Rows(rows, refused=refused, trimmed=trimmed)
        if self._master is None or not self._master.questionable(told):
            return sorted_rows
        return self._held_to(self._master, sorted_rows, dict(zip(positions, told, strict=True)))

    def _rows(
        self, records: Sequence[dict[str, Any]], positions: Sequence[int], told: list[str]
    ) -> list[MovementRow]:
        return list(
            zip(
                positions,
                self._columns.of(records, "movement_id"),
                self._master.canonical(told) if self._master else told,
                self._columns.of(records, "warehouse_id"),
                self._columns.of(records, "units_moved"),
                map(_to_utc, self._columns.of(records, "timestamp_utc")),
                strict=True,
            )
        )

    def _all_in_scope(self, rows: list[MovementRow]) -> bool:
        if not rows:
            return True
        times = [row[5] for row in rows]
        return (
            min(times) in self._window
            and max(times) in self._window
            and set(map(itemgetter(3), rows)) == {self._warehouse}
        )

    def _sort_by_scope(self, rows: list[MovementRow]) -> tuple[list[MovementRow], Refused, int]:
        inside = [row for row in rows if row[5] in self._window]
        kept = [row for row in inside if row[3] == self._warehouse]
        if not self._spec.request.names_warehouse:
            return kept, {}, len(rows) - len(kept)
        why = self._reason("warehouse_id", f"is not {self._warehouse}, the warehouse that was asked for")
        return kept, {row[0]: why for row in inside if row[3] != self._warehouse}, len(rows) - len(inside)

    def _held_to(self, master: Master, rows: Rows, told: Mapping[int, str]) -> Rows:
        """The rows without those whose SKU the master does not let pass, by the name that was told."""
        refusals = {row[0]: master.refusal(told[row[0]]) for row in rows.movements}
        refused = {place: self._reason("sku_id", why) for place, why in refusals.items() if why}
        return Rows(
            [row for row in rows.movements if row[0] not in refused],
            refused=rows.refused | refused,
            trimmed=rows.trimmed,
            unknown_skus=Counter(told[place] for place in refusals if not master.knows(told[place])),
        )

    def _reason(self, name: str, message: str) -> tuple[Reason, ...]:
        return (Reason(str(getattr(self._spec.fields, name)), message),)


class ItemRows:
    """The items of a master, each with its other names: its own id is none of them."""

    model = Item
    id_field = "sku_id"

    def __init__(self, spec: SourceSpec) -> None:
        self._columns = Columns(spec.record, Item)

    def rows(self, records: Sequence[dict[str, Any]], positions: Sequence[int]) -> Rows:
        skus = list(self._columns.of(records, "sku_id"))
        aliases = self._columns.of(records, "aliases")
        columns = (self._columns.of(records, name) for name in ("status", "description", "unit_volume"))
        others = [
            tuple(name for name in names if name != sku) for sku, names in zip(skus, aliases, strict=True)
        ]
        return Rows(items=list(zip(positions, skus, *columns, others, strict=True)))

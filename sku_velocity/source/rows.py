"""Converts mapped records to rows of the store: movements of a warehouse and window, or a master's items."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from operator import methodcaller
from typing import Any, Protocol

from pydantic import BaseModel

from sku_velocity.model.item import Item
from sku_velocity.model.master import Master, NamedMovement
from sku_velocity.model.movement import DETAILS, ItemRow, Movement, MovementRow, Movements, Reason
from sku_velocity.model.window import Window
from sku_velocity.source.bounds import requested_window
from sku_velocity.source.columns import Column
from sku_velocity.source.extra import ExtraReader, refusal
from sku_velocity.source.fields import RecordFields
from sku_velocity.source.mapping import constants, label_of
from sku_velocity.source.spec import SourceSpec

Rejects = dict[int, tuple[Reason, ...]]  # by position
_to_utc = methodcaller("astimezone", UTC)


@dataclass(frozen=True)
class Rows:
    """A page's valid records as rows, and those rejected by the run; all others are out of scope."""

    movements: Sequence[MovementRow] = ()
    items: list[ItemRow] = field(default_factory=list)
    rejected: Rejects = field(default_factory=dict)
    unknown_skus: Mapping[str, int] = field(default_factory=dict)

    @property
    def positions(self) -> Sequence[int]:
        """The positions of the rows."""
        columns = Movements.of(self.movements).columns
        return columns[0] if columns else [row.position for row in self.items]


@dataclass(frozen=True)
class Trim:
    """Why a record is out of scope: the `value` at a `place` of the spec.

    `is_expected` is True if the answer to the request contains such records.
    """

    place: str
    value: str
    is_expected: bool


class RowMaker(Protocol):
    """The kind of a source's records: the model to validate each against, and the rows they become."""

    @property
    def model(self) -> type[BaseModel]: ...

    @property
    def id_field(self) -> str:
        """The field that identifies a record, if it is mapped."""
        ...

    def rows(self, columns: Mapping[str, Column], positions: Sequence[int]) -> Rows: ...

    def trim(self, record: Mapping[str, Any]) -> Trim | None:
        """Return why a record is out of scope, or None; its invalid fields are None."""
        ...


def row_maker(spec: SourceSpec, warehouse: str, window: Window, master: Master | None) -> RowMaker:
    """Return the row maker for the kind of records in a source."""
    if spec.items is not None:
        return ItemRows(spec)
    return MovementRows(spec, warehouse, window, master)


class ColumnsOrConstants:
    """The fields of a page's records: a column if the spec maps it, else the constant or the default."""

    def __init__(self, fields: RecordFields, model: type[BaseModel]) -> None:
        rules = model.model_fields.items()
        self._others = {name: rule.default for name, rule in rules} | constants(fields, model)

    def of(self, columns: Mapping[str, Column], name: str, count: int) -> Column:
        """Return one field of `count` records."""
        return columns[name] if name in columns else [self._others[name]] * count

    def one(self, record: Mapping[str, Any], name: str) -> Any:
        """Return one field of one record."""
        return record[name] if name in record else self._others[name]


class MovementRows:
    """Movements of one warehouse and window, with the canonical SKUs of the run's master.

    A record outside the window is trimmed. A record of another warehouse is trimmed if the API cannot be
    asked for a single warehouse, and rejected if it was asked for one and returned another.
    """

    id_field = "movement_id"

    def __init__(self, spec: SourceSpec, warehouse: str, window: Window, master: Master | None) -> None:
        self.model = NamedMovement if master else Movement
        self._spec = spec
        self._warehouse = warehouse
        self._window = window
        self._master = master
        self._fields = ColumnsOrConstants(spec.fields, self.model)
        self._types = spec.type_names
        self._extra = ExtraReader(spec.extra) if spec.extra else None
        self._requested = requested_window(window, spec.window, spec.sent_bounds)

    def rows(self, columns: Mapping[str, Column], positions: Sequence[int]) -> Rows:
        count = len(positions)

        def values_of(name: str) -> Column:
            return self._fields.of(columns, name, count)

        reported, warehouses = values_of("sku_id"), values_of("warehouse_id")
        times = list(map(_to_utc, values_of("timestamp_utc")))
        values = (
            positions,
            [id or None for id in values_of("movement_id")],  # an empty text is no id
            self._master.canonical(reported) if self._master else reported,
            warehouses,
            values_of("units_moved"),
            times,
            *(self._detail(columns, name, count) for name in DETAILS),
        )
        rows: Sequence[MovementRow] = Movements(values)
        rejected: Rejects = {}
        if not self._all_in_scope(warehouses, times):
            rows, rejected = self._sort_by_scope(rows)
        if self._extra:
            rows, rejected = _check_extra(rows, rejected)
        sorted_rows = Rows(rows, rejected=rejected)
        if self._master is None or not self._master.unmapped(reported):
            return sorted_rows
        return self._check_skus(self._master, sorted_rows, dict(zip(positions, reported, strict=True)))

    def _detail(self, columns: Mapping[str, Column], name: str, count: int) -> Column:
        """Return an optional field of all records: None if the spec does not map it, or it is empty."""
        if name == "extra":
            return self._extra.texts(columns) if self._extra else [None] * count
        if getattr(self._spec.fields, name) is None:
            return [None] * count
        values = [value or None for value in self._fields.of(columns, name, count)]
        return list(map(self._types.get, values, values)) if name == "movement_type" else values

    def _all_in_scope(self, warehouses: Column, times: list[datetime]) -> bool:
        return not times or (
            min(times) in self._window
            and max(times) in self._window
            and warehouses.count(self._warehouse) == len(warehouses)
        )

    def trim(self, record: Mapping[str, Any]) -> Trim | None:
        at, warehouse = self._fields.one(record, "timestamp_utc"), self._fields.one(record, "warehouse_id")
        if at is not None and at.astimezone(UTC) not in self._window:
            place = f"fields.timestamp_utc {self._spec.fields.timestamp_utc}"
            is_expected = at.astimezone(UTC) in self._requested
            return Trim(place, at.astimezone(UTC).strftime("%Y-%m-%dT%HZ"), is_expected)
        if self._spec.request.names_warehouse or warehouse in (None, self._warehouse):
            return None
        return Trim(f"fields.warehouse_id {self._spec.fields.warehouse_id}", warehouse, is_expected=False)

    def _sort_by_scope(self, rows: Sequence[MovementRow]) -> tuple[list[MovementRow], Rejects]:
        inside = [row for row in rows if row.timestamp_utc in self._window]
        in_scope = [row for row in inside if row.warehouse_id == self._warehouse]
        if not self._spec.request.names_warehouse:
            return in_scope, {}
        reason = self._reason("warehouse_id", f"is not {self._warehouse}, the requested warehouse")
        return in_scope, {row.position: reason for row in inside if row.warehouse_id != self._warehouse}

    def _check_skus(self, master: Master, rows: Rows, reported: Mapping[int, str]) -> Rows:
        """Reject the rows whose SKU, as reported by the source, the master does not accept."""
        rule = self._spec.fields.sku_id.rule
        refusals = {row.position: master.refusal(reported[row.position], rule) for row in rows.movements}
        rejected = {place: self._reason("sku_id", message) for place, message in refusals.items() if message}
        return Rows(
            [row for row in rows.movements if row.position not in rejected],
            rejected=rows.rejected | rejected,
            unknown_skus=Counter(reported[place] for place in refusals if not master.knows(reported[place])),
        )

    def _reason(self, name: str, message: str) -> tuple[Reason, ...]:
        return (Reason(label_of(name, getattr(self._spec.fields, name)), message),)


class ItemRows:
    """The items of a master, each with its aliases, which do not include its own id."""

    model = Item
    id_field = "sku_id"

    def __init__(self, spec: SourceSpec) -> None:
        self._fields = ColumnsOrConstants(spec.record, Item)

    def rows(self, columns: Mapping[str, Column], positions: Sequence[int]) -> Rows:
        names = ("sku_id", "aliases", *ItemRow._fields[2:-1])
        skus, aliases, *fields = (self._fields.of(columns, name, len(positions)) for name in names)
        others = [
            tuple(name for name in names if name != sku) for sku, names in zip(skus, aliases, strict=True)
        ]
        return Rows(items=list(map(ItemRow, positions, skus, *fields, others)))

    def trim(self, record: Mapping[str, Any]) -> Trim | None:
        return None  # a master is read whole


def _check_extra(rows: Sequence[MovementRow], rejected: Rejects) -> tuple[Sequence[MovementRow], Rejects]:
    """Reject the rows whose extra fields cannot be stored."""
    refusals = {row.position: refusal(row.extra) for row in rows}
    bad = {position: (Reason("extra", message),) for position, message in refusals.items() if message}
    return [row for row in rows if row.position not in bad] if bad else rows, rejected | bad

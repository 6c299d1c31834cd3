"""Movements, the rules of their fields, and dead letters."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated, Any, Literal, NamedTuple, get_args, overload

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, GetCoreSchemaHandler
from pydantic_core import CoreSchema, core_schema

from sku_velocity.masking import hide_distinctive
from sku_velocity.model.sku import SkuRule

MAX_UNITS = 2**63 - 1  # what a BIGINT holds
MAX_ID = 255  # characters
EARLIEST = datetime(2, 1, 1, tzinfo=UTC)  # a year of room at both ends, so that no change of zone overflows
LATEST = datetime(9998, 12, 31, tzinfo=UTC)


@dataclass(frozen=True)
class Rule:
    """One error message for all the ways in which a value can break a field's rule."""

    message: str

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.custom_error_schema(
            handler(source), custom_error_type="rule", custom_error_message=self.message
        )


class _AsInt:
    """Converts a validated whole number (6, 6.0, "6") to an int."""

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.chain_schema([handler(source), core_schema.int_schema(ge=0, le=MAX_UNITS)])


class _AsDateText:
    """Accepts only strings that begin with a date: a bare number would be read as seconds since 1970."""

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        date_text = core_schema.custom_error_schema(
            core_schema.str_schema(pattern=r"^\d{4}-\d{2}-\d{2}[Tt ]", strict=True),
            custom_error_type="rule",
            custom_error_message="must be an ISO 8601 string such as 2026-03-01T08:30:00Z",
        )
        return core_schema.json_or_python_schema(
            core_schema.chain_schema([date_text, handler(source)]), handler(source)
        )


class _AsSku:
    """Accepts what a SKU may be unless the spec says otherwise."""

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return SkuRule().schema()


class _AsLabel:
    """Converts a number to text, a whole one without decimals: 261.0 is 261."""

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        whole = core_schema.float_schema(strict=True, multiple_of=1, gt=-(2**53), lt=2**53)
        text = core_schema.str_schema(pattern=r"^[^\x00]*$", max_length=MAX_ID, coerce_numbers_to_str=True)
        strict = core_schema.str_schema(pattern=r"^[^\x00]*$", max_length=MAX_ID, strict=True)
        from_int = core_schema.chain_schema([core_schema.int_schema(strict=True), text])
        from_float = core_schema.chain_schema([whole, core_schema.int_schema(), text])
        return core_schema.union_schema([strict, from_int, from_float, text], mode="left_to_right")


SkuId = Annotated[str, _AsSku(), Rule(SkuRule().message)]
Name = Annotated[
    str,
    Field(pattern=r"^[^\x00]*[^\s\x00][^\x00]*$", max_length=MAX_ID, coerce_numbers_to_str=True),
    Rule(f"must be a non-empty string of at most {MAX_ID} characters"),
]
WarehouseId = Name
UnitsMoved = Annotated[
    Annotated[int, Field(strict=True)]
    | Annotated[float, Field(strict=True, ge=0, lt=2**53, multiple_of=1)]
    | Annotated[str, Field(strict=True, pattern=r"^[0-9]{1,19}(\.0*)?$")],
    _AsInt(),
    Rule("must be a whole number of units, 0 or more"),
]
UtcInstant = Annotated[AwareDatetime, Field(ge=EARLIEST, le=LATEST), _AsDateText()]
MovementId = Annotated[
    Annotated[str, Field(pattern=r"^[^\x00]*$", max_length=MAX_ID, coerce_numbers_to_str=True)] | None,
    Rule(f"must be a string of at most {MAX_ID} characters, a number or absent"),
]


Label = Annotated[
    Annotated[str, _AsLabel()] | None,
    Rule(f"must be a string of at most {MAX_ID} characters, a number or absent"),
]
Direction = Annotated[Literal["in", "out"] | None, Rule("must be in, out or absent")]


class Movement(BaseModel):
    """One movement of one SKU in one warehouse: the contract of every published row.

    `units_moved` counts whole units and is never negative; `timestamp_utc` is an instant in UTC;
    `movement_id` is the source's record id, if it has one. The others are None unless the source's spec maps
    them: `direction` only classifies, and `extra` is a JSON object of at most 4 KiB, as text.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    sku_id: SkuId
    warehouse_id: WarehouseId
    units_moved: UnitsMoved
    timestamp_utc: UtcInstant
    movement_id: MovementId = None
    movement_type: Label = None
    order_id: Label = None
    location_id: Label = None
    unit_of_measure: Label = None
    direction: Direction = None
    extra: str | None = None


@dataclass(frozen=True)
class Reason:
    """Why a record is rejected: the field (a dotted path, empty for the record itself) and the rule."""

    field: str
    message: str

    def __str__(self) -> str:
        return f"{self.field}: {self.message}" if self.field else self.message


@dataclass(frozen=True)
class DeadLetter:
    """A rejected raw record: its position in the window, its JSON text and every reason.

    The text is as received, except for secrets of the source that it repeats.
    """

    position: int
    record_json: str
    reasons: tuple[Reason, ...]

    def __post_init__(self) -> None:
        object.__setattr__(self, "record_json", hide_distinctive(self.record_json))


class MovementRow(NamedTuple):
    """A movement as the store takes it, with its position in the window.

    The details, from `movement_type` on, are None unless the source's spec maps them.
    """

    position: int
    movement_id: str | None
    sku_id: str
    warehouse_id: str
    units_moved: int
    timestamp_utc: datetime
    movement_type: str | None = None
    order_id: str | None = None
    location_id: str | None = None
    unit_of_measure: str | None = None
    direction: str | None = None
    extra: str | None = None


class Movements(Sequence[MovementRow]):
    """Movements by column, in the order of `MovementRow`: a page is stored without an object for each row."""

    def __init__(self, columns: Sequence[Sequence[Any]]) -> None:
        self.columns = columns

    @classmethod
    def of(cls, rows: Sequence[MovementRow]) -> Movements:
        """Return these rows by column."""
        return rows if isinstance(rows, Movements) else cls(list(zip(*rows, strict=True)))

    def __len__(self) -> int:
        return len(self.columns[0]) if self.columns else 0

    @overload
    def __getitem__(self, index: int) -> MovementRow: ...
    @overload
    def __getitem__(self, index: slice) -> Movements: ...
    def __getitem__(self, index: int | slice) -> MovementRow | Movements:
        values = [column[index] for column in self.columns]
        return Movements(values) if isinstance(index, slice) else MovementRow._make(values)

    def __iter__(self) -> Iterator[MovementRow]:
        return map(MovementRow._make, zip(*self.columns, strict=True))


# The columns that a spec may map or not, in the order of every table, view and file.
Detail = Literal["movement_type", "order_id", "location_id", "unit_of_measure", "direction", "extra"]
DETAILS: tuple[Detail, ...] = get_args(Detail)


class ItemRow(NamedTuple):
    """An item of a master as the store takes it, with its position in the master."""

    position: int
    sku_id: str
    status: str
    description: str | None
    unit_volume: float | None
    weight: float | None
    units_per_case: int | None
    units_per_pallet: int | None
    aliases: tuple[str, ...]

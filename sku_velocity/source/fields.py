"""Where a record holds each field of a movement, how it is written, and which records are none, as data."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal, Self
from zoneinfo import ZoneInfo

from pydantic import Field, field_validator, model_validator

from sku_velocity.spec_file import DottedPath, Part, Scalar


class FieldSpec(Part):
    """One field: the first of the paths that is there, a join of paths, or a constant.

    In short a path or a list of paths; in full `{path: a.b}`, `{path: [a, b]}`, `{join: [day, time]}` or
    `{const: WH-01}`.
    """

    path: tuple[DottedPath, ...] = Field(default=(), description="The first of these that is there")
    join: tuple[DottedPath, ...] = Field(default=(), description="All of these, with the separator between")
    separator: str = " "
    const: str | int | None = Field(default=None, description="The same in every record")

    @model_validator(mode="before")
    @classmethod
    def _take_the_short_form(cls, data: Any) -> Any:
        if isinstance(data, str | list | tuple):
            data = {"path": data}
        if isinstance(data, dict) and isinstance(data.get("path"), str):
            data = {**data, "path": [data["path"]]}
        return data

    @model_validator(mode="after")
    def _has_one_origin(self) -> Self:
        if sum([bool(self.path), bool(self.join), self.const is not None]) != 1:
            raise ValueError("give exactly one of path, join and const")
        return self

    @property
    def paths(self) -> tuple[DottedPath, ...]:
        """All the places that are looked at."""
        return self.path or self.join

    def __str__(self) -> str:
        if self.const is not None:
            return f"const {self.const}"
        return " or ".join(self.path) or " + ".join(self.join)


class UnitsSpec(FieldSpec):
    """The units, and what their sign means: `negate` where what goes out is told below zero."""

    sign: Literal["as_is", "negate", "abs"] = "as_is"


class TimestampSpec(FieldSpec):
    """The instant, and how it is written: `iso`, `epoch_s`, `epoch_ms`, `odata_v2` or a strptime pattern.

    `assume_timezone` is the zone of times that are told without one; without it such a record is rejected.
    """

    format: str = Field(default="iso", pattern=r"^(iso|epoch_s|epoch_ms|odata_v2|.*%.*)$")
    assume_timezone: str | None = Field(default=None, description="An IANA name, such as Europe/Berlin")

    @model_validator(mode="after")
    def _differs_by_record(self) -> Self:
        if self.const is not None:
            raise ValueError("a time is not the same in every record: give path or join")
        return self

    @field_validator("assume_timezone")
    @classmethod
    def _zone_is_known(cls, name: str | None) -> str | None:
        return name if name is None else check_zone(name)


class RecordFields(Part):
    """Where in a record each of its fields stands."""

    def mapped(self) -> Iterator[tuple[str, FieldSpec]]:
        """The fields that are mapped, by name."""
        for name in type(self).model_fields:
            if (field := getattr(self, name)) is not None:
                yield name, field


class FieldsSpec(RecordFields):
    """Where in a record each field of a movement stands."""

    sku_id: FieldSpec = FieldSpec(path=("sku_id",))
    warehouse_id: FieldSpec = FieldSpec(path=("warehouse_id",))
    units_moved: UnitsSpec = UnitsSpec(path=("units_moved",))
    timestamp_utc: TimestampSpec = TimestampSpec(path=("timestamp_utc",))
    movement_id: FieldSpec | None = None


class RowFilter(Part):
    """A rule that every movement keeps: a record that breaks it is no movement, and is counted as filtered.

    `in` and `not_in` compare with a list (null in it is a field that is absent or null), `above` and `below`
    with a number, which may be told as text.
    """

    path: DottedPath
    in_: tuple[Scalar | None, ...] | None = Field(default=None, alias="in")
    not_in: tuple[Scalar | None, ...] | None = None
    above: float | None = None
    below: float | None = None

    @model_validator(mode="after")
    def _has_a_rule(self) -> Self:
        if all(rule is None for rule in (self.in_, self.not_in, self.above, self.below)):
            raise ValueError("a filter needs in, not_in, above or below")
        return self


def check_zone(name: str) -> str:
    """The name of a zone. Raises ValueError where it is unknown."""
    try:
        ZoneInfo(name)
    except (OSError, ValueError) as error:
        raise ValueError(f"unknown time zone {name!r}: give an IANA name such as Europe/Berlin") from error
    return name

"""The spec of a movement's fields: their paths in a record, their formats, and the record filters."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property
from typing import Annotated, Any, Literal, Self
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import Field, Strict, field_validator, model_validator

from sku_velocity.source.comparison import comparison_keys
from sku_velocity.source.time_format import TimeFormat
from sku_velocity.spec_file import DottedPath, Part, Scalar


class FieldSpec(Part):
    """One field: the first of several paths that has a value, a join of paths, or a constant.

    Short form: a path or a list of paths. Full form: `{path: a.b}`, `{path: [a, b]}`,
    `{join: [day, time]}` or `{const: WH-01}`.
    """

    path: tuple[DottedPath, ...] = Field(default=(), description="The first of these that has a value")
    join: tuple[DottedPath, ...] = Field(default=(), description="All of these, joined by the separator")
    separator: str = " "
    const: str | Annotated[int, Strict()] | None = Field(
        default=None, description="The same value for every record"
    )

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
        """All paths that are read."""
        return self.path or self.join

    def __str__(self) -> str:
        if self.const is not None:
            return f"const {self.const}"
        return " or ".join(self.path) or " + ".join(self.join)


class UnitsSpec(FieldSpec):
    """The units and their sign: use `negate` if the source reports outbound movements as negative numbers."""

    sign: Literal["as_is", "negate", "abs"] = "as_is"


class TimestampSpec(FieldSpec):
    """The timestamp and its format: `iso`, `epoch_s`, `epoch_ms`, `odata_v2` or a pattern such as
    `%d.%m.%Y %H:%M`.

    `assume_timezone` applies to times without a time zone; if it is not set, such records are rejected.
    """

    format: str = Field(default="iso", pattern=r"^(iso|epoch_s|epoch_ms|odata_v2|.*%.*)$")
    assume_timezone: str | None = Field(default=None, description="An IANA name, such as Europe/Berlin")

    @model_validator(mode="after")
    def _differs_by_record(self) -> Self:
        if self.const is not None:
            raise ValueError("a timestamp cannot be a constant: give path or join")
        return self

    @field_validator("assume_timezone")
    @classmethod
    def _zone_is_known(cls, name: str | None) -> str | None:
        return name if name is None else check_zone(name)

    @field_validator("format")
    @classmethod
    def _format_round_trips(cls, form: str) -> str:
        if "%" in form:
            TimeFormat.of(form).check_round_trip()
        return form

    @model_validator(mode="after")
    def _literals_are_true(self) -> Self:
        if "%" in self.format:
            zone = ZoneInfo(self.assume_timezone) if self.assume_timezone else None
            TimeFormat.of(self.format).check_literals(zone, "assume_timezone")
        return self


class RecordFields(Part):
    """The fields of a record and their paths."""

    def mapped(self) -> Iterator[tuple[str, FieldSpec]]:
        """Yield the name and spec of each mapped field."""
        for name in type(self).model_fields:
            if (field := getattr(self, name)) is not None:
                yield name, field


class FieldsSpec(RecordFields):
    """The fields of a movement and their paths in a record."""

    sku_id: FieldSpec = FieldSpec(path=("sku_id",))
    warehouse_id: FieldSpec = FieldSpec(path=("warehouse_id",))
    units_moved: UnitsSpec = UnitsSpec(path=("units_moved",))
    timestamp_utc: TimestampSpec = TimestampSpec(path=("timestamp_utc",))
    movement_id: FieldSpec | None = None


class RowFilter(Part):
    """A condition on records: one that does not meet it is not a movement, and is counted as filtered.

    `in` and `not_in` compare with a list (null matches a field that is absent or null), `above` and `below`
    with a number. The field's value may be a number or text: 261 equals "261". A boolean equals only a
    boolean.
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

    def drops(self, value: Any) -> bool:
        """Return True if a value breaks the rule. A value that cannot be compared with a number does not."""
        if self.in_ is not None and self._in_keys.isdisjoint(comparison_keys(value)):
            return True
        if not self._not_in_keys.isdisjoint(comparison_keys(value)):
            return True
        if (self.above is None and self.below is None) or isinstance(value, bool):
            return False
        try:
            number = float(value)
        except (TypeError, ValueError, OverflowError):
            return False
        return (self.above is not None and number <= self.above) or (
            self.below is not None and number >= self.below
        )

    @cached_property
    def _in_keys(self) -> frozenset[object]:
        return frozenset().union(*map(comparison_keys, self.in_ or ()))

    @cached_property
    def _not_in_keys(self) -> frozenset[object]:
        return frozenset().union(*map(comparison_keys, self.not_in or ()))


def check_zone(name: str) -> str:
    """Return the zone's name. Raises ValueError if it is unknown."""
    try:
        ZoneInfo(name)
    except (ZoneInfoNotFoundError, OSError, ValueError) as error:
        raise ValueError(f"unknown time zone {name!r}: give an IANA name such as Europe/Berlin") from error
    return name

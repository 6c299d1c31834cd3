"""The spec of a movement's fields: their paths in a record, their formats, and the record filters."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from decimal import Decimal
from functools import cached_property
from typing import Annotated, Any, Literal, Self
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError, available_timezones

from pydantic import AfterValidator, Discriminator, Field, Strict, Tag, field_validator, model_validator
from pydantic_core import CoreSchema, core_schema

from sku_velocity.model.sku import DEFAULT_PATTERN, SkuRule
from sku_velocity.source.comparison import comparison_keys
from sku_velocity.source.time_format import TimeFormat
from sku_velocity.spec_errors import suggestion
from sku_velocity.spec_file import DottedPath, Part, Scalar

MAX_DIGITS = 20  # of a factor, before or after its decimal point


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


class TextFieldSpec(FieldSpec):
    """Text whose letter case and surrounding spaces may be changed as it is read."""

    case: Literal["as_is", "upper", "lower"] = "as_is"
    strip: bool = Field(default=False, description="Remove spaces at both ends")

    def text_schema(self, rule: CoreSchema) -> CoreSchema:
        """Return the schema of the text that is validated by a rule after its change of case and spaces."""
        if not (self.strip or self.case != "as_is"):
            return rule
        text = core_schema.str_schema(
            strip_whitespace=self.strip,
            to_upper=self.case == "upper",
            to_lower=self.case == "lower",
            coerce_numbers_to_str=True,
        )
        return core_schema.chain_schema([text, rule])


def check_pattern(pattern: str) -> str:
    """Return a pattern of SKUs. Raises ValueError if it is not a regular expression."""
    SkuRule(pattern).check()
    return pattern


class SkuSpec(TextFieldSpec):
    """The SKU, and the regular expression that all of it matches after the change of case and spaces.

    `pattern: any` accepts printable text of at most 255 characters; so does every other pattern at most.
    """

    pattern: Annotated[str, Field(min_length=1), AfterValidator(check_pattern)] = DEFAULT_PATTERN

    @property
    def rule(self) -> SkuRule:
        """The rule of the source's SKUs."""
        return SkuRule(self.pattern)


def _plain(number: Decimal) -> Decimal:
    """Return a factor in the shortest form, so that 12 and 12.0 are the same. Raises ValueError."""
    if number.adjusted() > MAX_DIGITS or number.adjusted() < -MAX_DIGITS:
        raise ValueError(f"a factor has at most {MAX_DIGITS} digits before or after its decimal point")
    return Decimal(int(number)) if number == number.to_integral_value() else number.normalize()


Factor = Annotated[
    Decimal, Field(gt=0, allow_inf_nan=False, max_digits=2 * MAX_DIGITS), AfterValidator(_plain)
]


class UnitFactors(Part):
    """The base units in each unit of measure, such as `{by: uom, values: {EA: 1, CS: 12}}`.

    A unit of measure may be a number or text: 261 equals "261". A record with any other one is rejected.
    """

    by: DottedPath = Field(description="Path of the unit of measure")
    values: Annotated[dict[str, Factor], Field(min_length=1)]

    @field_validator("values", mode="before")
    @classmethod
    def _units_differ(cls, values: Any) -> Any:
        """Return the values by text. A number and its text are the same unit."""
        if not isinstance(values, Mapping):
            return values
        texts = [str(unit) for unit in values if isinstance(unit, str | int) and not isinstance(unit, bool)]
        if len(texts) < len(values):
            raise ValueError("a unit of measure is text or a whole number")
        if twice := sorted({text for text in texts if texts.count(text) > 1}):
            raise ValueError(f"{', '.join(twice)} is given twice: a number equals its text")
        return dict(zip(texts, values.values(), strict=True))


class UnitsSpec(FieldSpec):
    """The units, their sign and their conversion to base units.

    Use `negate` if the source reports outbound movements as negative numbers. The number is multiplied by
    `factor`, exactly. If the result is not whole, the record is rejected, or the result rounded: to the
    nearest whole number, a half up, or up to the next one.
    """

    sign: Literal["as_is", "negate", "abs"] = "as_is"
    factor: Annotated[
        Annotated[Factor, Tag("number")] | Annotated[UnitFactors, Tag("by_unit")],
        Discriminator(lambda value: "by_unit" if isinstance(value, Mapping | UnitFactors) else "number"),
    ] = Field(default=Decimal(1), description="Base units in one of what is counted")
    rounding: Literal["reject", "nearest", "up"] = "reject"

    @model_validator(mode="after")
    def _constant_is_in_base_units(self) -> Self:
        if self.const is not None and self.is_converted:
            raise ValueError("a constant is in base units: remove sign, factor and rounding")
        return self

    @property
    def is_converted(self) -> bool:
        """Whether the units may differ from the number received."""
        return self.sign != "as_is" or self.factor != Decimal(1) or self.rounding != "reject"

    @property
    def unit_path(self) -> DottedPath | None:
        """The path of the unit of measure, if the factor depends on it."""
        return self.factor.by if isinstance(self.factor, UnitFactors) else None


class DirectionSpec(FieldSpec):
    """Whether units came in or went out, which only classifies a movement.

    By lists of values, as in `{path: type, in: [GR], out: [PICK, "261"]}`, or by sign, as in
    `{path: qty, negative: out}`: then positive numbers mean the other one. Any other value means neither.
    `{const: out}` applies to all records.
    """

    in_: tuple[Scalar, ...] = Field(default=(), alias="in")
    out: tuple[Scalar, ...] = ()
    negative: Literal["in", "out"] | None = Field(default=None, description="What a negative number means")

    @model_validator(mode="after")
    def _has_one_form(self) -> Self:
        forms = [self.const is not None, bool(self.in_ or self.out), self.negative is not None]
        if sum(forms) != 1:
            raise ValueError("give the values that mean in or out, or what negative means, or a const")
        if both := [value for value in self.in_ if comparison_keys(value) & self._keys(self.out)]:
            raise ValueError(f"{sorted(map(str, both))} cannot mean both in and out")
        return self

    @property
    def meanings(self) -> dict[object, str]:
        """The direction by each key of the values that mean one."""
        return dict.fromkeys(self._keys(self.in_), "in") | dict.fromkeys(self._keys(self.out), "out")

    @staticmethod
    def _keys(values: tuple[Scalar, ...]) -> frozenset[object]:
        return frozenset().union(*map(comparison_keys, values))


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

    sku_id: SkuSpec = SkuSpec(path=("sku_id",))
    warehouse_id: FieldSpec = FieldSpec(path=("warehouse_id",))
    units_moved: UnitsSpec = UnitsSpec(path=("units_moved",))
    timestamp_utc: TimestampSpec = TimestampSpec(path=("timestamp_utc",))
    movement_id: FieldSpec | None = None
    movement_type: FieldSpec | None = None
    order_id: FieldSpec | None = None
    location_id: FieldSpec | None = None
    unit_of_measure: FieldSpec | None = None
    direction: DirectionSpec | None = None


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
        similar = suggestion(name, available_timezones()) if "/" in name else ""  # CEST is not like EST
        question = similar or "give an IANA name such as Europe/Berlin"
        raise ValueError(f"unknown time zone {name!r}: {question}") from error
    return name

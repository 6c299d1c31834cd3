"""The spec of an item's fields in an ERP's master: their paths in a record and their formats."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any, Self

from pydantic import AfterValidator, Field, ValidationError, model_validator
from pydantic_core import PydanticCustomError, SchemaValidator, core_schema

from sku_velocity.model.item import ItemStatus
from sku_velocity.model.sku import ANY, SkuRule
from sku_velocity.source.comparison import comparison_keys
from sku_velocity.source.fields import FieldSpec, RecordFields, SkuSpec, TextFieldSpec, check_pattern
from sku_velocity.spec_file import DottedPath, Scalar


class AliasesSpec(TextFieldSpec):
    """The aliases of an item: a list of strings, a list of objects with one each, or one string to split.

    Without `pattern`, an alias may be any text that is not blank.
    """

    each: DottedPath | None = Field(default=None, description="Path of the name in each object of the list")
    split: str | None = Field(default=None, min_length=1, description="Separator of the names in one string")
    pattern: Annotated[str, Field(min_length=1), AfterValidator(check_pattern)] | None = Field(
        default=None, description="As in sku_id: an item with another alias is rejected"
    )

    @model_validator(mode="after")
    def _has_one_form(self) -> Self:
        if not self.path:
            raise ValueError("aliases are read from a path: give path")
        if self.each and self.split:
            raise ValueError("give each for a list of objects, or split for one string, not both")
        return self


class StatusSpec(FieldSpec):
    """Whether an item is in use: the values that mean active, and those that mean retired.

    If only one list is given, any other value means the other state; if both are, it is a reject.
    """

    active: tuple[Scalar, ...] = ()
    retired: tuple[Scalar, ...] = ()

    @model_validator(mode="after")
    def _values_differ(self) -> Self:
        if self.const is None and not (self.active or self.retired):
            raise ValueError("give the values that mean active, those that mean retired, or both")
        retired = frozenset().union(*map(comparison_keys, self.retired))
        if both := [value for value in self.active if comparison_keys(value) & retired]:
            raise ValueError(f"{sorted(map(str, both))} cannot mean both active and retired")
        return self


class ItemsSpec(RecordFields):
    """The fields of a master's item and their paths in a record."""

    sku_id: SkuSpec = SkuSpec(path=("sku_id",))
    aliases: AliasesSpec | None = None
    status: StatusSpec = StatusSpec(path=("status",), active=("active",), retired=("retired",))
    description: FieldSpec | None = None
    unit_volume: FieldSpec | None = None
    weight: FieldSpec | None = None
    units_per_case: FieldSpec | None = None
    units_per_pallet: FieldSpec | None = None


def status_reader(spec: StatusSpec) -> Callable[[Any], ItemStatus]:
    """Return a function that parses a status; the message of its error becomes the reason of a reject."""
    values = [(value, ItemStatus.ACTIVE) for value in spec.active]
    values += [(value, ItemStatus.RETIRED) for value in spec.retired]
    meanings = {key: meaning for value, meaning in values for key in comparison_keys(value)}
    other = None
    if not spec.retired or not spec.active:
        other = ItemStatus.RETIRED if spec.active else ItemStatus.ACTIVE
    known = ", ".join(f"{value} ({meaning})" for value, meaning in values)

    def read(value: Any) -> ItemStatus:
        keys = comparison_keys(value)
        status = next((meanings[key] for key in keys if key in meanings), other if keys else None)
        if status is None:
            raise _invalid(f"must be one of {known}")
        return status

    return read


def aliases_reader(spec: AliasesSpec, look_up: Callable[[Any, str], Any]) -> Callable[[Any], tuple[str, ...]]:
    """Return a function that parses distinct, non-blank names; its error becomes the reason of a reject."""

    rule = core_schema.str_schema() if spec.pattern is None else SkuRule(spec.pattern).schema()
    text = SchemaValidator(spec.text_schema(rule))

    def parts(value: Any) -> list[Any]:
        if spec.split and isinstance(value, str | int):
            return [part.strip() for part in str(value).split(spec.split)]
        if spec.split or not isinstance(value, list):
            form = f"one string of names separated by {spec.split!r}" if spec.split else "a list of names"
            raise _invalid(f"must be {form} (items.aliases in the spec)")
        return value if spec.each is None else [look_up(part, spec.each) for part in value]

    def read(value: Any) -> tuple[str, ...]:
        names = [] if value is None else parts(value)
        strings = (_name(name) for name in names if name is not None)
        return tuple(dict.fromkeys(converted(name) for name in strings if name.strip()))

    def converted(name: str) -> str:
        try:
            text_of: str = text.validate_python(name)
        except ValidationError as error:
            raise _invalid(f"each name {SkuRule(spec.pattern or ANY).message}") from error
        return text_of

    return read


def _name(value: Any) -> str:
    if isinstance(value, bool) or not isinstance(value, str | int) or "\x00" in str(value):
        raise _invalid("each name must be a string or an integer")
    return str(value)


def _invalid(message: str) -> PydanticCustomError:
    return PydanticCustomError("item", "{message}", {"message": message})

"""Where a record of an ERP's master holds each field of an item, and how it is written, as data."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Self

from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from sku_velocity.model.item import ItemStatus
from sku_velocity.source.fields import FieldSpec, RecordFields
from sku_velocity.spec_file import DottedPath, Scalar


class AliasesSpec(FieldSpec):
    """The other names of an item: a list of texts, or of objects that hold one, or one text to be cut."""

    each: DottedPath | None = Field(default=None, description="Where each object of the list holds the name")
    split: str | None = Field(default=None, min_length=1, description="What stands between names in one text")

    @model_validator(mode="after")
    def _has_one_form(self) -> Self:
        if not self.path:
            raise ValueError("the names of an item stand at a path: give path")
        if self.each and self.split:
            raise ValueError("give each for a list of objects, or split for one text, not both")
        return self


class StatusSpec(FieldSpec):
    """Whether an item is in use: the values that say so, and those that say that it is not.

    Where only one of the two is given, any other value is the other state; where both are, it is a reject.
    """

    active: tuple[Scalar, ...] = ()
    retired: tuple[Scalar, ...] = ()

    @model_validator(mode="after")
    def _values_differ(self) -> Self:
        if self.const is None and not (self.active or self.retired):
            raise ValueError("give the values that mean active, those that mean retired, or both")
        if both := set(self.active) & set(self.retired):
            raise ValueError(f"{sorted(map(str, both))} cannot mean both active and retired")
        return self


class ItemsSpec(RecordFields):
    """Where in a record each field of an item of the master stands."""

    sku_id: FieldSpec = FieldSpec(path=("sku_id",))
    aliases: AliasesSpec | None = None
    status: StatusSpec = StatusSpec(path=("status",), active=("active",), retired=("retired",))
    description: FieldSpec | None = None
    unit_volume: FieldSpec | None = None


def status_reader(spec: StatusSpec) -> Callable[[Any], ItemStatus]:
    """Reads a told value as a status; what it raises becomes the reason of a reject."""
    meanings = dict.fromkeys(spec.active, ItemStatus.ACTIVE) | dict.fromkeys(spec.retired, ItemStatus.RETIRED)
    other = None
    if not spec.retired or not spec.active:
        other = ItemStatus.RETIRED if spec.active else ItemStatus.ACTIVE
    known = ", ".join(f"{value} ({meaning})" for value, meaning in meanings.items())

    def read(told: Any) -> ItemStatus:
        is_scalar = told is None or isinstance(told, str | int | float)
        status = meanings.get(told, other) if is_scalar else None
        if status is None:
            raise _refused(f"must be one of {known}")
        return status

    return read


def aliases_reader(spec: AliasesSpec, look_up: Callable[[Any, str], Any]) -> Callable[[Any], tuple[str, ...]]:
    """Reads what is told as names, each once and no blank ones; what it raises becomes a reject's reason."""

    def parts(told: Any) -> list[Any]:
        if spec.split and isinstance(told, str | int):
            return [part.strip() for part in str(told).split(spec.split)]
        if spec.split or not isinstance(told, list):
            form = f"one text of names with {spec.split!r} between" if spec.split else "a list of names"
            raise _refused(f"must be {form} (items.aliases in the spec)")
        return told if spec.each is None else [look_up(part, spec.each) for part in told]

    def read(told: Any) -> tuple[str, ...]:
        names = [] if told is None else parts(told)
        told_names = (_name(name) for name in names if name is not None)
        return tuple(dict.fromkeys(name for name in told_names if name.strip()))

    return read


def _name(told: Any) -> str:
    if isinstance(told, bool) or not isinstance(told, str | int) or "\x00" in str(told):
        raise _refused("each name must be a text or a whole number")
    return str(told)


def _refused(message: str) -> PydanticCustomError:
    return PydanticCustomError("item", message.replace("{", "(").replace("}", ")"))

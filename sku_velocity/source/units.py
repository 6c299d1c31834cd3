"""Converts a quantity of packages to whole base units, with exact decimals."""

from __future__ import annotations

import re
from collections.abc import Callable
from decimal import ROUND_CEILING, ROUND_HALF_UP, Context, Decimal
from typing import Any

from pydantic_core import PydanticCustomError

from sku_velocity.model.movement import MAX_UNITS
from sku_velocity.source.comparison import MAX_BITS, comparison_keys
from sku_velocity.source.fields import UnitFactors, UnitsSpec
from sku_velocity.text import printable, shorten

MAX_CHARACTERS = 400  # of a number
MAX_DIGITS = 100  # before the decimal point; no real number of units comes near it
SHOWN_UNIT = 40  # characters
EXACT = Context(prec=2 * MAX_CHARACTERS + MAX_DIGITS)
ROUNDING = {"nearest": ROUND_HALF_UP, "up": ROUND_CEILING}
_NUMBER = re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?", re.ASCII)
_SIGNED = {"as_is": ", 0 or more", "negate": ", 0 or less: sign is negate", "abs": ""}

Reader = Callable[[Any, Any], int]


def to_number(value: Any) -> Decimal | None:
    """Parse a number or its text exactly. Return None if it is neither, or inexact, or absurdly long."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    if isinstance(value, int) and value.bit_length() > MAX_BITS:
        return None
    if isinstance(value, float) and not abs(value) < 2**53:  # may not be the number that was sent
        return None
    text = str(value).strip()
    if len(text) > MAX_CHARACTERS or not _NUMBER.fullmatch(text):
        return None
    number = Decimal(text)
    if not number:
        return Decimal(0)
    return number if abs(number.adjusted()) <= MAX_DIGITS else None


def units_reader(spec: UnitsSpec) -> Reader:
    """Return a function that converts a quantity, and its unit of measure, to whole base units.

    The message of its error becomes the reason of a reject.
    """
    factor_of = _factors(spec.factor) if isinstance(spec.factor, UnitFactors) else None
    constant = spec.factor if isinstance(spec.factor, Decimal) else Decimal(1)
    rounding, sign, message = ROUNDING.get(spec.rounding), spec.sign, _rule_of(spec)

    def read(value: Any, unit: Any) -> int:
        number = to_number(value)
        if number is None:
            raise _invalid(message)
        number = EXACT.multiply(number, constant if factor_of is None else factor_of(unit))
        if sign != "as_is":
            number = number.copy_abs() if sign == "abs" else number.copy_negate()
        whole = number.to_integral_value(rounding)
        if number < 0 or whole > MAX_UNITS or (rounding is None and whole != number):
            raise _invalid(message)
        return int(whole)

    return read


def _rule_of(spec: UnitsSpec) -> str:
    number = "a whole number" if spec.rounding == "reject" else "a number"
    product = "" if spec.factor == 1 else ", once multiplied by the factor"
    return f"must be {number} of units{product}{_SIGNED[spec.sign]}"


def _factors(spec: UnitFactors) -> Callable[[Any], Decimal]:
    known = {key: factor for unit, factor in spec.values.items() for key in comparison_keys(unit)}

    def factor_of(unit: Any) -> Decimal:
        for key in comparison_keys(unit):
            if key in known:
                return known[key]
        if unit is None:
            raise _invalid(f"has no unit of measure at {spec.by}, and so no factor")
        shown = shorten(printable(str(unit)), SHOWN_UNIT)
        raise _invalid(f"the unit of measure {shown} ({spec.by}) is not in fields.units_moved.factor.values")

    return factor_of


def _invalid(message: str) -> PydanticCustomError:
    return PydanticCustomError("units", "{message}", {"message": message})

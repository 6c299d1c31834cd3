"""Parses a source's times into instants; a time that is invalid or ambiguous is a reject."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import ROUND_FLOOR, Context, Decimal, InvalidOperation
from typing import Any
from zoneinfo import ZoneInfo

from pydantic_core import CoreSchema, PydanticCustomError, core_schema

from sku_velocity.model.window_grid import first_instant
from sku_velocity.source.fields import TimestampSpec
from sku_velocity.source.time_format import DAY, AmbiguousTimeError, TimeFormat

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MICROSECONDS = {"seconds": 10**6, "milliseconds": 10**3}
MAX_DIGITS = 20  # before the decimal point; no instant has more
# Down, as everywhere: a time rounded up over a border would be in neither of two adjacent windows.
ROUND_DOWN = Context(prec=60, rounding=ROUND_FLOOR)
# Milliseconds since 1970 in UTC; the offset after them, in minutes, is only for display (OData v2, JSON).
ODATA_V2 = re.compile(r"/Date\((-?\d+)(?:[+-]\d{1,4})?\)/", re.ASCII)
ISO = re.compile(
    r"(\d{4}-\d\d-\d\d)[Tt ](\d{1,2})(:\d\d(?::\d\d)?)((?<=:\d\d:\d\d)[.,]\d+)?"
    r"([Zz]|[+\u2212-]\d\d(?::?[0-5]\d)?)?",
    re.ASCII,
)
# The usual ISO 8601 text: within the bounds of every store, with an offset, and with nothing to round.
NATIVE_ISO = (
    r"^[1-8][0-9]{3}-[0-9]{2}-[0-9]{2}[Tt ][0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]{1,6})?"
    r"([Zz]|[+-][0-9]{2}:[0-5][0-9])$"
)


def instant_reader(spec: TimestampSpec) -> Callable[[Any], datetime]:
    """Return a function that parses a value into an instant; its error becomes the reason of a reject."""
    zone = ZoneInfo(spec.assume_timezone) if spec.assume_timezone else None
    match spec.format:
        case "epoch_s":
            return lambda value: _since_epoch(value, "seconds")
        case "epoch_ms":
            return lambda value: _since_epoch(value, "milliseconds")
        case "odata_v2":
            return _odata_v2
        case "iso":
            return lambda value: _in_zone(_iso(value), zone)
        case form:
            time_format = TimeFormat.of(form)
            is_date = time_format.grain == DAY
            return lambda value: _in_zone(_by_format(value, time_format), zone, is_date)


def native_iso() -> CoreSchema:
    """Return the schema of the usual ISO 8601 text, which it parses without code of ours."""
    return core_schema.chain_schema(
        [
            core_schema.str_schema(pattern=NATIVE_ISO, strict=True),
            core_schema.no_info_plain_validator_function(datetime.fromisoformat),
        ]
    )


def _since_epoch(value: Any, unit: str) -> datetime:
    try:
        if isinstance(value, bool) or not isinstance(value, int | float | str):
            raise ValueError("not a number")
        number = Decimal(str(value))
        if not number.is_finite() or number.adjusted() > MAX_DIGITS:
            raise ValueError("not an instant")
        microseconds = ROUND_DOWN.multiply(number, Decimal(MICROSECONDS[unit]))
        return EPOCH + timedelta(microseconds=int(microseconds.to_integral_value(ROUND_FLOOR)))
    except (InvalidOperation, ValueError, OverflowError) as error:
        raise _invalid(f"must be a number of {unit} since 1970") from error


def _odata_v2(value: Any) -> datetime:
    if isinstance(value, str) and (match := ODATA_V2.fullmatch(value)):
        return _since_epoch(match[1], "milliseconds")
    raise _invalid("must be a time such as /Date(1772352000000)/")


def _iso(value: Any) -> datetime:
    match = ISO.fullmatch(value) if isinstance(value, str) else None
    try:
        if match is None:
            raise ValueError("another format")
        day, hour, rest, fraction, zone = match.groups(default="")
        return datetime.fromisoformat(
            f"{day}T{hour:0>2}{rest}"
            + fraction.replace(",", ".")[:7]
            + zone.upper().replace("\N{MINUS SIGN}", "-")
        )
    except ValueError as error:
        raise _invalid(
            "must be a valid ISO 8601 date and time, as a string such as 2026-03-01T08:30:00Z"
        ) from error


def _by_format(value: Any, time_format: TimeFormat) -> datetime:
    try:
        return time_format.read(str(value))
    except AmbiguousTimeError as error:
        raise _invalid(
            f"is ambiguous: its digits can be split differently in the format {time_format.form}"
        ) from error
    except (ValueError, OverflowError) as error:
        names = " (%Z reads only GMT, UTC and Z)" if "%Z" in time_format.form else ""
        raise _invalid(f"must be a time in the format {time_format.form}{names}") from error


def _in_zone(moment: datetime, zone: ZoneInfo | None, is_date: bool = False) -> datetime:
    """Convert a wall time to an instant; a date to the start of its day.

    A time that a clock change repeats or skips is rejected.
    """
    if moment.tzinfo is not None:
        return moment
    if zone is None:
        raise _invalid("has no time zone, and fields.timestamp_utc.assume_timezone is not set")
    first, second = (moment.replace(tzinfo=zone, fold=fold) for fold in (0, 1))
    if first.utcoffset() == second.utcoffset():
        return first
    if is_date:
        return first_instant(moment, zone)
    exists = first.astimezone(UTC).astimezone(zone).replace(tzinfo=None) == moment
    raise _invalid(
        f"{'occurs twice' if exists else 'does not exist'} in {zone.key} because of a clock change"
    )


def _invalid(message: str) -> PydanticCustomError:
    return PydanticCustomError("timestamp", message.replace("{", "(").replace("}", ")"))

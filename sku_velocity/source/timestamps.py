"""From what a source tells as time to an instant; what stands for none, or for two, is a reject."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from pydantic_core import PydanticCustomError

from sku_velocity.source.fields import TimestampSpec

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
# Milliseconds since 1970 in UTC; the offset behind them, in minutes, is for display (OData v2, JSON format).
ODATA_V2 = re.compile(r"/Date\((-?\d+)(?:[+-]\d{1,4})?\)/")
ISO = re.compile(r"(\d{4}-\d\d-\d\d)[Tt ](\d{1,2})(:\d\d(?::\d\d)?)([.,]\d+)?([Zz]|[+-]\d\d:?\d\d)?")


def instant_reader(spec: TimestampSpec) -> Callable[[Any], datetime]:
    """Reads one told value as an instant; what it raises becomes the reason of a reject."""
    zone = ZoneInfo(spec.assume_timezone) if spec.assume_timezone else None
    match spec.format:
        case "epoch_s":
            return lambda told: _since_epoch(told, timedelta(seconds=1))
        case "epoch_ms":
            return lambda told: _since_epoch(told, timedelta(milliseconds=1))
        case "odata_v2":
            return _odata_v2
        case "iso":
            return lambda told: _in_zone(_iso(told), zone)
        case pattern:
            return lambda told: _in_zone(_by_pattern(told, pattern), zone)


def _since_epoch(told: Any, unit: timedelta) -> datetime:
    try:
        if isinstance(told, bool):
            raise ValueError("a truth value is no time")
        return EPOCH + float(told) * unit
    except (TypeError, ValueError, OverflowError) as error:
        raise _refused(f"must be a number of {unit} since 1970") from error


def _odata_v2(told: Any) -> datetime:
    if isinstance(told, str) and (match := ODATA_V2.fullmatch(told)):
        return _since_epoch(match[1], timedelta(milliseconds=1))
    raise _refused("must be a time such as /Date(1772352000000)/")


def _iso(told: Any) -> datetime:
    match = ISO.fullmatch(told) if isinstance(told, str) else None
    try:
        if match is None:
            raise ValueError("another form")
        day, hour, rest, fraction, zone = match.groups(default="")
        return datetime.fromisoformat(
            f"{day}T{hour:0>2}{rest}" + fraction.replace(",", ".")[:7] + zone.upper()
        )
    except ValueError as error:
        raise _refused("must be an ISO 8601 time of a day that there is") from error


def _by_pattern(told: Any, pattern: str) -> datetime:
    try:
        return datetime.strptime(str(told), pattern)  # noqa: DTZ007  # its zone is the next step
    except ValueError as error:
        raise _refused(f"must be a time written as {pattern}") from error


def _in_zone(moment: datetime, zone: ZoneInfo | None) -> datetime:
    """A wall time as an instant; one that came twice or never, as clocks changed, is not guessed."""
    if moment.tzinfo is not None:
        return moment
    if zone is None:
        raise _refused("has no zone, and fields.timestamp_utc.assume_timezone names none")
    first, second = (moment.replace(tzinfo=zone, fold=fold) for fold in (0, 1))
    if first.utcoffset() == second.utcoffset():
        return first
    exists = first.astimezone(UTC).astimezone(zone).replace(tzinfo=None) == moment
    raise _refused(f"{'came twice' if exists else 'never came'} in {zone.key}, where clocks changed")


def _refused(message: str) -> PydanticCustomError:
    return PydanticCustomError("timestamp", message.replace("{", "(").replace("}", ")"))

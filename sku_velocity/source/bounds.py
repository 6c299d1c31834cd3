"""How a window's bounds are written for a source that compares in its own way."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from sku_velocity.model.window import Window, iso
from sku_velocity.source.spec import WindowSpec

DAY, MINUTE, SECOND = timedelta(days=1), timedelta(minutes=1), timedelta(seconds=1)
HALF_HOUR = timedelta(minutes=30)  # no clock is set back by a fraction of it


def written_bounds(window: Window, spec: WindowSpec) -> tuple[str, str]:
    """The bounds to ask for, so that no record of the window is left out; what is beyond them is trimmed.

    They are widened by the padding, to whole units of what the format can say (its grain), and by one such
    unit at the start where the source compares with `>`. At the end the source's `<` is enough.
    """
    grain, zone = _grain(spec.format), ZoneInfo(spec.timezone)
    pad = timedelta(seconds=spec.pad_seconds)
    start = window.start - pad - (timedelta(0) if spec.start_inclusive else max(grain, SECOND))
    end = window.end + pad
    if _has_wall_time(spec.format):
        start, end = _unambiguous(start, zone, -HALF_HOUR), _unambiguous(end, zone, HALF_HOUR)
    return (
        _write(_floor(start.astimezone(zone), grain), spec.format),
        _write(_ceil(end.astimezone(zone), grain), spec.format),
    )


def _grain(form: str) -> timedelta:
    if form == "date":
        return DAY
    if form == "epoch_s":
        return SECOND
    if form == "epoch_ms":
        return timedelta(milliseconds=1)
    if "%" not in form or "%f" in form:
        return timedelta(microseconds=1)
    if "%S" in form or "%T" in form or "%X" in form or "%c" in form:
        return SECOND
    return MINUTE if "%M" in form or "%R" in form else timedelta(hours=1) if "%H" in form else DAY


def _has_wall_time(form: str) -> bool:
    return form == "date" or ("%" in form and "%z" not in form)


def _unambiguous(instant: datetime, zone: ZoneInfo, step: timedelta) -> datetime:
    """The nearest instant in the direction of `step` whose wall time comes only once."""
    while True:
        wall = instant.astimezone(zone)
        if wall.replace(fold=0).utcoffset() == wall.replace(fold=1).utcoffset():
            return instant
        instant += step


def _floor(wall: datetime, grain: timedelta) -> datetime:
    if grain >= DAY:
        return wall.replace(hour=0, minute=0, second=0, microsecond=0)
    midnight = wall.replace(hour=0, minute=0, second=0, microsecond=0, tzinfo=None)
    past = wall.replace(tzinfo=None) - midnight
    return wall - past % grain


def _ceil(wall: datetime, grain: timedelta) -> datetime:
    floor = _floor(wall, grain)
    return floor if floor == wall else floor + grain


def _write(wall: datetime, form: str) -> str:
    match form:
        case "iso":
            return iso(wall) if wall.tzinfo is None or wall.utcoffset() == timedelta(0) else wall.isoformat()
        case "date":
            return wall.date().isoformat()
        case "epoch_s":
            return str(_since_epoch(wall) // SECOND)
        case "epoch_ms":
            return str(_since_epoch(wall) // timedelta(milliseconds=1))
        case _:
            return wall.strftime(form)


def _since_epoch(wall: datetime) -> timedelta:
    return wall - datetime(1970, 1, 1, tzinfo=UTC)

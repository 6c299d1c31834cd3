"""Window bounds, formatted for the way a source compares times."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from zoneinfo import ZoneInfo

from sku_velocity.model.movement import EARLIEST, LATEST
from sku_velocity.model.window import Window, iso
from sku_velocity.source.spec import WindowSpec
from sku_velocity.source.time_format import MICROSECOND, SECOND, TimeFormat, floor

MILLISECOND = timedelta(milliseconds=1)
DAY = timedelta(days=1)
HALF_HOUR = timedelta(minutes=30)  # no clock is changed by a fraction of it
DATE = "%Y-%m-%d"


def written_bounds(window: Window, spec: WindowSpec) -> tuple[str, str]:
    """Return the bounds to request, so that no record of the window is missed; extra records are trimmed.

    The bounds are widened by the padding, to whole units of the format's resolution (its grain), and by one
    such unit, or a second, at the start if the source compares with `>`. At the end its `<` is enough.
    """
    pad = timedelta(seconds=spec.pad_seconds)
    return _bound(window.start - pad, spec, is_end=False), _bound(window.end + pad, spec, is_end=True)


def written_since(instant: datetime, spec: WindowSpec) -> str:
    """Return an instant to ask for changes since, so that none after it is missed."""
    return _bound(instant - timedelta(seconds=spec.pad_seconds), spec, is_end=False)


def requested_window(window: Window, spec: WindowSpec, sent_bounds: tuple[bool, bool]) -> Window:
    """Return the stretch of time that the answer to a request for the window may cover, at most.

    It has no end on a side whose bound is not sent.
    """
    slack = timedelta(seconds=spec.pad_seconds) + 2 * max(_grain(spec.format), SECOND)
    zone = ZoneInfo(spec.timezone)
    nearby = (window.start - slack - DAY, window.end + slack + DAY)
    if len({instant.astimezone(zone).utcoffset() for instant in nearby}) > 1:
        slack += 4 * HALF_HOUR  # a bound that a clock change repeats or skips is moved outward
    has_start, has_end = sent_bounds
    return Window(window.start - slack if has_start else EARLIEST, window.end + slack if has_end else LATEST)


def _grain(form: str) -> timedelta:
    match form:
        case "epoch_s":
            return SECOND
        case "epoch_ms":
            return MILLISECOND
        case "iso":
            return MICROSECOND
        case _:
            return _time_format(form).grain


def _time_format(form: str) -> TimeFormat:
    return TimeFormat.of(DATE if form == "date" else form)


def _bound(instant: datetime, spec: WindowSpec, *, is_end: bool) -> str:
    """Return a bound at the instant, or the nearest one outside the window that the format can write."""
    zone, grain = ZoneInfo(spec.timezone), _grain(spec.format)
    step = timedelta(0) if is_end or spec.start_inclusive else max(grain, SECOND)
    if spec.format in ("epoch_s", "epoch_ms"):
        past = _outward(instant.astimezone(UTC), grain, is_end) - step - datetime(1970, 1, 1, tzinfo=UTC)
        return str(past // grain)
    local = instant.astimezone(zone)
    if spec.format == "iso":
        local = (instant - step).astimezone(zone)
        return iso(local) if local.utcoffset() == timedelta(0) else local.isoformat()
    time_format = _time_format(spec.format)
    if time_format.has_zone:  # rounded at its own offset: a repeated hour is not taken for the other
        at_offset = instant.astimezone(timezone(local.utcoffset() or timedelta(0)))
        return time_format.write(_outward(at_offset, grain, is_end) - step)
    while not _occurs_once(
        wall := _outward(instant.astimezone(zone).replace(tzinfo=None), grain, is_end), zone
    ):
        instant += HALF_HOUR if is_end else -HALF_HOUR
    wall -= step  # in wall time: a day may have 25 hours
    while not _occurs_once(wall, zone):
        wall = floor(wall - HALF_HOUR, grain)
    return time_format.write(wall)


def _outward(wall: datetime, grain: timedelta, is_end: bool) -> datetime:
    below = floor(wall, grain)
    return below if below == wall or not is_end else below + grain


def _occurs_once(wall: datetime, zone: ZoneInfo) -> bool:
    """Return True if no clock change repeats or skips a wall time."""
    first, second = (wall.replace(tzinfo=zone, fold=fold).utcoffset() for fold in (0, 1))
    return first == second

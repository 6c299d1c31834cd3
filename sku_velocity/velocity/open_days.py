"""The days on which a warehouse works, by its movements: rates and variation count no others."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date

import numpy as np
import numpy.typing as npt

from sku_velocity.model.velocity import WEEKDAYS, Weekday

Shares = npt.NDArray[np.float64]

QUIET = 0.05  # of the median day's lines: fewer are a correction, not a working day


def open_shares(
    lines: Sequence[int] | npt.NDArray[np.int64],
    published: Sequence[float],
    dates: Sequence[date],
    weekdays: Sequence[Weekday] | None = None,
) -> Shares:
    """Return the published share of each day on which the warehouse works, 0 for the other days.

    `lines` are those of each day. A day is open if its lines, projected to a whole day, reach 5% of the
    median of the days that have lines; or if it is one of these `weekdays`. A day that is not published has
    no share, so that it is neither open nor closed.
    """
    shares = np.asarray(published, dtype=np.float64)
    if weekdays is not None:
        is_open = np.array([WEEKDAYS[day.weekday()] in weekdays for day in dates], dtype=bool)
        return np.where(is_open, shares, 0.0)
    projected = np.divide(lines, shares, out=np.zeros(len(shares)), where=shares > 0)
    busy = projected[projected > 0]
    if not len(busy):
        return np.zeros(len(shares))
    return np.where(projected >= QUIET * np.median(busy), shares, 0.0)

"""The settle lag: how long to wait after a window's end, so that late records are in it."""

from __future__ import annotations

from datetime import timedelta

SETTLE_MINUTES = 10
SETTLE_LAG = timedelta(minutes=SETTLE_MINUTES)

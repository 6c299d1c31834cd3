"""Waiting for another process."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

TIMEOUT = 240.0  # seconds


def until(find: Callable[[], T | None], timeout: float = TIMEOUT) -> T:
    """Call `find` until its result is not empty, and return it. Raises AssertionError after the timeout."""
    deadline = time.monotonic() + timeout
    while time.monotonic() < deadline:
        if found := find():
            return found
        time.sleep(0.2)
    raise AssertionError(f"{find} found nothing within {timeout:g} s")

"""Waiting for what another process does in its own time."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

PATIENCE = 240.0  # seconds


def until(look: Callable[[], T | None], patience: float = PATIENCE) -> T:
    """What `look` finds, once it finds something. Raises AssertionError where it never does."""
    deadline = time.monotonic() + patience
    while time.monotonic() < deadline:
        if found := look():
            return found
        time.sleep(0.2)
    raise AssertionError(f"nothing came of {look} within {patience:g} s")

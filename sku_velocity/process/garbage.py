"""Tuning of Python's cyclic garbage collector for pages: thousands of containers, none in a cycle."""

import gc
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Lock

# New containers between two collections: about five pages. Python's default of 700 is a fifth of one.
YOUNG_THRESHOLD = 20_000

_lock = Lock()
_thresholds: list[tuple[int, int, int]] = []  # the threshold before, of each that is relaxing it
_clean = 0  # objects that were frozen first, or after the last full collection of ours


@contextmanager
def relaxed_collection() -> Iterator[None]:
    """Make this process's collector run less often while pages are read: it finds nothing in them.

    At the default threshold it spends a quarter of the CPU traversing records that are still in use. Memory
    that is in no cycle is freed immediately, as always. The usual threshold returns with the last of several.
    """
    with _lock:
        usual = _thresholds[0] if _thresholds else gc.get_threshold()
        _thresholds.append(usual)
        gc.set_threshold(YOUNG_THRESHOLD, *usual[1:])
    try:
        yield
    finally:
        with _lock:
            _thresholds.pop()
            if not _thresholds:
                gc.set_threshold(*usual)


@contextmanager
def frozen_objects() -> Iterator[None]:
    """Leave what exists now out of every collection.

    With Prefect and pydantic imported that is half a million objects: a full collection would stop the event
    loop for 0.15 s, and with it the pace. Nothing changes if this process has frozen objects before.
    """
    is_ours = not gc.get_freeze_count()
    if is_ours:
        _freeze()
    try:
        yield
    finally:
        if is_ours:
            gc.unfreeze()


def _freeze() -> None:
    """Freeze all objects, after a full collection if they have grown by a quarter since the last one.

    That is Python's own rule for a full collection, which a freeze makes it forget.
    """
    global _clean
    gc.freeze()
    if _clean and gc.get_freeze_count() > _clean * 1.25:
        gc.unfreeze()
        gc.collect()
        gc.freeze()
        _clean = 0
    _clean = _clean or gc.get_freeze_count()

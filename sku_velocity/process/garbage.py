"""Tuning of Python's cyclic garbage collector for pages: thousands of containers, none in a cycle."""

import gc
from collections.abc import Iterator
from contextlib import contextmanager

# New containers between two collections: about five pages. Python's default of 700 is a fifth of one.
YOUNG_THRESHOLD = 20_000


@contextmanager
def relaxed_collection() -> Iterator[None]:
    """Make this process's collector run less often while pages are read: it finds nothing in them.

    At the default threshold it spends a quarter of the CPU traversing records that are still in use. Memory
    that is in no cycle is freed immediately, as always.
    """
    usual = gc.get_threshold()
    gc.set_threshold(YOUNG_THRESHOLD, *usual[1:])
    try:
        yield
    finally:
        gc.set_threshold(*usual)


@contextmanager
def frozen_objects() -> Iterator[None]:
    """Leave what exists now out of every collection.

    With Prefect and pydantic imported that is half a million objects: a full collection would stop the event
    loop for 0.15 s, and with it the pace. Nothing changes if this process has frozen objects before.
    """
    is_ours = not gc.get_freeze_count()
    if is_ours:
        gc.freeze()
    try:
        yield
    finally:
        if is_ours:
            gc.unfreeze()

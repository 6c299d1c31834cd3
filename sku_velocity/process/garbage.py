"""Python's collector of cyclic garbage, told that pages come: thousands of containers, none in a cycle."""

import gc
from collections.abc import Iterator
from contextlib import contextmanager

# New containers between two looks: some five pages' worth. Python's own 700 are a fifth of one.
YOUNG = 20_000


@contextmanager
def relaxed_collection() -> Iterator[None]:
    """Let the collector of this process look less often while pages are read: it finds nothing in them.

    At its usual pace a quarter of the CPU goes into walking over records that are still in use. Memory that
    no cycle holds is given back at once, as always.
    """
    usual = gc.get_threshold()
    gc.set_threshold(YOUNG, *usual[1:])
    try:
        yield
    finally:
        gc.set_threshold(*usual)

"""Files that appear whole: each is written under a hidden name, and moved into place when it is complete."""

from __future__ import annotations

import fcntl
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import uuid4

_NAME = re.compile(r"\.sku-velocity-(\d{8})-[0-9a-f]{32}\.tmp")


@contextmanager
def part_file(directory: Path) -> Iterator[Path]:
    """Yield the path of a new hidden file in a directory. If it is still there on exit, it is deleted.

    First deletes the hidden files that killed processes left in the directory: a process locks its file,
    and the kernel releases the lock when the process ends.
    """
    _delete_abandoned(directory)
    path, descriptor = _create(directory)
    try:
        yield path
    finally:
        path.unlink(missing_ok=True)
        os.close(descriptor)


def is_outdated(name: str, now: datetime) -> bool:
    """Return True for the name of a hidden file from two days ago or earlier, where no lock can be seen."""
    found = _NAME.fullmatch(name)
    return found is not None and found[1] < f"{now - timedelta(days=1):%Y%m%d}"


def _create(directory: Path) -> tuple[Path, int]:
    while True:
        path = directory / f".sku-velocity-{datetime.now(UTC):%Y%m%d}-{uuid4().hex}.tmp"
        descriptor = os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o644)
        with suppress(OSError):  # a file system without locks: there, nothing is ever deleted either
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        if path.exists():  # else another process deleted it before it was locked
            return path, descriptor
        os.close(descriptor)


def _delete_abandoned(directory: Path) -> None:
    for path in directory.iterdir():
        if _NAME.fullmatch(path.name):
            with suppress(OSError):  # locked by a live process, another user's, or gone
                _delete_if_unlocked(path)


def _delete_if_unlocked(path: Path) -> None:
    descriptor = os.open(path, os.O_RDWR | os.O_NOFOLLOW)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        path.unlink()
    finally:
        os.close(descriptor)

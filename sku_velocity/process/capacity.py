"""The number of requests in flight that the machine or the container can handle."""

from __future__ import annotations

import os
from pathlib import Path

MAX_IN_FLIGHT = 12
IN_FLIGHT_PER_CORE = 12  # a page costs about 10 ms of a core: 12 are more than it can use
COPIES_OF_A_PAGE = 4  # bytes of memory per byte received: the body, its records, their rows
CGROUP = Path("/sys/fs/cgroup")


def affordable_concurrency(max_page_bytes: int, cgroup: Path = CGROUP) -> int:
    """Return the number of requests in flight, from 1 to 12, that the cores and half of the memory allow.

    The limits are those of the cgroup (v2, or v1 if its files exist); without one, the machine's cores
    count, and its memory is assumed to suffice.
    """
    by_cores = int(IN_FLIGHT_PER_CORE * cores(cgroup))
    memory = memory_limit(cgroup)
    by_memory = MAX_IN_FLIGHT if memory is None else memory // 2 // (COPIES_OF_A_PAGE * max_page_bytes)
    return max(1, min(MAX_IN_FLIGHT, by_cores, by_memory))


def cores(cgroup: Path = CGROUP) -> float:
    """Return the number of cores that this process may use; a cgroup's quota may be a fraction of one."""
    present = float(len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1)
    quota, period = _cpu_quota(cgroup)
    return min(present, quota / period) if quota > 0 and period > 0 else present


def memory_limit(cgroup: Path = CGROUP) -> int | None:
    """Return the bytes that the cgroup may use, or None if it has no limit."""
    limit = _number(_read(cgroup / "memory.max") or _read(cgroup / "memory/memory.limit_in_bytes"))
    return limit if 0 < limit < 2**60 else None  # v1 expresses "no limit" as a number near 2**63


def _cpu_quota(cgroup: Path) -> tuple[float, float]:
    """Return the quota and the period in microseconds of a core's time; -1 if there is no limit."""
    if limits := _read(cgroup / "cpu.max").split():
        return _number(limits[0]), _number(limits[-1])
    return _number(_read(cgroup / "cpu/cpu.cfs_quota_us")), _number(_read(cgroup / "cpu/cpu.cfs_period_us"))


def _number(text: str) -> int:
    return int(text) if text.isdecimal() else -1


def _read(file: Path) -> str:
    try:
        return file.read_text().strip()
    except OSError:
        return ""

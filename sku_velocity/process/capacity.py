"""How many requests in flight the machine, or the container, has room for."""

from __future__ import annotations

import os
from pathlib import Path

MAX_IN_FLIGHT = 12
IN_FLIGHT_PER_CORE = 12  # a page costs about 10 ms of a core: more than it can use
COPIES_OF_A_PAGE = 4  # bytes held for a byte received: the body, its records, the rows made of them
CGROUP = Path("/sys/fs/cgroup")


def affordable_concurrency(max_page_bytes: int, cgroup: Path = CGROUP) -> int:
    """Requests in flight, from 1 to 12: as many as a core serves and as half of the memory has room for.

    The limits are those of the cgroup (v2, or v1 where its files are there); without one, the machine's
    cores count, and its memory is taken to suffice.
    """
    by_cores = int(IN_FLIGHT_PER_CORE * cores(cgroup))
    memory = memory_limit(cgroup)
    by_memory = MAX_IN_FLIGHT if memory is None else memory // 2 // (COPIES_OF_A_PAGE * max_page_bytes)
    return max(1, min(MAX_IN_FLIGHT, by_cores, by_memory))


def cores(cgroup: Path = CGROUP) -> float:
    """Cores that this process may use: a cgroup's quota may be a fraction of one."""
    present = float(len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1)
    quota, period = _cpu_quota(cgroup)
    return min(present, quota / period) if quota > 0 and period > 0 else present


def memory_limit(cgroup: Path = CGROUP) -> int | None:
    """Bytes that the cgroup may use; None where it has no limit."""
    limit = _number(_read(cgroup / "memory.max") or _read(cgroup / "memory/memory.limit_in_bytes"))
    return limit if 0 < limit < 2**60 else None  # v1 says "no limit" by a number near 2**63


def _cpu_quota(cgroup: Path) -> tuple[float, float]:
    """Microseconds of a core's time in each period; -1 where there is no limit."""
    if words := _read(cgroup / "cpu.max").split():
        return _number(words[0]), _number(words[-1])
    return _number(_read(cgroup / "cpu/cpu.cfs_quota_us")), _number(_read(cgroup / "cpu/cpu.cfs_period_us"))


def _number(text: str) -> int:
    return int(text) if text.isdecimal() else -1


def _read(file: Path) -> str:
    try:
        return file.read_text().strip()
    except OSError:
        return ""

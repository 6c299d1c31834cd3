"""The number of requests in flight follows the container's limits."""

from __future__ import annotations

from pathlib import Path

import pytest

from sku_velocity.process.capacity import affordable_concurrency, cores, memory_limit

PAGE = 32 * 2**20
GIB = 2**30


def cgroup(directory: Path, **files: str) -> Path:
    for name, text in files.items():
        file = directory / name.replace("__", "/").replace("_max", ".max")
        file.parent.mkdir(exist_ok=True)
        file.write_text(text + "\n")
    return directory


@pytest.mark.parametrize(
    ("cpu", "memory", "in_flight"),
    [
        ("max 100000", "max", 12),
        ("25000 100000", "max", 3),
        ("1000 100000", "max", 1),
        ("max 100000", str(GIB), 4),
        ("max 100000", str(GIB // 8), 1),
        ("50000 100000", str(GIB), 4),
        ("400000 100000", str(64 * GIB), 12),
    ],
)
def test_a_container_s_limits_lower_the_default(
    tmp_path: Path, cpu: str, memory: str, in_flight: int
) -> None:
    assert affordable_concurrency(PAGE, cgroup(tmp_path, cpu_max=cpu, memory_max=memory)) == in_flight


def test_smaller_pages_leave_room_for_more(tmp_path: Path) -> None:
    assert affordable_concurrency(PAGE // 4, cgroup(tmp_path, memory_max=str(GIB // 2))) == 8


def test_cgroup_v1_is_supported(tmp_path: Path) -> None:
    files = {
        "cpu__cpu.cfs_quota_us": "50000",
        "cpu__cpu.cfs_period_us": "100000",
        "memory__memory.limit_in_bytes": str(2 * GIB),
    }
    root = cgroup(tmp_path, **files)
    assert (cores(root), memory_limit(root)) == (0.5, 2 * GIB)


def test_cgroup_v1_expresses_no_limit_as_a_number(tmp_path: Path) -> None:
    files = {"cpu__cpu.cfs_quota_us": "-1", "memory__memory.limit_in_bytes": str(2**63 - 4096)}
    root = cgroup(tmp_path, **files)
    assert memory_limit(root) is None and cores(root) >= 1


def test_without_a_cgroup_the_limits_are_the_machines(tmp_path: Path) -> None:
    assert memory_limit(tmp_path) is None
    assert 1 <= affordable_concurrency(PAGE, tmp_path) <= 12

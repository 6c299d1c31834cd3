"""A fan-out cuts a window without gap or overlap, and gives its groups stable keys."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sku_velocity.errors import ConfigurationError
from sku_velocity.model.window import Window
from sku_velocity.model.window_grid import HOURS, WindowGrid
from sku_velocity.source.spec import SourceSpec, parse_spec
from sku_velocity.steps.fan_out import (
    Group,
    Shard,
    check_fan_out,
    choose_group_size,
    plan_groups,
    plan_shards,
)

START = datetime(2026, 3, 1, tzinfo=UTC)
DAY = Window(START, START + timedelta(days=1))
PARENT, OTHER = UUID(int=1), UUID(int=2)


def spec(*, shared: bool = True, windowed: bool = True) -> SourceSpec:
    parts: dict[str, Any] = {"pace": {"shared_limit": "acme"}} if shared else {}
    parts |= {"window": {"params": {"start": "start", "end": "end"}}} if windowed else {}
    return parse_spec({"name": "acme", "base_url": "http://wms.test", **parts}, "test")


@given(st.integers(0, 10_000), st.integers(1, 20_000), st.sampled_from([30, 60, 480, 1440, 10_080]))
def test_shards_of_a_warehouse_tile_the_window_and_start_on_borders(
    first: int, minutes: int, length: int
) -> None:
    start, grid = START + timedelta(minutes=first), WindowGrid.of(length, "Europe/Berlin")
    window = Window(start, start + timedelta(minutes=minutes))
    windows = [shard.window for shard in plan_shards(["WH-01"], window, grid)]
    assert (windows[0].start, windows[-1].end) == (window.start, window.end)
    assert [each.end for each in windows[:-1]] == [each.start for each in windows[1:]]
    assert all(grid.holds(each.start) for each in windows[1:])


def test_a_warehouse_named_twice_is_read_once_and_the_earliest_time_first() -> None:
    shards = plan_shards(["B", "A", "B"], DAY, WindowGrid.of(720))
    assert [(shard.warehouse, shard.window.start.hour) for shard in shards] == [
        ("B", 0),
        ("A", 0),
        ("B", 12),
        ("A", 12),
    ]


def test_without_a_grid_the_window_is_not_cut() -> None:
    everything = Window.everything()
    assert plan_shards(["A"], everything, None) == [Shard("A", everything)]


def test_too_many_shards_are_refused() -> None:
    with pytest.raises(ConfigurationError, match="are 14400 runs"):
        plan_shards([f"WH-{n}" for n in range(600)], DAY, HOURS)


def test_a_group_key_is_stable_across_attempts_and_unique_per_group_and_fan_out() -> None:
    shards = plan_shards(["A", "B", 'A", "B'], DAY, WindowGrid.of(360))
    groups = [group for size in (1, 2) for group in plan_groups(shards, size)]
    keys = {group.key(PARENT) for group in groups}
    assert len(keys) == len(set(groups)) and keys == {group.key(PARENT) for group in groups}
    assert keys.isdisjoint(group.key(OTHER) for group in groups)


@given(st.integers(1, 9), st.integers(1, 4), st.integers(1, 9), st.integers(0, 5))
def test_each_shard_is_in_one_group_and_started_groups_are_kept(
    warehouses: int, windows: int, size: int, count: int
) -> None:
    shards = plan_shards([f"WH-{n}" for n in range(warehouses)], DAY, WindowGrid.of(1440 // windows))
    started = plan_groups(shards, 2)[:count]
    groups = plan_groups(shards, size, reversed(started))
    assert groups[: len(started)] == started
    assert all(len(group.warehouses) <= size for group in groups[len(started) :])
    assert sorted(map(str, shards)) == sorted(str(shard) for group in groups for shard in group.shards)


@pytest.mark.parametrize(
    ("shards", "parallel", "seconds", "size"),
    [
        (1000, 4, 2.0, 250),  # a quarter for each run in parallel
        (1000, 4, 12.0, 100),  # five minutes, four at a time
        (1000, 4, None, 40),
        (1000, 4, 4000.0, 1),
        (3, 4, 1.0, 1),
        (1000, 1, 0.0, 1000),
    ],
)
def test_a_group_is_as_large_as_a_run_of_five_minutes_reads(
    shards: int, parallel: int, seconds: float | None, size: int
) -> None:
    assert choose_group_size(shards, parallel, seconds) == size


def groups_of(*warehouses: str, window: Window = DAY) -> list[Group]:
    return plan_groups(plan_shards(warehouses, window, None), 1)


def test_parallel_runs_need_a_shared_pace() -> None:
    groups = groups_of("A", "B")
    check_fan_out(spec(), groups, 4)
    check_fan_out(spec(shared=False), groups, 1)
    check_fan_out(spec(shared=False), groups[:1], 4)
    with pytest.raises(ConfigurationError, match="2 parallel runs would multiply its pace"):
        check_fan_out(spec(shared=False), groups, 4)


def test_a_source_without_windows_is_only_read_whole() -> None:
    check_fan_out(spec(windowed=False), groups_of("A", window=Window.everything()), 1)
    with pytest.raises(ConfigurationError, match="cannot be asked for a window"):
        check_fan_out(spec(windowed=False), groups_of("A"), 1)

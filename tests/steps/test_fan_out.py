"""A fan-out cuts a window without gap or overlap, and gives its shards stable keys."""

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
from sku_velocity.steps.fan_out import Shard, check_fan_out, plan_shards

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


def test_a_shard_key_is_stable_across_attempts_and_unique_per_shard_and_fan_out() -> None:
    shards = plan_shards(["A", "B", 'A", "B'], DAY, WindowGrid.of(360))
    keys = {shard.key(PARENT) for shard in shards}
    assert len(keys) == len(shards) == 12 and keys == {shard.key(PARENT) for shard in shards}
    assert keys.isdisjoint(shard.key(OTHER) for shard in shards)


def test_parallel_runs_need_a_shared_pace() -> None:
    shards = plan_shards(["A", "B"], DAY, None)
    check_fan_out(spec(), shards, 4)
    check_fan_out(spec(shared=False), shards, 1)
    check_fan_out(spec(shared=False), shards[:1], 4)
    with pytest.raises(ConfigurationError, match="2 parallel runs would multiply its pace"):
        check_fan_out(spec(shared=False), shards, 4)


def test_a_source_without_windows_is_only_read_whole() -> None:
    check_fan_out(spec(windowed=False), plan_shards(["A"], Window.everything(), None), 1)
    with pytest.raises(ConfigurationError, match="cannot be asked for a window"):
        check_fan_out(spec(windowed=False), plan_shards(["A"], DAY, None), 1)

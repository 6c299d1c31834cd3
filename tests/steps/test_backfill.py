"""Which windows a backfill reads, and how, by the state of the store and the clock."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sku_velocity.errors import ConfigurationError
from sku_velocity.model.coverage import gaps
from sku_velocity.model.run import RunState, UnknownSku
from sku_velocity.model.status import Coverage, OpenRun, PublishedRange
from sku_velocity.model.window import Window
from sku_velocity.model.window_grid import HOURS, SECONDS, WindowGrid
from sku_velocity.source.spec import SourceSpec, parse_spec
from sku_velocity.steps.backfill import check_backfill, plan_backfill, plan_reading, sort_readings
from tests.support.store_rows import hour, hours

NEVER = Coverage("acme", "WH-01", [], [])
BROKEN = OpenRun(7, "broken", hours(4, 5), RunState.INCOMPLETE, hour(5), chunks=3, landed=2)


def covered(*windows: Window, open_runs: tuple[OpenRun, ...] = ()) -> Coverage:
    return Coverage("acme", "WH-01", [PublishedRange(each, 1) for each in windows], list(open_runs))


def spec(**parts: Any) -> SourceSpec:
    return parse_spec({"name": "acme", "base_url": "https://wms.example.com"} | parts, "test")


def test_each_missing_hour_is_read_and_no_published_one() -> None:
    coverage = covered(hours(1, 2), hours(3, 3.5))
    assert plan_backfill(coverage, hour(0), hour(5), hour(9), HOURS) == [
        hours(0, 1),
        hours(2, 3),
        hours(3.5, 4),
        hours(4, 5),
    ]


def test_no_window_ends_after_the_last_settled_hour() -> None:
    assert plan_backfill(NEVER, hour(7), hour(99), hour(9), HOURS) == [hours(7, 8), hours(8, 9)]
    assert plan_backfill(NEVER, hour(7), None, hour(9), WindowGrid.of(120)) == [hours(7, 8), hours(8, 9)]
    assert plan_backfill(NEVER, hour(9), None, hour(9), HOURS) == []


def test_gaps_of_any_length_are_cut_at_the_borders_of_days_of_a_zone() -> None:
    berlin, coverage = WindowGrid.of(1440, "Europe/Berlin"), covered(hours(30, 31))
    assert plan_backfill(coverage, hour(-1), hour(75), hour(71), berlin) == [
        hours(-1, 23),
        hours(23, 30),
        hours(31, 47),
        hours(47, 71),
    ]


@given(
    st.lists(st.tuples(st.integers(0, 400), st.integers(1, 60)), max_size=8),
    st.sampled_from([20, 60, 480, 1440, 10_080]),
    st.sampled_from(["UTC", "Europe/Berlin", "Africa/Cairo", "Australia/Lord_Howe"]),
    st.booleans(),
)
def test_planned_windows_fill_the_gaps_without_overlap_each_within_one_of_the_grid(
    known: list[tuple[int, int]], minutes: int, zone: str, has_days: bool
) -> None:
    grid = WindowGrid.of(minutes if not has_days else max(minutes, 1440), zone)
    grain = WindowGrid.of(1440, zone) if has_days else SECONDS
    coverage = covered(*(hours(20 * 24 + at, 20 * 24 + at + length) for at, length in known))
    start, settled = grain.floor(hour(20 * 24)), grid.window_before(hour(50 * 24)).end
    planned = plan_backfill(coverage, start, None, settled, grid, grain)
    assert gaps(Window(start, settled), [*planned, *(each.window for each in coverage.published)]) == []
    assert all(left.end <= right.start for left, right in pairwise(planned))
    assert all(each.end <= grid.window_at(each.start).end <= settled for each in planned)
    assert all(grain.holds(each.start) and grain.holds(each.end) for each in planned)
    if not has_days:
        assert not any(each.overlaps(other.window) for each in planned for other in coverage.published)


def test_a_gap_finer_than_the_timestamps_is_read_as_whole_days() -> None:
    days, coverage = WindowGrid.of(1440), covered(hours(0, 30), hours(31, 40), hours(41, 72))
    assert plan_backfill(coverage, None, None, hour(96), days, days) == [hours(24, 48), hours(72, 96)]
    assert plan_backfill(covered(hours(30, 31)), None, None, hour(48), days, days) == [hours(24, 48)]
    assert plan_backfill(covered(hours(24, 48)), None, None, hour(48), days, days) == []


def test_without_a_start_it_begins_at_the_start_of_the_first_run() -> None:
    assert plan_backfill(covered(hours(2, 3)), None, None, hour(4), HOURS) == [hours(3, 4)]
    assert plan_backfill(covered(hours(6, 7), open_runs=(BROKEN,)), None, hour(7), hour(9), HOURS) == [
        hours(4, 5),
        hours(5, 6),
    ]


@pytest.mark.parametrize(
    ("start", "end", "message"),
    [
        (None, None, "a start is needed"),
        (hour(2), hour(2), "must be after its start"),
        (hour(-100_000), None, "at most 10000"),
    ],
)
def test_an_invalid_range_is_refused(start: Any, end: Any, message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        plan_backfill(NEVER, start, end, hour(9), HOURS)


def test_a_partly_landed_run_of_the_same_window_is_resumed() -> None:
    coverage = covered(open_runs=(BROKEN,))
    assert plan_reading(coverage, hours(4, 5), hour(9)).resume == "broken"
    assert plan_reading(coverage, hours(4, 4.5), hour(9)).resume is None


def test_a_run_that_maps_skus_by_another_master_is_not_resumed() -> None:
    erp = ("erp", UnknownSku.REJECT)
    coverage = covered(open_runs=(replace(BROKEN, mapping=erp),))
    assert plan_reading(coverage, hours(4, 5), hour(9)).resume is None
    assert plan_reading(coverage, hours(4, 5), hour(9), erp).resume == "broken"


@pytest.mark.parametrize("landed", [0, 3])
def test_a_run_that_landed_nothing_or_everything_is_not_resumed(landed: int) -> None:
    coverage = covered(open_runs=(replace(BROKEN, landed=landed),))
    assert plan_reading(coverage, hours(4, 5), hour(9)).resume is None


def test_a_window_is_reported_as_being_read_until_that_run_stalls() -> None:
    running = replace(BROKEN, state=RunState.RUNNING, window=hours(0, 24))
    coverage = covered(open_runs=(running,))
    assert plan_reading(coverage, hours(4, 5), hour(5.5)).read_by == "broken"
    assert plan_reading(coverage, hours(4, 5), hour(6)).read_by is None
    assert plan_reading(coverage, hours(24, 25), hour(5.5)).read_by is None


def test_readings_are_sorted_by_time_in_either_order() -> None:
    readings = [
        plan_reading(replace(NEVER, warehouse=name), hours(at, at + 1), hour(9))
        for name in ("B", "A")
        for at in (0, 1)
    ]
    oldest = [(each.window.start, each.warehouse) for each in sort_readings(readings, newest_first=False)]
    assert oldest == [(hour(0), "A"), (hour(0), "B"), (hour(1), "A"), (hour(1), "B")]
    newest = [(each.window.start, each.warehouse) for each in sort_readings(readings, newest_first=True)]
    assert newest == [(hour(1), "A"), (hour(1), "B"), (hour(0), "A"), (hour(0), "B")]


def test_a_source_without_window_parameters_is_refused() -> None:
    with pytest.raises(ConfigurationError, match=r"acme cannot be asked for a window.*window\.params"):
        check_backfill(spec(), 1)
    check_backfill(spec(window={"params": {"start": "from"}}), 1)


def test_parallel_windows_must_share_the_pace() -> None:
    window = {"params": {"start": "from"}}
    with pytest.raises(ConfigurationError, match=r"2 times its pace.*pace\.shared_limit"):
        check_backfill(spec(window=window), 2)
    check_backfill(spec(window=window, pace={"requests_per_second": 5, "shared_limit": "acme"}), 2)

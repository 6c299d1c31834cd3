"""The next steps for a warehouse, as commands to paste."""

from __future__ import annotations

from dataclasses import replace

from sku_velocity.cli.next_steps import CommandContext, missing_windows, next_steps
from sku_velocity.model.run import RunState, UnknownSku, Verdict
from sku_velocity.model.status import Coverage, LastRun, OpenRun, PublishedRange, SkuMapping, WarehouseStatus
from sku_velocity.model.window import Window
from sku_velocity.model.window_grid import WindowGrid
from tests.support.store_rows import hour, hours

ACME = "sku-velocity {} --source acme --warehouse WH-01"
BROKEN = OpenRun(7, "b-7", hours(2, 3), RunState.INCOMPLETE, hour(3), chunks=3, landed=2, error="HTTP 500")
HERE = CommandContext("sku-velocity")
RESUME = ACME.format("sync") + " --resume b-7"


def status_of(
    *windows: Window,
    open_runs: tuple[OpenRun, ...] = (),
    warehouse: str = "WH-01",
    grid: WindowGrid | None = None,
) -> WarehouseStatus:
    published = [PublishedRange(each, 1, grid=grid) for each in windows]
    coverage = Coverage("acme", warehouse, published, list(open_runs))
    last = LastRun("x", hours(0, 1), RunState.PUBLISHED, Verdict.COMPLETE, hour(1))
    return WarehouseStatus(coverage, last, 0, 0, windows[-1].end if windows else None)


def test_a_complete_warehouse_has_no_next_steps() -> None:
    assert next_steps(status_of(hours(0, 2), hours(2, 3)), hour(4), HERE) == []


def test_one_backfill_fills_gaps_and_overdue_windows() -> None:
    late = status_of(hours(0, 1), hours(3, 4))
    bounds = " --start 2026-03-01T01:00:00Z --end 2026-03-01T{}:00:00Z"
    assert next_steps(late, hour(5), HERE) == [ACME.format("backfill") + bounds.format("03")]
    assert next_steps(late, hour(7.5), HERE) == [ACME.format("backfill") + bounds.format("07")]


def test_more_hours_than_a_backfill_takes_are_read_by_days() -> None:
    [step] = next_steps(status_of(hours(0, 1), hours(12_000, 12_001)), hour(12_002), HERE)
    assert step.endswith("--start 2026-03-01T01:00:00Z --end 2027-07-14T00:00:00Z --window-minutes 1440")


def test_overdue_windows_are_read_at_the_borders_of_the_newest_window() -> None:
    status = status_of(hours(-1, 23), grid=WindowGrid.of(1440, "Europe/Berlin"))
    assert next_steps(status, hour(23 + 48), HERE) == []
    options = " --window-minutes 1440 --window-zone Europe/Berlin"
    bounds = " --start 2026-03-01T23:00:00Z --end 2026-03-03T23:00:00Z"
    assert next_steps(status, hour(23 + 49), HERE) == [ACME.format("backfill") + bounds + options]


def test_a_week_that_has_not_ended_twice_is_not_overdue() -> None:
    assert next_steps(status_of(hours(0, 1), grid=WindowGrid.of(10_080)), hour(300), HERE) == []


def test_a_single_interrupted_run_is_resumed() -> None:
    assert next_steps(status_of(hours(0, 2), open_runs=(BROKEN,)), hour(4), HERE) == [RESUME]
    assert next_steps(status_of(hours(0, 2), hours(3, 4), open_runs=(BROKEN,)), hour(4), HERE) == [RESUME]


def test_an_open_run_is_resumed_even_if_its_window_is_published() -> None:
    assert next_steps(status_of(hours(0, 4), open_runs=(BROKEN,)), hour(5), HERE) == [RESUME]


def test_an_unreadable_source_is_checked_first_and_then_read_again() -> None:
    nothing = replace(BROKEN, landed=0)
    bounds = " --start 2026-03-01T02:00:00Z --end 2026-03-01T03:00:00Z"
    steps = next_steps(status_of(hours(0, 2), open_runs=(nothing,)), hour(4), HERE)
    assert steps == [ACME.format("check-source") + bounds, ACME.format("sync") + bounds]
    nothing = replace(nothing, grid=WindowGrid.of(60, "Asia/Kolkata"))
    [_, step] = next_steps(status_of(hours(0, 2), open_runs=(nothing,)), hour(4), HERE)
    assert step == ACME.format("sync") + bounds + " --window-zone Asia/Kolkata"


def test_a_running_run_is_resumed_only_once_it_has_stalled() -> None:
    running = replace(BROKEN, state=RunState.RUNNING, error=None)
    assert next_steps(status_of(hours(0, 2), open_runs=(running,)), hour(3.5), HERE) == []
    assert next_steps(status_of(hours(0, 2), open_runs=(running,)), hour(4), HERE) == [RESUME]


def test_a_source_without_windows_has_no_missing_window() -> None:
    everything = replace(BROKEN, window=Window.everything(), landed=3)
    status = status_of(open_runs=(everything,))
    assert missing_windows(status, hour(9)) == []
    assert next_steps(status, hour(9), HERE) == [ACME.format("sync")]


def test_commands_name_the_master_that_mapped_the_window() -> None:
    mapped = replace(BROKEN, mapping=SkuMapping("erp", UnknownSku.PASS))
    [step] = next_steps(status_of(hours(0, 2), open_runs=(mapped,)), hour(4), HERE)
    assert step == ACME.format("sync") + " --master erp --unknown-sku pass --resume b-7"
    gap = status_of(hours(0, 1), hours(2, 3))
    gap = replace(gap, last_run=replace(gap.last_run, mapping=SkuMapping("erp", UnknownSku.REJECT)))
    assert "--master erp --unknown-sku reject --start" in next_steps(gap, hour(4), HERE)[0]


def test_a_master_is_read_by_its_own_command() -> None:
    items = status_of(open_runs=(replace(BROKEN, window=Window.everything()),), warehouse="")
    assert next_steps(items, hour(4), HERE) == ["sku-velocity sync-master --source acme --resume b-7"]


def test_commands_use_the_operators_names_and_are_quoted_for_a_shell() -> None:
    status = status_of(hours(0, 2), open_runs=(BROKEN,), warehouse="Lager 1; rm -rf /")
    [step] = next_steps(
        status, hour(4), CommandContext("sku-velocity", "acme.yaml", "ACME_TOKEN", "sqlite:///x.db")
    )
    assert step == (
        "sku-velocity sync --source acme.yaml --token-env ACME_TOKEN --warehouse 'Lager 1; rm -rf /'"
        " --store sqlite:///x.db --resume b-7"
    )


def test_commands_are_those_of_the_program_in_use() -> None:
    status = status_of(hours(0, 2), open_runs=(BROKEN,))
    [step] = next_steps(status, hour(4), CommandContext("python -m flows"))
    assert step == "python -m flows sync --source acme --warehouse WH-01 --resume b-7"

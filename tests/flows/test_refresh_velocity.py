"""The flow refresh-velocity and its command: each published warehouse in its own time zone."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pytest
from prefect import flow
from prefect.client.orchestration import get_client
from prefect.states import Scheduled

from blocks.store import VelocityStore
from flows.__main__ import main
from flows.artifacts.velocity import render_velocity
from flows.refresh_velocity import choose_warehouses, refresh_velocity
from flows.runtime.prefect_internals import run_flow
from flows.tasks.refresh_velocity import refresh_warehouse
from sku_velocity.errors import ConfigurationError
from sku_velocity.model.status import Place
from sku_velocity.model.velocity_report import ClassChange, Mover, VelocityReport, percent, ranges_of_days
from sku_velocity.model.window import Window
from sku_velocity.store import Store
from tests.support.prefect_api import ask
from tests.support.prefect_server import PrefectServer
from tests.support.published_store import Moved, publish, table

AS_OF = "2026-04-05"
ROWS: list[Moved] = [
    ("SKU-1", 9, datetime(2026, 4, 5, 10, tzinfo=UTC)),
    ("SKU-2", 1, datetime(2026, 4, 4, 22, 30, tzinfo=UTC)),  # the 5th in Berlin
]
PUBLISHED = [Place("acme", "WH-01"), Place("acme", "WH-02"), Place("erp", "WH-01")]


def filled(url: str, warehouses: Sequence[str] = ("WH-01",), rows: Sequence[Moved] = ROWS) -> str:
    """Return a store in which all time of these warehouses is published."""

    async def fill() -> None:
        async with Store.open(url) as store:
            for warehouse in warehouses:
                await publish(store, rows, Window.everything(), warehouse)

    asyncio.run(fill())
    return url


def run(**parameters: Any) -> Any:
    """Run the flow. Return its state and its result."""

    async def refresh() -> Any:
        state: Any = await refresh_velocity(**parameters, return_state=True)
        return state, await state.aresult(raise_on_failure=False)

    return asyncio.run(refresh())


def look(url: str, sql: str) -> list[tuple[Any, ...]]:
    return asyncio.run(table(url, sql))


def a_report(**fields: Any) -> VelocityReport:
    plain: Mapping[str, Any] = {
        "source": "acme", "warehouse": "WH-01", "as_of": AS_OF, "time_zone": "UTC", "days": 91, "skus": 1,
        "units": 5, "lines": 1, "completeness": {7: 1, 28: 1, 91: 1}, "incomplete_days": {}, "classes": {},
        "movers": [], "compared_with": None, "changed": 0, "changes": [], "files": {},
    }  # fmt: skip
    return VelocityReport(**{**plain, **fields})


def test_all_published_warehouses_are_refreshed_in_their_own_time_zone(
    prefect_server: PrefectServer, sqlite_url: str, tmp_path: Path
) -> None:
    store = filled(sqlite_url, ["WH-01", "WH-02"])
    zones = {"WH-02": "Europe/Berlin"}
    state, reports = run(store=store, as_of=AS_OF, time_zones=zones, reports=str(tmp_path / "reports"))
    assert state.is_completed() and [report.warehouse for report in reports] == ["WH-01", "WH-02"]
    sums = look(
        store, "SELECT warehouse_id, sku_id, days_since_last_movement FROM current_velocity ORDER BY 1, 2"
    )
    assert sums == [
        ("WH-01", "SKU-1", 0),
        ("WH-01", "SKU-2", 1),
        ("WH-02", "SKU-1", 0),
        ("WH-02", "SKU-2", 0),
    ]


def test_a_refresh_has_an_artifact_with_pictures_under_a_stable_key(
    prefect_server: PrefectServer, sqlite_url: str, tmp_path: Path
) -> None:
    keys = set()
    for _ in range(2):
        state, _ = run(store=filled(sqlite_url), as_of=AS_OF, reports=str(tmp_path))
        [shown] = ask(prefect_server, "artifacts", str(state.state_details.flow_run_id))
        keys.add(shown["key"])
        assert shown["data"].count("](data:image/png;base64,") == 2 and "SKU\\-1" in shown["data"]
    assert len(keys) == 1 and next(iter(keys)).startswith("acme-wh-01")


def test_a_failed_warehouse_does_not_stop_the_others(
    prefect_server: PrefectServer, sqlite_url: str, tmp_path: Path
) -> None:
    store = filled(sqlite_url, ["WH-01", "WH-02"])
    filled(sqlite_url, ["BAD"], [("A", 2**63 - 1, ROWS[0][2])] * 2)
    state, reports = run(store=store, as_of=AS_OF, reports=str(tmp_path))
    assert state.is_failed() and "1 of 3 warehouses failed: BAD from acme" in state.message
    assert [report.warehouse for report in reports] == ["WH-01", "WH-02"]


def test_the_default_day_is_the_one_before_the_scheduled_start_in_the_warehouses_time_zone(
    prefect_server: PrefectServer, sqlite_url: str, tmp_path: Path
) -> None:
    store = filled(sqlite_url, ["WH-01", "WH-02"])
    parameters = {"store": store, "time_zones": {"WH-02": "Asia/Tokyo"}, "reports": str(tmp_path)}

    async def run_late() -> Any:
        async with get_client() as client:
            due = datetime(2026, 4, 6, 20, tzinfo=UTC)  # the 7th in Tokyo
            flow_run = await client.create_flow_run(
                refresh_velocity, parameters=parameters, state=Scheduled(scheduled_time=due)
            )
        state: Any = await run_flow(refresh_velocity, flow_run, parameters=parameters, return_type="state")
        return await state.aresult()

    assert [str(report.as_of) for report in asyncio.run(run_late())] == ["2026-04-05", "2026-04-06"]


def test_a_refresh_can_be_awaited_within_another_flow(
    prefect_server: PrefectServer, sqlite_url: str, tmp_path: Path
) -> None:
    block = VelocityStore(url=filled(sqlite_url))

    @flow
    async def another() -> VelocityReport:
        async with block.get_store() as store:
            return await refresh_warehouse(store, "acme", "WH-01", date(2026, 4, 5), reports=str(tmp_path))

    assert asyncio.run(another()).skus == 2


def test_an_empty_store_is_not_a_failure_but_a_wrong_name_is(
    prefect_server: PrefectServer, sqlite_url: str, tmp_path: Path
) -> None:
    state, reports = run(store=sqlite_url, reports=str(tmp_path))
    assert state.is_completed() and reports == [] and "Nothing is published" in state.message
    _, error = run(store=sqlite_url, warehouses=["WH-09"], reports=str(tmp_path))
    assert isinstance(error, ConfigurationError) and "WH-09" in str(error)


def test_warehouses_and_source_filter_the_published_ones() -> None:
    assert choose_warehouses(PUBLISHED, [], None) == PUBLISHED
    assert choose_warehouses(PUBLISHED, ["WH-01"], None) == [PUBLISHED[0], PUBLISHED[2]]
    assert choose_warehouses(PUBLISHED, ["WH-01"], "erp") == [PUBLISHED[2]]
    for warehouses, source in ((["WH-02"], "erp"), ([], "nobody"), (["WH-01", "WH-3"], None)):
        with pytest.raises(ConfigurationError, match="WH-01, WH-02"):
            choose_warehouses(PUBLISHED, warehouses, source)


def test_the_command_prints_what_was_refreshed_and_the_path_of_the_report(
    prefect_server: PrefectServer, sqlite_url: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["--store", filled(sqlite_url), "--reports", str(tmp_path), "--as-of", AS_OF]
    assert main(["refresh-velocity", *words, "--warehouse", "WH-01", "--time-zone", "Europe/Berlin"]) == 0
    shown = capsys.readouterr().out
    assert "velocity.acme.WH-01.html" in shown and "100 %" in shown and "2026-04-05" in shown


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (["--time-zone", "Mars"], "Mars"),
        (["--warehouse", "WH-09"], "WH-09"),
        (["--abc-a", "0.99"], "ABC thresholds"),
        (["--as-of", "yesterday"], "yesterday"),
    ],
)
def test_the_command_exits_with_2_on_a_wrong_setting(
    prefect_server: PrefectServer,
    sqlite_url: str,
    capsys: pytest.CaptureFixture[str],
    words: list[str],
    reason: str,
) -> None:
    assert main(["refresh-velocity", "--store", filled(sqlite_url), *words]) == 2
    error = capsys.readouterr().err.strip()
    assert error.startswith("error: ") and reason in error and "\n" not in error


def test_external_text_is_escaped() -> None:
    hostile = "[x](javascript:alert(1))<script>|"
    mover = Mover(sku_id=hostile, units_91=5, lines_91=1, units_7=5, trend=None, days_since_last_movement=0,
                  abc_lines="A", abc_units="A", xyz="Z")  # fmt: skip
    changes = [ClassChange(sku_id=hostile, before="", after="AAZ")]
    report = a_report(source=hostile, warehouse=hostile, movers=[mover], changed=1, changes=changes,
                      compared_with="2026-04-04", files={"html": hostile})  # fmt: skip
    shown = render_velocity(report, {})
    assert "javascript" in shown and "](" not in shown and "<script>" not in shown


def test_missing_days_are_grouped_into_ranges() -> None:
    days = {date(2026, 3, day): 0.0 for day in (1, 2, 3, 5)} | {date(2026, 3, 6): 0.9999}
    assert ranges_of_days(days) == ["2026-03-01 to 2026-03-03: 0 %", "2026-03-05: 0 %", "2026-03-06: 99.9 %"]
    assert "Of 91 days: 4 not published, 1 only in part." in a_report(incomplete_days=days).coverage


@pytest.mark.parametrize(("share", "shown"), [(1.0, "100 %"), (0.0, "0 %"), (1e-9, "0.1 %"), (0.5, "50.0 %")])
def test_only_a_complete_share_is_shown_as_100_percent(share: float, shown: str) -> None:
    assert percent(share) == shown

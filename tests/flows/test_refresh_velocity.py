"""A refresh of velocity in Prefect: its artifact, its scheduled day, and its use within another flow."""

from __future__ import annotations

import asyncio
import time
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

from prefect import flow
from prefect.client.orchestration import get_client
from prefect.states import Scheduled

from flows.artifacts.events import ClassesChanged, find_events
from flows.refresh_velocity import refresh_velocity
from flows.runtime.prefect_internals import run_flow
from tests.support.prefect_api import ask
from tests.support.prefect_server import PrefectServer
from tests.support.velocity_store import AS_OF, filled
from tests.support.waiting import until


def test_a_refresh_has_an_artifact_with_pictures_under_a_stable_key(
    prefect_server: PrefectServer, sqlite_url: str, tmp_path: Path
) -> None:
    keys = set()
    for _ in range(2):
        request: dict[str, Any] = {"as_of": AS_OF, "reports": str(tmp_path)}
        state: Any = asyncio.run(refresh_velocity(store=filled(sqlite_url), **request, return_state=True))
        [shown] = ask(prefect_server, "artifacts", str(state.state_details.flow_run_id))
        keys.add(shown["key"])
        assert shown["data"].count("](data:image/svg+xml;base64,") == 3 and "SKU\\-1" in shown["data"]
    assert len(keys) == 1 and next(iter(keys)).startswith("acme--wh-01")


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

    assert [str(report.as_of) for report in asyncio.run(run_late()).root] == ["2026-04-05", "2026-04-06"]


def test_a_refresh_can_be_awaited_within_another_flow(
    prefect_server: PrefectServer, sqlite_url: str, tmp_path: Path
) -> None:
    store = filled(sqlite_url)

    @flow
    async def another() -> Any:
        return await refresh_velocity(store=store, as_of=AS_OF, reports=str(tmp_path))

    [report] = asyncio.run(another()).root
    assert report.skus == 2


def test_changed_classes_are_an_event_once_a_day(
    prefect_server: PrefectServer, sqlite_url: str, tmp_path: Path
) -> None:
    rows = [
        ("SKU-1", 1, datetime(2026, 4, 1, 10, tzinfo=UTC)),
        ("SKU-2", 9, datetime(2026, 4, 5, 10, tzinfo=UTC)),
    ]
    store = filled(sqlite_url, ["WH-CLASSES"], rows)

    def emitted() -> list[Any]:
        labels = {"sku-velocity.warehouse": ["WH-CLASSES"]}
        return asyncio.run(find_events(ClassesChanged.EVENT, labels))

    def refresh(as_of: str) -> None:
        asyncio.run(refresh_velocity(store=store, as_of=as_of, reports=str(tmp_path)))

    refresh("2026-04-04")
    refresh("2026-04-05")
    [event] = until(emitted)
    refresh("2026-04-05")
    time.sleep(2)  # for any further one
    assert len(emitted()) == 1
    assert event["resource"]["prefect.resource.id"] == "sku-velocity.velocity.acme.WH-CLASSES"
    payload = ClassesChanged.model_validate(event["payload"])
    assert (payload.as_of, payload.compared_with) == (date(2026, 4, 5), date(2026, 4, 4))
    assert payload.changed == sum(payload.counts.values()) == len(payload.skus) > 0
    assert {f"{each.before or 'none'} > {each.after or 'none'}" for each in payload.skus} == set(
        payload.counts
    )

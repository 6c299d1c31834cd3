"""Prefect shows what a master does not know, and what a new version maps differently."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from demo.prefect_client import prefect_client
from flows.sync_sku_master import sync_sku_master
from tests.support.acme import WHOLE
from tests.support.acme_flow import sync
from tests.support.erp import ITEMS_OF_ALL, MAPPED, without, wms_and_erp
from tests.support.prefect_api import ask
from tests.support.prefect_server import PrefectServer
from tests.support.waiting import until

pytestmark = pytest.mark.usefixtures("prefect_server", "token")


def sync_items(source: str, store: str, **parameters: Any) -> Any:
    """Run the flow. Return its state and its result: a report or an exception."""

    async def run() -> Any:
        request = {"token_env": "WMS_TOKEN", "task_retries": 0} | parameters
        state = await sync_sku_master(source=source, store=store, **request, return_state=True)
        return state, await state.aresult(raise_on_failure=False)

    return asyncio.run(run())


def events(server: PrefectServer, run: str) -> list[dict[str, Any]]:
    """Return the drift events of one flow run. They arrive a few seconds late."""
    query = {"event": {"name": ["sku-velocity.master.drift"]}}

    def look() -> list[dict[str, Any]] | None:
        answer = api.post("/events/filter", json={"filter": query})
        found = [
            each
            for each in answer.raise_for_status().json()["events"]
            if any(run in related["prefect.resource.id"] for related in each["related"])
        ]
        return found or None

    with prefect_client(server.api_url) as api:
        return until(look)


def test_unknown_skus_are_an_artifact_and_an_event(
    prefect_server: PrefectServer, tmp_path: Path, sqlite_url: str
) -> None:
    with wms_and_erp(tmp_path, items=without(1), aliased_ratio=0) as (_, acme, erp):
        sync_items(erp, sqlite_url)
        _, report = sync(acme, sqlite_url, **WHOLE, **MAPPED)
    [event] = events(prefect_server, report.flow_run_id)
    assert event["resource"]["prefect.resource.id"] == "sku-velocity.master.erp"
    assert event["payload"]["most"] == {"SKU-00001": report.rejected}
    shown = {each["key"]: each["data"] for each in ask(prefect_server, "artifacts", report.flow_run_id)}
    assert f"| SKU\\-00001 | {report.rejected} |" in shown["acme--wh-01--unknown-skus"]


def test_changed_mappings_of_a_new_version_are_an_artifact_and_an_event(
    prefect_server: PrefectServer, tmp_path: Path, sqlite_url: str
) -> None:
    first, second, *rest = ITEMS_OF_ALL
    swapped = ({**first, "aliases": second["aliases"]}, {**second, "aliases": [], "status": "retired"}, *rest)
    with wms_and_erp(tmp_path) as (server, _, erp):
        sync_items(erp, sqlite_url)
        server.play(replace(server.simulator.scenario, items=swapped))
        _, report = sync_items(erp, sqlite_url)
    [event] = events(prefect_server, report.flow_run_id)
    assert event["payload"]["counts"] == {"moved": 2, "gone": 2, "retired": 1}
    assert ["sku 2", "SKU-00002", "SKU-00001"] in event["payload"]["moved"]
    shown = {each["key"]: each["data"] for each in ask(prefect_server, "artifacts", report.flow_run_id)}
    assert r"| sku 2 | SKU\-00002 | SKU\-00001 |" in shown["erp--master-changes"]

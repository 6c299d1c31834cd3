"""The flow sync-sku-master publishes a master, and each window is mapped by one version of it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from demo.prefect_client import prefect_client
from flows.__main__ import main
from flows.sync_sku_master import sync_sku_master
from simulator.faults import Fault
from simulator.items import ITEMS, make_items
from simulator.scenario import Change, Scenario
from simulator.server import Server, serve
from sku_velocity.errors import ConfigurationError
from tests.support.acme import TOKEN, WHOLE, published, spec_of
from tests.support.acme_flow import sync
from tests.support.prefect_api import ask
from tests.support.prefect_server import PrefectServer
from tests.support.steps_driver import published as rows_of
from tests.support.waiting import until

pytestmark = pytest.mark.usefixtures("prefect_server", "token")

SKUS = 40
ITEMS_OF_ALL = make_items(SKUS)
MAPPED = {"master": "erp", "max_reject_ratio": 1}


@contextmanager
def wms_and_erp(tmp_path: Path, **scenario: Any) -> Iterator[tuple[Server, str, str]]:
    """Serve both from one server. Yield it and the paths of its two specs."""
    parts = {"records": 300, "skus": SKUS, "items": ITEMS_OF_ALL, "aliased_ratio": 0.5} | scenario
    with serve(Scenario(token=TOKEN, **parts)) as server:
        yield server, spec(tmp_path, server, "acme"), spec(tmp_path, server, "erp")


def spec(directory: Path, server: Server, name: str) -> str:
    content = spec_of(server) | {"name": name}
    if name == "erp":
        del content["fields"]
        content |= {"request": {"path": "/items"}, "items": {"aliases": "aliases"}}
        content["paging"] = {"page_size": 11}
    path = directory / f"{name}.yaml"
    path.write_text(yaml.safe_dump(content))
    return str(path)


def sync_items(source: str, store: str, **parameters: Any) -> Any:
    """Run the flow. Return its state and its result: a report or an exception."""

    async def run() -> Any:
        request = {"token_env": "WMS_TOKEN", "task_retries": 0} | parameters
        state = await sync_sku_master(source=source, store=store, **request, return_state=True)
        return state, await state.aresult(raise_on_failure=False)

    return asyncio.run(run())


def without(*ranks: int) -> tuple[Any, ...]:
    return tuple(item for n, item in enumerate(ITEMS_OF_ALL, 1) if n not in ranks)


def events(server: PrefectServer, run: str, enough: Callable[[Any], object] = bool) -> list[dict[str, Any]]:
    """Return the drift events of one flow run. They arrive a few seconds late."""
    query = {"event": {"name": ["sku-velocity.master.drift"]}}

    def look() -> list[dict[str, Any]] | None:
        answer = api.post("/events/filter", json={"filter": query})
        found = [
            each
            for each in answer.raise_for_status().json()["events"]
            if any(run in related["prefect.resource.id"] for related in each["related"])
        ]
        return found if enough(found) else None

    with prefect_client(server.api_url) as api:
        return until(look)


def test_movements_are_mapped_by_the_published_master(tmp_path: Path, store_url: str) -> None:
    with wms_and_erp(tmp_path) as (server, acme, erp):
        state, version = sync_items(erp, store_url)
        assert (state.name, state.message) == ("Complete", "40 items published, 0 rejected.")
        state, report = sync(acme, store_url, **WHOLE, **MAPPED)
        truth = server.ground_truth("WH-01")
    assert (state.name, report.rejected, report.unknown_skus) == ("Complete", 0, 0)
    assert report.master.version == version.run_id
    assert published(store_url)[:2] == (truth.valid, truth.units)
    assert skus_of(store_url) == {movement[1] for movement in truth.movements}


def skus_of(url: str) -> set[str]:
    return {row[1] for row in rows_of(url)}


def test_an_unknown_sku_is_accepted_once_the_master_has_it(tmp_path: Path, store_url: str) -> None:
    with wms_and_erp(tmp_path, items=without(1, 2)) as (server, acme, erp):
        sync_items(erp, store_url)
        _, first = sync(acme, store_url, **WHOLE, **MAPPED)
        assert first.rejected > 0 and first.loaded + first.rejected == 300
        assert 2 <= first.unknown_skus <= 4 and not skus_of(store_url) & {"SKU-00001", "SKU-00002"}
        server.play(replace(server.simulator.scenario, items=ITEMS_OF_ALL))
        sync_items(erp, store_url)
        _, second = sync(acme, store_url, **WHOLE, **MAPPED)
    assert (second.rejected, second.unknown_skus) == (0, 0) and published(store_url)[0] == 300
    assert first.master.version != second.master.version


def test_unknown_and_retired_skus_can_be_passed_through(tmp_path: Path, sqlite_url: str) -> None:
    some = tuple({**item, "status": "retired"} for item in without(1))
    with wms_and_erp(tmp_path, items=some, aliased_ratio=0) as (_, acme, erp):
        sync_items(erp, sqlite_url)
        assert sync(acme, sqlite_url, **WHOLE, **MAPPED)[1].rejected == 300
        _, report = sync(acme, sqlite_url, **WHOLE, **MAPPED, unknown_sku="pass")
    assert (report.rejected, report.unknown_skus) == (0, 1) and published(sqlite_url)[0] == 300


def test_a_resumed_run_keeps_its_planned_master_version(tmp_path: Path, store_url: str) -> None:
    with wms_and_erp(tmp_path, items=without(1), faults=(Fault("401", 199),)) as (server, acme, erp):
        sync_items(erp, store_url)
        state, first = sync(acme, store_url, **WHOLE, **MAPPED)
        assert state.name == "Incomplete" and first.failed_chunks == [2]
        server.play(replace(server.simulator.scenario, items=ITEMS_OF_ALL, faults=()))
        assert sync_items(erp, store_url)[0].name == "Complete"
        state, second = sync(acme, store_url, **WHOLE, **MAPPED, resume=first.run_id)
    assert (state.name, second.master) == ("Complete", first.master)
    assert "SKU-00001" not in skus_of(store_url)


@pytest.mark.parametrize("change", [{"master": None}, {"unknown_sku": "pass"}])
def test_a_run_cannot_be_resumed_with_another_mapping(
    tmp_path: Path, sqlite_url: str, change: dict[str, Any]
) -> None:
    with wms_and_erp(tmp_path) as (_, acme, erp):
        sync_items(erp, sqlite_url)
        _, first = sync(acme, sqlite_url, **WHOLE, **MAPPED)
        _, error = sync(acme, sqlite_url, **WHOLE, **(MAPPED | change), resume=first.run_id)
    assert isinstance(error, ConfigurationError) and "start a new run" in str(error)


def test_without_a_published_master_nothing_is_read(tmp_path: Path, sqlite_url: str) -> None:
    with wms_and_erp(tmp_path) as (server, acme, _):
        _, error = sync(acme, sqlite_url, **WHOLE, **MAPPED)
        assert server.stats().requests == 0
    assert isinstance(error, ConfigurationError) and "no published master erp" in str(error)


def test_a_failed_page_of_the_master_publishes_nothing_and_a_resume_reads_only_that(
    tmp_path: Path, sqlite_url: str
) -> None:
    with wms_and_erp(tmp_path, faults=(Fault("401", 19, ITEMS),)) as (server, _, erp):
        state, first = sync_items(erp, sqlite_url)
        assert state.name == "Incomplete" and first.failed_chunks == [2] and not first.published
        server.clear()
        server.reset_stats()
        state, _ = sync_items(erp, sqlite_url, resume=first.run_id)
        read = {page.offset for page in server.stats().pages if page.limit == 11}
    assert read == {0, 19}  # the first one checks the mapping
    assert state.name == "Complete"


def test_a_master_that_shrinks_during_the_read_leaves_the_previous_version(
    tmp_path: Path, sqlite_url: str
) -> None:
    shrinking = tuple(Change(n, position=0, delete=1, warehouse=ITEMS) for n in range(2, 60))
    with wms_and_erp(tmp_path) as (server, acme, erp):
        _, version = sync_items(erp, sqlite_url)
        server.play(replace(server.simulator.scenario, changes=shrinking))
        assert sync_items(erp, sqlite_url)[0].name == "Incomplete"
        server.play(replace(server.simulator.scenario, changes=()))
        _, report = sync(acme, sqlite_url, **WHOLE, **MAPPED)
    assert report.master.version == version.run_id


def test_items_and_movements_are_read_by_different_flows(tmp_path: Path, sqlite_url: str) -> None:
    with wms_and_erp(tmp_path) as (_, acme, erp):
        assert "read it with sync-master" in str(sync(erp, sqlite_url, **WHOLE)[1])
        assert "its spec needs `items`" in str(sync_items(acme, sqlite_url)[1])


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


def test_check_source_reads_one_page_of_a_master(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with wms_and_erp(tmp_path) as (_, acme, erp):
        assert main(["check-source", "--source", erp, "--token-env", "WMS_TOKEN"]) == 0
        shown = capsys.readouterr().out
        assert main(["check-source", "--source", acme, "--token-env", "WMS_TOKEN"]) == 2
    assert "ean:4000000000001" in shown and "total: 40 records" in shown
    assert "description, unit_volume" in shown and "movement_id" not in shown and "window" not in shown


def test_the_command_syncs_a_master_and_maps_by_it(tmp_path: Path, sqlite_url: str) -> None:
    with wms_and_erp(tmp_path) as (_, acme, erp):
        common = ["--token-env", "WMS_TOKEN", "--store", sqlite_url]
        assert main(["sync-master", "--source", erp, *common]) == 0
        words = ["--source", acme, "--warehouse", "WH-01", "--master", "erp", *common]
        assert main(["sync", *words]) == 0
        assert main(["sync", *words, "--unknown-sku", "guess"]) == 2
    assert published(sqlite_url)[0] == 300

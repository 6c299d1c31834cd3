"""A sync of an ERP's items publishes a master, and each window is mapped by one version of it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from simulator.faults import Fault
from simulator.items import ITEMS
from simulator.scenario import Change
from sku_velocity.cli.executor import Executor
from sku_velocity.errors import ConfigurationError
from tests.support.acme import WHOLE, published
from tests.support.erp import ITEMS_OF_ALL, MAPPED, without, wms_and_erp
from tests.support.operations import sync, sync_master
from tests.support.steps_driver import published as rows_of

pytestmark = pytest.mark.usefixtures("token")


def test_movements_are_mapped_by_the_published_master(
    executor: Executor, tmp_path: Path, store_url: str
) -> None:
    with wms_and_erp(tmp_path) as (server, acme, erp):
        outcome, version = sync_master(executor, erp, store_url)
        assert (outcome.name, outcome.message) == ("Complete", "40 items published, 0 rejected.")
        outcome, report = sync(executor, acme, store_url, **WHOLE, **MAPPED)
        truth = server.ground_truth("WH-01")
    assert (outcome.name, report.rejected, report.unknown_skus) == ("Complete", 0, 0)
    assert report.master.version == version.run_id
    assert published(store_url)[:2] == (truth.valid, truth.units)
    assert skus_of(store_url) == {movement[1] for movement in truth.movements}


def skus_of(url: str) -> set[str]:
    return {row[1] for row in rows_of(url)}


def test_an_unknown_sku_is_accepted_once_the_master_has_it(
    executor: Executor, tmp_path: Path, store_url: str
) -> None:
    with wms_and_erp(tmp_path, items=without(1, 2)) as (server, acme, erp):
        sync_master(executor, erp, store_url)
        _, first = sync(executor, acme, store_url, **WHOLE, **MAPPED)
        assert first.rejected > 0 and first.loaded + first.rejected == 300
        assert 2 <= first.unknown_skus <= 4 and not skus_of(store_url) & {"SKU-00001", "SKU-00002"}
        server.play(replace(server.simulator.scenario, items=ITEMS_OF_ALL))
        sync_master(executor, erp, store_url)
        _, second = sync(executor, acme, store_url, **WHOLE, **MAPPED)
    assert (second.rejected, second.unknown_skus) == (0, 0) and published(store_url)[0] == 300
    assert first.master.version != second.master.version


def test_unknown_and_retired_skus_can_be_passed_through(
    executor: Executor, tmp_path: Path, sqlite_url: str
) -> None:
    some = tuple({**item, "status": "retired"} for item in without(1))
    with wms_and_erp(tmp_path, items=some, aliased_ratio=0) as (_, acme, erp):
        sync_master(executor, erp, sqlite_url)
        assert sync(executor, acme, sqlite_url, **WHOLE, **MAPPED)[1].rejected == 300
        _, report = sync(executor, acme, sqlite_url, **WHOLE, **MAPPED, unknown_sku="pass")
    assert (report.rejected, report.unknown_skus) == (0, 1) and published(sqlite_url)[0] == 300


def test_a_resumed_run_keeps_its_planned_master_version(
    executor: Executor, tmp_path: Path, store_url: str
) -> None:
    with wms_and_erp(tmp_path, items=without(1), faults=(Fault("401", 199),)) as (server, acme, erp):
        sync_master(executor, erp, store_url)
        outcome, first = sync(executor, acme, store_url, **WHOLE, **MAPPED)
        assert outcome.name == "Incomplete" and first.failed_chunks == [2]
        server.play(replace(server.simulator.scenario, items=ITEMS_OF_ALL, faults=()))
        assert sync_master(executor, erp, store_url)[0].name == "Complete"
        outcome, second = sync(executor, acme, store_url, **WHOLE, **MAPPED, resume=first.run_id)
    assert (outcome.name, second.master) == ("Complete", first.master)
    assert "SKU-00001" not in skus_of(store_url)


@pytest.mark.parametrize("change", [{"master": None}, {"unknown_sku": "pass"}])
def test_a_run_cannot_be_resumed_with_another_mapping(
    executor: Executor, tmp_path: Path, sqlite_url: str, change: dict[str, Any]
) -> None:
    with wms_and_erp(tmp_path) as (_, acme, erp):
        sync_master(executor, erp, sqlite_url)
        _, first = sync(executor, acme, sqlite_url, **WHOLE, **MAPPED)
        with pytest.raises(ConfigurationError, match="start a new run"):
            sync(executor, acme, sqlite_url, **WHOLE, **(MAPPED | change), resume=first.run_id)


def test_without_a_published_master_nothing_is_read(
    executor: Executor, tmp_path: Path, sqlite_url: str
) -> None:
    with wms_and_erp(tmp_path) as (server, acme, _):
        with pytest.raises(ConfigurationError, match="no published master erp"):
            sync(executor, acme, sqlite_url, **WHOLE, **MAPPED)
        assert server.stats().requests == 0


def test_a_failed_page_of_the_master_publishes_nothing_and_a_resume_reads_only_that(
    executor: Executor, tmp_path: Path, sqlite_url: str
) -> None:
    with wms_and_erp(tmp_path, faults=(Fault("401", 19, ITEMS),)) as (server, _, erp):
        outcome, first = sync_master(executor, erp, sqlite_url)
        assert outcome.name == "Incomplete" and first.failed_chunks == [2] and not first.published
        server.clear()
        server.reset_stats()
        outcome, _ = sync_master(executor, erp, sqlite_url, resume=first.run_id)
        read = {page.offset for page in server.stats().pages if page.limit == 11}
    assert read == {0, 19, 39}  # 0 checks the mapping, 39 the end
    assert outcome.name == "Complete"


def test_a_master_that_shrinks_during_the_read_leaves_the_previous_version(
    executor: Executor, tmp_path: Path, sqlite_url: str
) -> None:
    shrinking = tuple(Change(n, position=0, delete=1, warehouse=ITEMS) for n in range(2, 60))
    with wms_and_erp(tmp_path) as (server, acme, erp):
        _, version = sync_master(executor, erp, sqlite_url)
        server.play(replace(server.simulator.scenario, changes=shrinking))
        assert sync_master(executor, erp, sqlite_url)[0].name == "Incomplete"
        server.play(replace(server.simulator.scenario, changes=()))
        _, report = sync(executor, acme, sqlite_url, **WHOLE, **MAPPED)
    assert report.master.version == version.run_id


def test_items_and_movements_are_read_by_different_operations(
    executor: Executor, tmp_path: Path, sqlite_url: str
) -> None:
    with wms_and_erp(tmp_path) as (_, acme, erp):
        with pytest.raises(ConfigurationError, match="read it with sync-master"):
            sync(executor, erp, sqlite_url, **WHOLE)
        with pytest.raises(ConfigurationError, match="its spec needs `items`"):
            sync_master(executor, acme, sqlite_url)

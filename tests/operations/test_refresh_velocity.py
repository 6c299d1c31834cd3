"""A refresh of velocity: each published warehouse in its own time zone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from simulator.server import serve_engine
from sku_velocity.cli.executor import Executor
from sku_velocity.errors import ConfigurationError
from tests.support.operations import refresh_velocity
from tests.support.velocity_store import AS_OF, ROWS, filled, look


def test_all_published_warehouses_are_refreshed_in_their_own_time_zone(
    executor: Executor, sqlite_url: str, tmp_path: Path
) -> None:
    store = filled(sqlite_url, ["WH-01", "WH-02"])
    zones = {"WH-02": "Europe/Berlin"}
    outcome, reports = refresh_velocity(
        executor, store, as_of=AS_OF, time_zones=zones, reports=str(tmp_path / "reports")
    )
    assert outcome.name == "Completed" and [report.warehouse for report in reports.root] == ["WH-01", "WH-02"]
    sums = look(
        store, "SELECT warehouse_id, sku_id, days_since_last_movement FROM current_velocity ORDER BY 1, 2"
    )
    assert sums == [
        ("WH-01", "SKU-1", 0),
        ("WH-01", "SKU-2", 1),
        ("WH-02", "SKU-1", 0),
        ("WH-02", "SKU-2", 0),
    ]


def test_a_failed_warehouse_does_not_stop_the_others(
    executor: Executor, sqlite_url: str, tmp_path: Path
) -> None:
    store = filled(sqlite_url, ["WH-01", "WH-02"])
    filled(sqlite_url, ["BAD"], [("A", 2**63 - 1, ROWS[0][2])] * 2)
    outcome, reports = refresh_velocity(executor, store, as_of=AS_OF, reports=str(tmp_path))
    assert outcome.is_failed and "1 of 3 warehouses failed: BAD from acme" in outcome.message
    assert [report.warehouse for report in reports.root] == ["WH-01", "WH-02"]


def test_an_empty_store_is_not_a_failure_but_a_wrong_name_is(
    executor: Executor, sqlite_url: str, tmp_path: Path
) -> None:
    outcome, reports = refresh_velocity(executor, sqlite_url, reports=str(tmp_path))
    assert outcome.name == "Completed" and reports.root == [] and "Nothing is published" in outcome.message
    with pytest.raises(ConfigurationError, match="WH-09"):
        refresh_velocity(executor, sqlite_url, warehouses=["WH-09"], reports=str(tmp_path))


def test_an_engine_is_sent_only_the_changed_classes(
    executor: Executor, sqlite_url: str, tmp_path: Path
) -> None:
    store, path = filled(sqlite_url), tmp_path / "slots.yaml"
    with serve_engine() as engine:
        path.write_text(yaml.safe_dump({"name": "slots", "base_url": engine.url}))
        request: dict[str, Any] = {"as_of": AS_OF, "reports": str(tmp_path), "push": str(path)}
        for sent in (1, 0):
            engine.reset_stats()
            assert refresh_velocity(executor, store, **request)[0].name == "Completed"
            assert engine.stats().requests == sent
    assert len(engine.simulator.classes.accepted) == 2

"""A source's description is tried on one page, with advice."""

from __future__ import annotations

from pathlib import Path

import pytest

from flows.__main__ import main
from simulator.scenario import Scenario
from simulator.server import serve
from simulator.systems import SYSTEMS
from tests.support.acme import TOKEN, spec_file, wms

pytestmark = pytest.mark.usefixtures("prefect_server", "token")


def check(source: str, *more: str, warehouse: str = "WH-01") -> int:
    words = ["check-source", "--source", source, "--token-env", "WMS_TOKEN", "--warehouse", warehouse]
    return main([*words, *more])


def test_each_field_is_shown_beside_the_raw_record(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with wms(tmp_path, extra_fields=("colour",)) as (server, source):
        first = server.ground_truth("WH-01").movements[0]
        assert check(source) == 0
    shown = capsys.readouterr().out
    assert all(str(value) in shown for value in (*first[:4], "timestamp_utc", '"colour"'))
    assert "total: 1000 records; page size: 101" in shown
    assert "fields that the spec does not map: colour" in shown and "set order.params" in shown


def test_it_advises_on_a_clamp_and_on_missing_ids(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with wms(tmp_path, max_page_size=20) as (server, _):
        assert check(spec_file(server, tmp_path, fields={}, total={"from": "none"})) == 0
    shown = " ".join(capsys.readouterr().out.split())
    assert "set paging.max_page_size: 20" in shown and "no movement_id is mapped" in shown
    assert "base_url is http: the token and the records can be read on their way" in shown
    assert "set total" in shown and "total: 1000 records" in shown


def test_a_rejected_first_record_says_why(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with wms(tmp_path) as (server, _):
        fields = {"units_moved": {"path": "units_moved", "sign": "negate"}}
        assert check(spec_file(server, tmp_path, fields=fields)) == 0
    shown = " ".join(capsys.readouterr().out.split())
    assert "rejected:" in shown and "101 of 101 records are rejected" in shown


def test_a_record_that_a_filter_drops_is_not_the_one_shown(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = tmp_path / "stock.yaml"
    scenario = Scenario(records=30, warehouses=("12",), system=SYSTEMS["inventree"], token=TOKEN)
    with serve(scenario) as server:
        source.write_text(f"preset: inventree\nbase_url: {server.url}\n")
        times = ("--start", "2026-03-01T00:00:00Z", "--end", "2026-03-08T00:00:00Z")
        assert check(str(source), *times, warehouse="12") == 0
    shown = " ".join(capsys.readouterr().out.split())
    assert "inventree: record 2 of 40" in shown and '"removed"' in shown and "rejected" not in shown
    assert "10 of 40 records are filtered" in shown


def test_a_wrong_mapping_ends_with_2_and_names_the_field(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with wms(tmp_path) as (server, _):
        assert check(spec_file(server, tmp_path, fields={"sku_id": "item.sku"})) == 2
    assert "fields.sku_id: item.sku" in capsys.readouterr().err

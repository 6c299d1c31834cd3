"""`check-source` reads one page of a source and gives advice."""

from __future__ import annotations

from pathlib import Path

import pytest

from simulator.scenario import Scenario
from simulator.server import serve
from simulator.systems import SYSTEMS
from tests.support.acme import TOKEN, spec_file, wms
from tests.support.certificates import Authority
from tests.support.commands import run
from tests.support.erp import wms_and_erp
from tests.support.scripted_server import Reply, scripted

pytestmark = pytest.mark.usefixtures("token")


def check(source: str, *more: str, warehouse: str = "WH-01") -> int:
    arguments = ["check-source", "--source", source, "--token-env", "WMS_TOKEN", "--warehouse", warehouse]
    return run(*arguments, *more)


def test_each_field_is_printed_with_the_raw_record(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with wms(tmp_path, extra_fields=("colour",)) as (server, _):
        source = spec_file(server, tmp_path, order={})
        first = server.ground_truth("WH-01").movements[0]
        assert check(source) == 0
    shown = capsys.readouterr().out
    assert all(str(value) in shown for value in (*first[:4], "timestamp_utc", '"colour"'))
    assert "total: 1000 records; page size: 101" in shown
    assert "fields that the spec does not map: colour" in shown and "set order.params" in shown


def test_optional_and_extra_fields_are_printed_and_those_that_no_record_has_are_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with wms(tmp_path, extra_fields=("colour",)) as (server, _):
        fields = {"movement_id": "movement_id", "location_id": "colour", "order_id": "order.number"}
        source = spec_file(server, tmp_path, fields=fields, extra={"tint": "colour", "lot": "lot_no"})
        assert check(source) == 0
    shown = " ".join(capsys.readouterr().out.split())
    assert "location_id │ colour" in shown and "extra.tint │ colour" in shown
    assert "no record has order_id at order.number" in shown and "no record has extra.lot at lot_no" in shown
    assert "no record has location_id" not in shown and "does not map" not in shown


def test_it_advises_on_a_capped_page_size_and_missing_ids(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with wms(tmp_path, max_page_size=20) as (server, _):
        assert check(spec_file(server, tmp_path, fields={}, total={"from": "none"})) == 0
    shown = " ".join(capsys.readouterr().out.split())
    assert "set paging.max_page_size: 20" in shown and "no movement_id is mapped" in shown
    assert "base_url is http: the token and the records travel unencrypted" in shown
    assert "set total" in shown and "total: 1000 records" in shown


def test_a_rejected_first_record_says_why(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with wms(tmp_path) as (server, _):
        fields = {"units_moved": {"path": "units_moved", "sign": "negate"}}
        assert check(spec_file(server, tmp_path, fields=fields)) == 1
    shown = " ".join(capsys.readouterr().out.split())
    assert "rejected:" in shown and "101 of 101 records are rejected" in shown


def test_it_prints_the_first_record_that_no_filter_drops(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = tmp_path / "stock.yaml"
    scenario = Scenario(records=30, warehouses=("MAIN",), system=SYSTEMS["inventree"], token=TOKEN)
    with serve(scenario) as server:
        source.write_text(f"preset: inventree\nbase_url: {server.url}\n")
        times = ("--start", "2026-03-01T00:00:00Z", "--end", "2026-03-08T00:00:00Z")
        assert check(str(source), *times, warehouse="MAIN") == 0
    shown = " ".join(capsys.readouterr().out.split())
    assert "inventree: record 2 of 40" in shown and '"removed"' in shown and "rejected" not in shown
    assert "10 of 40 records are filtered" in shown


def test_a_wrong_mapping_exits_with_2_and_names_the_field(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with wms(tmp_path) as (server, _):
        assert check(spec_file(server, tmp_path, fields={"sku_id": "item.sku"})) == 2
    assert "fields.sku_id: item.sku" in capsys.readouterr().err


@pytest.mark.parametrize("preset", ["odoo-json2", "netsuite-suiteql"])
def test_an_order_in_the_body_is_not_reported_as_missing(
    preset: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = tmp_path / "acme.yaml"
    scenario = Scenario(records=30, warehouses=("4",), system=SYSTEMS[preset], token=TOKEN)
    with serve(scenario) as server:
        source.write_text(f"preset: {preset}\nbase_url: {server.url}\n")
        times = ("--start", "2026-03-01T00:00:00Z", "--end", "2026-03-08T00:00:00Z")
        assert check(str(source), *times, warehouse="4") == 0
    shown = capsys.readouterr().out
    assert "position" not in shown and "no order" not in shown


def test_an_unknown_warehouse_is_a_warning(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with wms(tmp_path) as (server, source):
        assert check(source, warehouse="WH-99") == 1
        listing = {"path": "records", "field": "code"}
        assert check(spec_file(server, tmp_path, warehouses=listing), warehouse="WH-99") == 1
    shown = " ".join(capsys.readouterr().out.split())
    assert "WARNING: no records of the warehouse WH-99 were returned" in shown
    assert "WARNING: the source does not list the warehouse WH-99; it lists WH-01" in shown


def test_records_that_are_all_outside_the_window_are_a_warning(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    record = '{"sku_id": "A", "warehouse_id": "WH-01", "units_moved": 1, "timestamp_utc": 1772353800}'
    with scripted(Reply(body=f'{{"data": [{record}], "next": null}}'.encode())) as server:
        fields = {"timestamp_utc": {"path": "timestamp_utc", "format": "epoch_ms"}}
        parts = {"records": {"path": "data"}, "total": {"from": "none"}, "auth": {"kind": "none"}}
        paging = {"style": "cursor", "cursor_path": "next"}
        source = spec_file(server, tmp_path, **parts, paging=paging, fields=fields)
        times = ("--start", "2026-03-01T00:00:00Z", "--end", "2026-03-08T00:00:00Z")
        assert check(source, *times) == 1
    shown = " ".join(capsys.readouterr().out.split())
    assert "WARNING: all 1 records are of another warehouse or outside the window" in shown
    assert "base_url is http: the records travel unencrypted" in shown and "token" not in shown


def test_an_unknown_time_zone_exits_with_2_and_names_file_and_key(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = tmp_path / "acme.yaml"
    zone = "fields: {timestamp_utc: {path: at, assume_timezone: Europe/Berln}}"
    source.write_text(f"name: acme\nbase_url: https://wms.example.com\n{zone}\n")
    assert check(str(source)) == 2
    error = " ".join(capsys.readouterr().err.split())
    assert "acme.yaml" in error and "fields.timestamp_utc.assume_timezone" in error
    assert "unknown time zone 'Europe/Berln': did you mean Europe/Berlin?" in error


def test_check_source_reads_one_page_of_a_master(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with wms_and_erp(tmp_path) as (_, acme, erp):
        assert run("check-source", "--source", erp, "--token-env", "WMS_TOKEN") == 0
        shown = capsys.readouterr().out
        assert run("check-source", "--source", acme, "--token-env", "WMS_TOKEN") == 2
    assert "ean:4000000000001" in shown and "total: 40 records" in shown
    assert "description, unit_volume" in shown and "movement_id" not in shown and "window" not in shown


def test_it_reports_that_a_certificate_is_not_verified(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    authority = Authority.make(tmp_path)
    with scripted(Reply(body=b'{"records": [], "total": 0}'), tls=authority.server()) as server:
        assert check(spec_file(server, tmp_path, tls={"verify": False})) == 1
    shown = " ".join(capsys.readouterr().out.split())
    assert "its certificate is not verified (tls.verify: false)" in shown and "is http" not in shown

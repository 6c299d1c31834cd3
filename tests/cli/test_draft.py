"""`draft` writes a spec that reads the API whose answers it saw, and notes what it did not find."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
import yaml

from simulator.dialect import DIALECTS
from simulator.scenario import Scenario
from simulator.server import serve
from simulator.systems import SYSTEMS
from tests.support.acme import TOKEN
from tests.support.commands import run
from tests.support.scripted_server import Reply, answering, scripted

pytestmark = pytest.mark.usefixtures("token")
Spec = dict[str, Any]
OFFSET = {"style": "offset", "offset_param": "offset", "first": 0, "limit_param": "limit"}
TOTAL = {"from": "body", "path": "total"}
DAYS = "2026-03-01", "2026-03-08"


def draft(directory: Path, url: str, *words: str, code: int = 0) -> tuple[Spec, str]:
    """Run the command; return the spec and the notes in the file that it wrote."""
    file = directory / "drafted.yaml"
    assert run("draft", "--url", url, "--warehouse", "4", "--output", str(file), *words) == code
    text = file.read_text()
    return yaml.safe_load(text), "\n".join(line for line in text.splitlines() if line.startswith("#"))


@pytest.mark.parametrize(
    ("dialect", "path", "paging", "total"),
    [
        ("plain", "records", OFFSET, TOTAL),
        ("nested", "data.movements", OFFSET, {"from": "body", "path": "meta.page.total"}),
        ("header", "", OFFSET, {"from": "header", "header": "X-Total-Count"}),
        ("bare", "", OFFSET, None),
        (
            "page",
            "records",
            {"style": "page", "page_param": "page", "first": 1, "limit_param": "limit"},
            TOTAL,
        ),
        (
            "cursor",
            "records",
            {"style": "cursor", "cursor_param": "cursor", "cursor_path": "next", "limit_param": "limit"},
            None,
        ),
        ("next-link", "records", {"style": "next_link", "next_path": "next", "limit_param": "limit"}, TOTAL),
        ("link-header", "", {"style": "next_link", "limit_param": "limit"}, None),
    ],
)
def test_a_dialect_is_described_and_read(
    dialect: str, path: str, paging: Spec, total: Spec | None, tmp_path: Path
) -> None:
    scenario = Scenario(records=40, warehouses=("4",), token=TOKEN, dialect=DIALECTS[dialect])
    with serve(scenario) as server:
        url = f"{server.url}/movements?warehouse=4"
        spec, notes = draft(tmp_path, url, "--token-env", "WMS_TOKEN")
        words = ["--source", str(tmp_path / "drafted.yaml"), "--token-env", "WMS_TOKEN", "--warehouse", "4"]
        assert run("sync", *words, "--store", f"sqlite:///{tmp_path}/s.db", *_bounds()) == 0
    assert (spec["records"]["path"], spec["paging"], spec.get("total")) == (path, paging, total)
    assert spec["request"] == {"path": "/movements", "params": {"warehouse": "{warehouse}"}}
    assert spec["fields"].keys() == {
        *("movement_id", "sku_id", "warehouse_id", "units_moved", "timestamp_utc"),
    }
    assert ("total was not found" in notes) is (total is None) and "no order was tried" in notes


def test_what_paging_and_window_set_is_not_sent_twice(tmp_path: Path) -> None:
    """Also if no field is found to be the time of a movement."""
    rows = [{"uid": f"m-{n}", "product": f"A-{n}", "depot": "4"} for n in range(40)]

    def answer(target: str) -> Reply:
        query = {key: values[0] for key, values in parse_qs(urlsplit(target).query).items()}
        first = int(query["offset"])
        page = rows[first : first + int(query["limit"])]
        return Reply(body=json.dumps({"records": page, "total": len(rows)}).encode())

    with answering(answer) as server:
        bounds = f"since={OFFSETS['start']}&until={OFFSETS['end']}"
        spec, _ = draft(tmp_path, f"{server.url}/m?depot=4&{bounds}&offset=0&limit=20", code=1)
    assert spec["request"]["params"] == {"depot": "{warehouse}"} and spec["paging"] == OFFSET
    assert spec["window"] == {"params": {"start": "since", "end": "until"}, "format": "iso"}


def _bounds() -> list[str]:
    return ["--start", f"{DAYS[0]}T00:00:00Z", "--end", f"{DAYS[1]}T00:00:00Z"]


OFFSETS = {name: f"2026-03-0{day}T00:00:00Z" for name, day in (("start", 1), ("end", 8))}


@pytest.mark.parametrize(
    ("system", "auth", "path", "expected"),
    [
        (
            "json-server",
            "none",
            "/movements?warehouse_id=4&timestamp_utc_gte={start}&timestamp_utc_lte={end}",
            {
                "window": {
                    "params": {"start": "timestamp_utc_gte", "end": "timestamp_utc_lte"},
                    "format": "iso",
                },
                "total": {"from": "header", "header": "X-Total-Count"},
                "paging": {"style": "offset", "offset_param": "_start", "first": 0, "limit_param": "_limit"},
            },
        ),
        (
            "postgrest",
            "bearer",
            "/movements?warehouse_id=eq.4&and=(timestamp_utc.gte.{start},timestamp_utc.lt.{end})",
            {
                "request": {
                    "path": "/movements",
                    "params": {
                        "warehouse_id": "eq.{warehouse}",
                        "and": "(timestamp_utc.gte.{start},timestamp_utc.lt.{end})",
                    },
                },
                "window": {"format": "iso"},
            },
        ),
        (
            "inventree",
            "header:Authorization",
            "/api/stock/track/?part_detail=true&ordering=date&min_date=2026-02-28&max_date=2026-03-08",
            {
                "records": {"path": "results"},
                "total": {"from": "body", "path": "count"},
                "window": {"params": {"start": "min_date", "end": "max_date"}, "format": "date"},
            },
        ),
        (
            "drf-page-number",
            "header:Authorization",
            "/movements?ordering=timestamp_utc,id",
            {
                "paging": {"style": "page", "page_param": "page", "first": 1, "limit_param": "page_size"},
                "records": {"path": "results"},
            },
        ),
    ],
)
def test_a_system_is_described(
    system: str,
    auth: str,
    path: str,
    expected: Spec,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    prefix = "Token " if auth == "header:Authorization" else ""
    monkeypatch.setenv("WMS_TOKEN", f"{prefix}{TOKEN}")
    signed = [] if auth == "none" else ["--token-env", "WMS_TOKEN"]
    with serve(Scenario(records=40, warehouses=("4",), system=SYSTEMS[system], token=TOKEN)) as server:
        spec, _ = draft(tmp_path, server.url + path.format(**OFFSETS), *signed, "--auth", auth)
    assert {key: spec[key] for key in expected} == expected


def sap(query: dict[str, str], number: int) -> Spec:
    return {
        "MaterialDocument": f"49{number}",
        "Material": f"MAT-{number % 5}",
        "Plant": "4",
        "QuantityInEntryUnit": f"{number + 1}.000",
        "EntryUnit": "EA",
        "GoodsMovementType": "261" if number % 4 else "101",
        "PostingDate": f"/Date({1772323200000 + number * 3_600_000})/",
    }


def extensiv(query: dict[str, str], number: int) -> Spec:
    return {
        "TransactionId": number + 1,
        "ItemIdentifier": {"Sku": f"A-{number % 3}"},
        "FacilityId": 4,
        "Qty": -number - 1,
        "ProcessDate": f"0{1 + number // 10}.03.2026 1{number % 10}:30",
    }


def shipbob(query: dict[str, str], number: int) -> Spec:
    return {
        "id": f"m-{number}",
        "sku": f"A-{number % 3}",
        "facility_id": "4",
        "quantity": number + 1,
        "created_at": 1772323200 + number * 60,
    }


SHAPES: dict[str, tuple[Any, Callable[[dict[str, str], list[Spec]], Spec], Spec]] = {
    "SAP, OData 2": (
        sap,
        lambda query, rows: {
            "d": {
                "__count": str(len(rows)),
                "results": rows[int(query.get("$skip", 0)) :][: int(query.get("$top", 20))],
            }
        },
        {
            "records": {"path": "d.results"},
            "total": {"from": "body", "path": "d.__count"},
            "paging": {"style": "offset", "offset_param": "$skip", "first": 0, "limit_param": "$top"},
            "fields": {
                "timestamp_utc": {"path": "PostingDate", "format": "odata_v2"},
                "units_moved": "QuantityInEntryUnit",
                "warehouse_id": "Plant",
                "sku_id": "Material",
                "movement_type": "GoodsMovementType",
                "unit_of_measure": "EntryUnit",
            },
        },
    ),
    "numbered pages, local times, negative picks": (
        extensiv,
        lambda query, rows: {
            "TotalResults": len(rows),
            "ResourceList": rows[(int(query.get("pgnum", 1)) - 1) * int(query.get("pgsiz", 20)) :][
                : int(query.get("pgsiz", 20))
            ],
        },
        {
            "total": {"from": "body", "path": "TotalResults"},
            "paging": {"style": "page", "page_param": "pgnum", "first": 1, "limit_param": "pgsiz"},
            "fields": {
                "timestamp_utc": {
                    "path": "ProcessDate",
                    "format": "%d.%m.%Y %H:%M",
                    "assume_timezone": "UTC",
                },
                "units_moved": {"path": "Qty", "sign": "negate"},
                "warehouse_id": "FacilityId",
                "sku_id": "ItemIdentifier.Sku",
                "movement_id": "TransactionId",
            },
        },
    ),
    "a cursor, seconds since 1970": (
        shipbob,
        lambda query, rows: {
            "data": rows[int(query.get("cursor", "c0")[1:]) :][: int(query.get("limit", 20))],
            "page": {"next_cursor": f"c{int(query.get('cursor', 'c0')[1:]) + int(query.get('limit', 20))}"},
        },
        {
            "records": {"path": "data"},
            "paging": {
                "style": "cursor",
                "cursor_param": "cursor",
                "cursor_path": "page.next_cursor",
                "limit_param": "limit",
            },
            "fields": {
                "timestamp_utc": {"path": "created_at", "format": "epoch_s"},
                "units_moved": "quantity",
                "warehouse_id": "facility_id",
                "sku_id": "sku",
                "movement_id": "id",
            },
        },
    ),
}


@pytest.mark.parametrize("shape", SHAPES)
def test_an_answer_of_a_known_shape_is_described(shape: str, tmp_path: Path) -> None:
    record, page, expected = SHAPES[shape]
    rows = [record({}, number) for number in range(20)]

    def answer(target: str) -> Reply:
        query = {key: values[0] for key, values in parse_qs(urlsplit(target).query).items()}
        return Reply(body=json.dumps(page(query, rows)).encode())

    with answering(answer) as server:
        spec, notes = draft(tmp_path, f"{server.url}/moves?site=4")
    assert {key: spec[key] for key in expected} == expected
    assert spec["request"]["params"] == {"site": "{warehouse}"} and "window was not found" in notes
    assert ("UTC is assumed" in notes) is (shape.startswith("numbered"))


def test_what_was_not_found_is_noted_and_exits_with_1(tmp_path: Path) -> None:
    rows = [{"code": f"A{number}", "n": number} for number in range(20)]
    with scripted(Reply(body=json.dumps({"rows": rows}).encode())) as server:
        spec, notes = draft(tmp_path, f"{server.url}/moves", code=1)
    assert spec["records"] == {"path": "rows"} and "sku_id" not in spec["fields"]
    for what in ("paging was", "total was", "fields.sku_id was", "fields.units_moved was", "limit_param was"):
        assert f"{what} not found" in notes
    assert "reading with this draft failed" in notes


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--url", "wms.example.com"], "--url: it must start with https://"),
        (["--url", "https://me:pw@wms.example.com/a"], "--url contains a user or password"),
        (["--url", "https://wms.example.com/a?api_key=x"], "--url contains the secret api_key"),
        (["--url", "https://wms.example.com/a", "--auth", "beer"], "auth.kind: must be none, bearer"),
        (["--url", "https://wms.example.com/a", "--output", "."], "--output: . exists"),
    ],
)
def test_a_wrong_option_exits_with_2(
    words: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("draft", *words) == 2
    assert message in capsys.readouterr().err


def test_an_answer_without_records_is_an_error(capsys: pytest.CaptureFixture[str]) -> None:
    with scripted(Reply(body=b'{"status": "ok", "items": []}')) as server:
        assert run("draft", "--url", f"{server.url}/moves") == 2
    assert "has no list of records (it has the keys status, items)" in capsys.readouterr().err

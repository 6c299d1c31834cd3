"""Optional fields of movements: from the source into the store, the file, the engine and the velocity."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import yaml

from simulator.server import serve_engine
from sku_velocity.cli.executor import Executor
from sku_velocity.model.movement import DETAILS
from tests.support.operations import refresh_velocity, replay, sync
from tests.support.published_store import table
from tests.support.served_records import DAY, record, serve_records

WINDOW = {"start": DAY.start, "end": DAY.end}
TEXTS = [
    "=1+1",
    "@SUM(A1)|'cmd'!A0",
    "<script>alert('1')</script>&amp;",
    "[x](javascript:alert(1)) | `**b**`",
    "'; DROP TABLE movements; --",
    'say "hi" \\ \\n {0} %s :x $1',
    "\x01\x1b[31mred\x07\r\n\ttab\x7f",
    "rtl \u202e ltr \u2066 \ufeff\u200b",
    "x" * 255,
    "\U0001f4e6" * 255,
    "NULL",
]
FIELDS = {
    "movement_id": "id",
    "sku_id": {"path": "sku_id", "case": "upper", "strip": True, "pattern": "any"},
    "units_moved": {"path": "qty", "sign": "abs", "factor": {"by": "uom", "values": {"EA": 1, "CS": 12}}},
    "movement_type": "type",
    "order_id": "order",
    "location_id": "bin",
    "unit_of_measure": "uom",
    "direction": {"path": "qty", "negative": "out"},
}
PARTS: dict[str, Any] = {
    "fields": FIELDS,
    "types": {"pick": ["PICK", 261], "receipt": ["RCV"]},
    "extra": {"lot": "lot"},
}
COLUMNS = ("position", "sku_id", "units_moved", *DETAILS)
VIEW = f"SELECT {', '.join(COLUMNS)} FROM published_movements ORDER BY position"


def hostile() -> list[dict[str, Any]]:
    """Return a record for each text, in each field, and some that must be rejected."""
    good = [
        record(number, sku_id=f" s/{number}% ", qty=-number, uom="CS", type=text, order=text, bin=text,
               lot={text: text})
        for number, text in enumerate(TEXTS)
    ]  # fmt: skip
    bad = ({"bin": "x" * 256}, {"order": "a\x00b"}, {"lot": "\x00"}, {"lot": "x" * 4096}, {"uom": "PAL"},
           {"type": "\ud800"}, {"sku_id": "a\nb"})  # fmt: skip
    return good + [record(100 + n, **{"qty": 1, "uom": "EA"} | change) for n, change in enumerate(bad)]


def rows_of(text: str, number: int) -> tuple[Any, ...]:
    return (number, f"S/{number}%", 12 * number, text, text, text, "CS", "out" if number else None)


@contextmanager
def source(tmp_path: Path, records: list[Any], **parts: Any) -> Iterator[tuple[str, dict[str, Any]]]:
    """A source of records and its spec file."""
    with serve_records(records) as served:
        spec = {
            "name": "acme",
            "base_url": served.url,
            "request": {"params": {"warehouse": "{warehouse}"}},
            "window": {"params": {"start": "since", "end": "until"}},
            "records": {"path": "records"},
            "total": {"from": "body", "path": "total"},
            "order": {"stable": True},
            "pace": {"requests_per_second": 1000},
            "auth": {"kind": "none"},
            "limits": {"max_reject_ratio": 1},
            **PARTS,
            **parts,
        }
        path = tmp_path / "acme.yaml"
        path.write_text(yaml.safe_dump(spec))
        yield str(path), spec


def look(url: str, sql: str) -> list[tuple[Any, ...]]:
    return asyncio.run(table(url, sql))


def test_hostile_texts_arrive_unchanged_in_the_store_the_file_and_the_engine(
    executor: Executor, tmp_path: Path, store_url: str
) -> None:
    engine_file, export_to = tmp_path / "slots.yaml", tmp_path / "export"
    with source(tmp_path, hostile()) as (path, _), serve_engine() as engine:
        spec = {"name": "slots", "base_url": engine.url, "movement_fields": [*reversed(DETAILS)]}
        engine_file.write_text(yaml.safe_dump(spec))
        request = {**WINDOW, "push": str(engine_file), "export_to": str(export_to)}
        outcome, report = sync(executor, path, store_url, token_env=None, **request)
        pushed = dict(engine.simulator.movements.current)
    assert outcome.name == "Complete" and (report.loaded, report.rejected) == (len(TEXTS), 7)
    expected = [(*rows_of(text, number), {"lot": {text: text}}) for number, text in enumerate(TEXTS)]
    stored = look(store_url, VIEW)
    assert [(*row[:-1], json.loads(row[-1])) for row in stored] == expected
    (file,) = export_to.rglob("*.parquet")
    assert [tuple(row[name] for name in COLUMNS) for row in pq.read_table(file).to_pylist()] == stored
    assert len(pushed) == len(TEXTS)
    for row in expected:
        sent = pushed[f"m-{row[0]}"]
        assert list(sent)[5:] == [*reversed(DETAILS)]
        assert tuple(sent[name] for name in COLUMNS[1:]) == row[1:]


def test_an_engine_that_lists_no_fields_is_sent_none(
    executor: Executor, tmp_path: Path, sqlite_url: str
) -> None:
    engine_file = tmp_path / "slots.yaml"
    with source(tmp_path, hostile()) as (path, _), serve_engine() as engine:
        engine_file.write_text(yaml.safe_dump({"name": "slots", "base_url": engine.url}))
        sync(executor, path, sqlite_url, token_env=None, **WINDOW, push=str(engine_file))
        sent = dict(engine.simulator.movements.current)["m-1"]
    assert list(sent) == ["id", "sku_id", "warehouse_id", "units_moved", "timestamp_utc"]


def test_a_replayed_record_has_its_fields(executor: Executor, tmp_path: Path, store_url: str) -> None:
    records = [record(n, qty=-1, uom="EA", type="PICK", bin="A-01", lot=n) for n in range(20)]
    records[7] |= {"uom": "PAL", "qty": -2}
    with source(tmp_path, records) as (path, spec):
        assert sync(executor, path, store_url, token_env=None, **WINDOW)[1].rejected == 1
        (reasons,) = look(store_url, "SELECT reasons FROM dead_letters")[0]
        assert "the unit of measure PAL (uom) is not in fields.units_moved.factor.values" in reasons
        units = FIELDS["units_moved"] | {"factor": {"by": "uom", "values": {"EA": 1, "PAL": 480}}}
        Path(path).write_text(yaml.safe_dump(spec | {"fields": FIELDS | {"units_moved": units}}))
        assert replay(executor, path, store_url)[1].total("published") == 1
    (row,) = [each for each in look(store_url, VIEW) if each[0] == 7]
    assert (*row[:-1], json.loads(row[-1])) == (
        7, "SKU-1", 960, "pick", None, "A-01", "PAL", "out", {"lot": 7}
    )  # fmt: skip


@pytest.mark.parametrize(
    ("parts", "count_types", "lines", "counted"),
    [
        ({}, None, 4, ["pick"]),
        ({}, ["receipt"], 3, ["receipt"]),
        ({}, ["pick", "ADJ"], 6, ["ADJ", "pick"]),
        ({}, ["all"], 10, None),
        ({"types": {}}, None, 10, None),
        ({"types": {}}, ["RCV"], 3, ["RCV"]),
    ],
)
def test_velocity_counts_the_types_that_are_asked_for(
    executor: Executor,
    tmp_path: Path,
    sqlite_url: str,
    monkeypatch: pytest.MonkeyPatch,
    parts: dict[str, Any],
    count_types: list[str] | None,
    lines: int,
    counted: list[str] | None,
) -> None:
    monkeypatch.chdir(tmp_path)
    kinds = ["PICK", "PICK", 261, "261", "RCV", "RCV", "RCV", "ADJ", "ADJ", None]
    records = [record(n, qty=1, uom="EA", type=kind) for n, kind in enumerate(kinds)]
    with source(tmp_path, records, **parts) as (path, _):
        sync(
            executor, path, sqlite_url, token_env=None, **WINDOW, velocity_zone="UTC", count_types=count_types
        )
    query = (
        "SELECT v.lines_91, r.count_types FROM current_velocity v JOIN velocity_refreshes r USING (source)"
    )
    stored = None if counted is None else json.dumps(counted)
    assert look(sqlite_url, query) == [(lines, stored)]
    _, reports = refresh_velocity(
        executor, sqlite_url, as_of="2026-03-01", count_types=count_types, reports=str(tmp_path)
    )
    (report,) = reports.root
    assert (report.lines, report.count_types) == (lines, counted)
    page = (tmp_path / "velocity.acme.WH-01.html").read_text()
    assert (f"movements of type {', '.join(counted)}" if counted else "all movements") in page


def test_a_velocity_of_nothing_is_explained(
    executor: Executor, tmp_path: Path, sqlite_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    with source(tmp_path, [record(n, qty=1, uom="EA", type="ADJ") for n in range(5)]) as (path, _):
        sync(executor, path, sqlite_url, token_env=None, **WINDOW)
    with caplog.at_level(logging.INFO, "sku_velocity"):  # a command that ran before may have hidden it
        _, reports = refresh_velocity(executor, sqlite_url, as_of="2026-03-01", reports=str(tmp_path))
    assert reports.root[0].skus == 0
    assert "no movements of type pick are published in these 91 days: set count_types" in caplog.text

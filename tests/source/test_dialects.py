"""Windows are read whole, proven and resumed with every way of paging and counting."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from simulator.dialect import DIALECTS
from simulator.faults import Fault
from simulator.scenario import Change, Scenario
from simulator.server import serve
from sku_velocity.model.run import Verdict
from sku_velocity.store import migrate
from tests.support.steps_driver import content, play

ROWS = {"records": {"path": "records"}}
TOTAL = {"from": "body", "path": "total"}
BODY = {"warehouse": "{warehouse}"}
SPECS: dict[str, dict[str, Any]] = {
    "page": {**ROWS, "total": TOTAL, "paging": {"style": "page", "first": 1}},
    "range": {"records": {}, "total": {"from": "content_range"}, "paging": {"in": "range_header"}},
    "json-body": {
        **ROWS,
        "total": TOTAL,
        "paging": {"in": "json_body"},
        "request": {"method": "POST", "body": BODY},
    },
    "cursor": {
        **ROWS,
        "total": {"from": "none"},
        "paging": {"style": "cursor", "cursor_path": "next"},
    },
    "next-link": {**ROWS, "total": TOTAL, "paging": {"style": "next_link", "next_path": "next"}},
    "link-header": {"records": {}, "total": {"from": "none"}, "paging": {"style": "next_link"}},
}
IDS = {"fields": {"movement_id": "movement_id"}}
CURSORS = ("cursor", "next-link", "link-header")  # not declared stable

every_dialect = pytest.mark.parametrize("name", SPECS)


@pytest.fixture
def store(sqlite_url: str) -> str:
    asyncio.run(migrate(sqlite_url))
    return sqlite_url


def spec_of(name: str, page_size: int) -> dict[str, Any]:
    spec = SPECS[name]
    return {**spec, **IDS, "order": {"stable": True}, "paging": {**spec["paging"], "page_size": page_size}}


@every_dialect
@pytest.mark.parametrize(("records", "page_size"), [(0, 50), (49, 50), (50, 50), (1234, 50), (1010, 10)])
def test_a_window_is_read_whole(name: str, records: int, page_size: int, store: str) -> None:
    scenario = Scenario(records=records, bad_ratio=0.02, dialect=DIALECTS[name])
    with serve(scenario) as server:
        status, _, after = play(server, store, scenario, **spec_of(name, page_size))
        unproven = records > page_size and (name in CURSORS or (name == "page" and records > 200 * page_size))
        unproven |= (name, records) == ("link-header", page_size)  # one full page, and no header Link at all
        assert status.verdict is (Verdict.UNPROVEN if unproven else Verdict.COMPLETE)
        assert after == content(server.simulator.dataset.rows("WH-01"))


@every_dialect
def test_a_clamped_page_loses_nothing(name: str, store: str) -> None:
    scenario = Scenario(records=500, max_page_size=20, dialect=DIALECTS[name])
    with serve(scenario) as server:
        status, _, after = play(server, store, scenario, **spec_of(name, 50))
        assert status.verdict is (Verdict.UNPROVEN if name in CURSORS else Verdict.COMPLETE)
        assert after.total() == 500


@every_dialect
@pytest.mark.parametrize("move", [{"insert": 2}, {"delete": 2}], ids=["inserted", "deleted"])
def test_rows_that_shift_at_each_request_are_not_published(
    name: str, move: dict[str, int], store: str
) -> None:
    moves = tuple(Change(request, position=0, **move) for request in range(2, 300))
    scenario = Scenario(records=1000, changes=moves, dialect=DIALECTS[name])
    with serve(scenario) as server:
        status, before, after = play(server, store, scenario, **spec_of(name, 50))
    assert status.verdict is Verdict.INCOMPLETE and after == before


@pytest.mark.parametrize("name", ["page", "range", "json-body"])
@pytest.mark.parametrize(("records", "clamp"), [(2, 1), (3, 2), (51, 50), (101, None)])
def test_a_low_total_with_a_clamped_page_does_not_hide_rows(
    name: str, records: int, clamp: int | None, store: str
) -> None:
    scenario = Scenario(records=records, max_page_size=clamp, total_delta=-1, dialect=DIALECTS[name])
    with serve(scenario) as server:
        status, before, after = play(server, store, scenario, **spec_of(name, 100))
    assert status.verdict is Verdict.INCOMPLETE and after == before


@pytest.mark.parametrize("name", CURSORS)
def test_an_interrupted_sequence_resumes_from_its_cursor(name: str, store: str) -> None:
    scenario = Scenario(records=500, faults=(Fault("500", 300, times=4),), dialect=DIALECTS[name])
    with serve(scenario) as server:
        status, before, after = play(server, store, scenario, **spec_of(name, 20), attempts=2)
        assert status.verdict is Verdict.UNPROVEN and after.total() == 500
        read = {page.offset: page.count for page in server.stats().pages}
    assert all(count == 1 for offset, count in read.items() if offset) and len(read) == 25


def test_the_count_may_be_a_separate_request(store: str) -> None:
    scenario = Scenario(records=300)
    with serve(scenario) as server:
        total = {"from": "count_request", "path": "total", "request": {"params": {"limit": 0}}}
        status, _, after = play(server, store, scenario, **ROWS, total=total, paging={"page_size": 50}, **IDS)
        assert status.verdict is Verdict.COMPLETE and after.total() == 300

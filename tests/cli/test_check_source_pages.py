"""`check-source` compares two pages, and counts what a wrong spec lets through."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from tests.support.acme import spec_file
from tests.support.commands import run
from tests.support.scripted_server import Reply, answering

START = datetime(2026, 3, 1, tzinfo=UTC)
RECORDS = [
    {
        "movement_id": f"m{number}",
        "sku_id": "A",
        "warehouse_id": "WH-01",
        "units_moved": 1,
        "timestamp_utc": (START + timedelta(minutes=number)).isoformat(),
        "type": "PICK" if number % 3 else "COUNT",
    }
    for number in range(60)
]
TIMES = ("--start", "2026-03-01T00:00:00Z", "--end", "2026-03-01T01:00:00Z")
Query = dict[str, str]
BY_CURSOR = {"style": "cursor", "cursor_path": "next", "cursor_param": "after", "page_size": 50}
BY_NUMBER = {"style": "page", "page_param": "page", "page_size": 50, "first": 1}


def page(query: Query) -> Any:
    """An API that takes an offset, and bounds for the window."""
    records = [each for each in RECORDS if query.get("from", "") <= str(each["timestamp_utc"])]
    offset, limit = int(query.get("offset", 0)), int(query.get("limit", 50))
    return {"records": records[offset : offset + limit], "total": len(records)}


def ignores_the_offset(query: Query) -> Any:
    return page(query | {"offset": "0"})


def ignores_the_page_size(query: Query) -> Any:
    return page(query | {"limit": "50"})


def counts_from_1(query: Query) -> Any:
    return page(query | {"offset": str(max(0, int(query["offset"]) - 1))})


def turns_the_order(query: Query) -> Any:
    return page(query) | {"records": page(query)["records"][:: -1 if query["offset"] != "0" else 1]}


def by_number(query: Query) -> Any:
    offset = (int(query["page"]) - 1) * int(query["limit"])
    return page(query | {"offset": str(offset)})


def of_fixed_size(query: Query) -> Any:
    return page({"offset": str((int(query["page"]) - 1) * 20), "limit": "20"})


def by_cursor(query: Query) -> Any:
    found = page(query | {"offset": query.get("after", "0")})
    after = int(query.get("after", 0)) + len(found["records"])
    return found | {"next": str(after) if after < len(RECORDS) else None}


def ignores_the_cursor(query: Query) -> Any:
    return by_cursor({key: value for key, value in query.items() if key != "after"})


def check(tmp_path: Path, api: Callable[[Query], Any], *words: str, **parts: Any) -> int:
    def answer(target: str) -> Reply:
        query = {key: values[0] for key, values in parse_qs(urlsplit(target).query).items()}
        return Reply(body=json.dumps(api(query)).encode())

    with answering(answer) as server:
        base: dict[str, Any] = {"auth": {"kind": "none"}, "paging": {"page_size": 50}}
        source = spec_file(server, tmp_path, **base | parts)
        return run("check-source", "--source", source, "--warehouse", "WH-01", *(words or TIMES))


@pytest.mark.parametrize(
    ("api", "parts"),
    [
        (page, {}),
        (by_number, {"paging": BY_NUMBER}),
        (of_fixed_size, {"paging": BY_NUMBER | {"limit_param": None, "page_size": 20}}),
        (by_cursor, {"paging": BY_CURSOR, "total": {"from": "none"}}),
        (by_cursor, {"paging": BY_CURSOR | {"page_size": 1000}, "total": {"from": "none"}}),
    ],
)
def test_a_second_page_that_continues_the_first_is_confirmed(
    api: Callable[[Query], Any], parts: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert check(tmp_path, api, **parts) == 0
    shown = capsys.readouterr().out
    assert "the second page continues the first" in shown and "WARNING" not in shown


@pytest.mark.parametrize(
    ("api", "parts", "message"),
    [
        (
            ignores_the_offset,
            {"paging": {"page_size": 50, "offset_param": "skip"}},
            "the source ignores paging.offset_param skip, or set paging.first to 1 if it counts from 1",
        ),
        (
            ignores_the_page_size,
            {"paging": {"page_size": 50, "limit_param": "size"}},
            "a page of 25 records was requested, and 35 came: check paging.limit_param size",
        ),
        (counts_from_1, {}, "the second page repeats the last record of the first: set paging.first to 1"),
        (
            lambda query: by_number(query | {"page": "1"}),
            {"paging": BY_NUMBER},
            "the second page is the same as the first: the source ignores paging.page_param page",
        ),
        (
            lambda query: of_fixed_size(query | {"page": "1"}),
            {"paging": BY_NUMBER | {"limit_param": None, "page_size": 20}},
            "the second page is the same as the first: the source ignores paging.page_param page",
        ),
        (
            ignores_the_cursor,
            {"paging": BY_CURSOR, "total": {"from": "none"}},
            "the second page is the same as the first: the source ignores paging.cursor_param after",
        ),
        (
            ignores_the_page_size,
            {"paging": BY_CURSOR | {"limit_param": "size"}, "total": {"from": "none"}},
            "a page of 25 records was requested, and 50 came: check paging.limit_param size",
        ),
    ],
)
def test_wrong_paging_is_reported_with_its_key(
    api: Callable[[Query], Any],
    parts: dict[str, Any],
    message: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert check(tmp_path, api, **parts) == 1
    shown = " ".join(capsys.readouterr().out.split())
    assert message in shown and "WARNING" in shown


def test_an_order_that_is_not_fixed_is_reported(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert check(tmp_path, turns_the_order) == 0
    assert "the same records came in another order" in " ".join(capsys.readouterr().out.split())


def test_records_outside_the_window_show_that_its_parameters_are_ignored(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    window = {"params": {"start": "since", "end": "until"}}
    times = ("--start", "2026-03-01T00:30:00Z", "--end", "2026-03-01T01:00:00Z")
    assert check(tmp_path, page, *times, window=window) == 0
    shown = " ".join(capsys.readouterr().out.split())
    assert "WARNING: 30 of 50 records are outside the window that was requested" in shown
    assert "the source ignores the parameters since and until" in shown


def test_the_values_that_a_filter_saw_are_listed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert check(tmp_path, page, filter=[{"path": "type", "in": ["PICK"]}]) == 0
    assert "filter type keeps PICK (33); drops COUNT (17)" in " ".join(capsys.readouterr().out.split())
    assert check(tmp_path, page, filter=[{"path": "type", "in": ["pick"]}]) == 1
    assert "keeps nothing; drops PICK (33), COUNT (17)" in " ".join(capsys.readouterr().out.split())


def test_an_empty_window_is_named_with_its_bounds(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    window = {"params": {"start": "from", "end": "to"}}
    times = ("--start", "2026-03-02T00:00:00Z", "--end", "2026-03-02T01:00:00Z")
    assert check(tmp_path, page, *times, window=window) == 1
    shown = " ".join(capsys.readouterr().out.split())
    assert "WH-01 between 2026-03-02T00:00:00Z and 2026-03-02T01:00:00Z" in shown


@pytest.mark.parametrize(("size", "is_told"), [(50, True), (500, False)])
def test_a_page_size_outside_the_fast_range_is_reported(
    size: int, is_told: bool, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert check(tmp_path, page, paging={"page_size": size}) == 0
    shown = " ".join(capsys.readouterr().out.split())
    assert ("pages of 500 to 2,000 are read fastest" in shown) is is_told

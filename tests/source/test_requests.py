"""Requests are built as the spec describes."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from sku_velocity.errors import SourceAddressError, SpecError
from sku_velocity.model.window import Window
from sku_velocity.source.requests import Requests
from sku_velocity.source.spec import CountRequest, parse_spec

HOUR = Window(datetime(2026, 3, 1, 8, tzinfo=UTC), datetime(2026, 3, 1, 9, tzinfo=UTC))


def requests(warehouse: str = "WH-01", **parts: Any) -> Requests:
    spec = {"name": "acme", "base_url": "https://wms.example.com/api", **parts}
    return Requests(parse_spec(spec, "test"), warehouse, HOUR)


def test_an_offset_is_sent_in_the_query() -> None:
    parts = requests(paging={"first": 1}).page(2000, 500)
    assert parts.url == "https://wms.example.com/api/movements"
    assert parts.params == {"offset": 2001, "limit": 500} and parts.body is None


@pytest.mark.parametrize(("first", "number"), [(0, 4), (1, 5)])
def test_a_page_is_requested_by_number(first: int, number: int) -> None:
    parts = requests(paging={"style": "page", "limit_param": "size", "first": first}).page(2000, 500)
    assert parts.params == {"page": number, "size": 500}


def test_a_page_may_be_requested_by_the_number_of_records_before_it() -> None:
    paging = {"style": "page", "page_param": "offset", "page_counts": "records"}
    assert requests(paging=paging).page(2000, 500).params == {"offset": 2000, "limit": 500}


def test_an_api_without_a_page_size_is_sent_none() -> None:
    assert requests(paging={"limit_param": None}).page(2000, 500).params == {"offset": 2000}


@pytest.mark.parametrize(("unit", "header"), [("", "2000-2499"), ("items", "items=2000-2499")])
def test_a_range_of_records_is_sent_in_a_header(unit: str, header: str) -> None:
    parts = requests(paging={"in": "range_header", "range_unit": unit}).page(2000, 500)
    assert parts.headers == {"Range": header} and parts.params == {}


def test_paths_and_placeholders_in_the_body_are_filled_in() -> None:
    body = {
        "params": {"args": ["db", 0, 0], "domain": [["date", ">=", "{start}"], ["wh", "=", "{warehouse}"]]}
    }
    paging = {"in": "json_body", "offset_param": "params.args.1", "limit_param": "params.limit"}
    maker = requests(request={"method": "POST", "body": body}, paging=paging)
    parts = maker.page(2000, 500)
    assert parts.body["params"]["args"] == ["db", 2000, 0] and parts.body["params"]["limit"] == 500
    assert parts.body["params"]["domain"] == [["date", ">=", "2026-03-01T08:00:00Z"], ["wh", "=", "WH-01"]]
    assert maker.page(0, 500).body["params"]["args"][1] == 0 and parts.params == {}


def test_placeholders_are_filled_in_everywhere() -> None:
    request = {
        "path": "/sites/{warehouse}/moves",
        "params": {"$filter": "at ge datetime'{start}' and at lt datetime'{end}'"},
        "headers": {"X-Site": "{warehouse}"},
    }
    parts = requests("A/B 1", request=request, window={"format": "%Y-%m-%dT%H:%M:%S"}).page(0, 10)
    assert parts.url.endswith("/sites/A%2FB%201/moves") and parts.headers == {"X-Site": "A/B 1"}
    assert (parts.params or {})["$filter"] == (
        "at ge datetime'2026-03-01T08:00:00' and at lt datetime'2026-03-01T09:00:00'"
    )


def test_the_window_and_the_order_are_requested() -> None:
    parts = requests(window={"params": {"start": "from"}}, order={"params": {"sort": "at,id"}}).page(0, 10)
    assert parts.params == {"sort": "at,id", "from": "2026-03-01T08:00:00Z", "offset": 0, "limit": 10}


def test_a_cursor_requests_the_next_page() -> None:
    maker = requests(paging={"style": "cursor", "cursor_path": "next", "cursor_param": "after"})
    assert maker.following(None, 100).params == {"limit": 100}
    assert maker.following("abc", 100).params == {"limit": 100, "after": "abc"}


@pytest.mark.parametrize(
    ("link", "url"),
    [
        ("https://wms.example.com/api/movements?page=2", "https://wms.example.com/api/movements?page=2"),
        ("/api/movements?page=2", "https://wms.example.com/api/movements?page=2"),
        ("?page=2", "https://wms.example.com/api/movements?page=2"),
    ],
)
def test_a_link_is_followed_on_the_same_host(link: str, url: str) -> None:
    parts = requests(paging={"style": "next_link", "next_path": "next"}).following(link, 100)
    assert parts.url == url and parts.params is None


@pytest.mark.parametrize(
    "link", ["https://evil.example.com/x", "http://wms.example.com/x", "//evil.example.com"]
)
def test_a_link_to_another_host_is_rejected(link: str) -> None:
    with pytest.raises(SourceAddressError, match="another host"):
        requests(paging={"style": "next_link", "next_path": "next"}).following(link, 100)


def test_a_count_is_requested_like_a_page_but_without_a_position() -> None:
    maker = requests(request={"params": {"wh": "{warehouse}"}}, window={"params": {"end": "until"}})
    parts = maker.count(CountRequest(path="/movements/count"))
    assert parts.url.endswith("/movements/count")
    assert parts.params == {"wh": "WH-01", "until": "2026-03-01T09:00:00Z"}
    assert maker.count(CountRequest(params={"q": "{start}"})).params == {"q": "2026-03-01T08:00:00Z"}


def test_changed_records_are_asked_for_in_the_format_of_the_window() -> None:
    window = {"params": {"start": "from"}, "format": "%d.%m.%Y %H:%M", "timezone": "Europe/Berlin"}
    changes = {"params": {"filter": "site eq {warehouse} and modified ge '{since}'"}}
    all_records = requests(window=window, changes=changes)
    since = datetime(2026, 3, 1, 8, 30, 59, tzinfo=UTC)
    changed = replace(all_records, since=since).page(0, 10).params
    assert changed and changed["filter"] == "site eq WH-01 and modified ge '01.03.2026 09:30'"
    assert changed["from"] == "01.03.2026 09:00"
    assert "filter" not in (all_records.page(0, 10).params or {})


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"modified": "yesterday"}, "must contain {since}"),
        ({"modified": "{since}", "to": "{end_of_time}"}, "unknown placeholder"),
        ({"offset": "{since}"}, "are both offset"),
        ({}, "at least 1"),
    ],
)
def test_parameters_for_changes_that_make_no_sense_are_refused(changes: dict[str, str], message: str) -> None:
    spec = {"name": "acme", "base_url": "http://wms.test", "changes": {"params": changes}}
    with pytest.raises(SpecError, match=message):
        parse_spec(spec, "test")

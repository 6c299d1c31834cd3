"""A window of which nothing is in scope is not published; invalid records out of scope count for nothing."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from sku_velocity.completeness import BOUNDS, SCOPE
from sku_velocity.model.run import REJECTS, RunReport, Verdict
from sku_velocity.model.window import Window
from tests.support.served_records import DAY, failed, read, record, serve_records
from tests.support.steps_driver import published

HOUR = Window(DAY.start, DAY.start + timedelta(hours=1))
ANY_WAREHOUSE: dict[str, Any] = {"request": {"params": {}}}
BY_DAY = {"window": {"params": {"start": "since", "end": "until"}, "format": "date"}}


def one(records: list[Any], url: str, run_id: str = "run", **parts: Any) -> RunReport:
    with serve_records(records) as served:
        report = read(served, url, run_id, **parts)
    assert report
    return report


def only(*types: str) -> dict[str, Any]:
    return {"filter": [{"path": "type", "in": list(types)}]}


def test_a_filter_that_matches_no_record_is_named_with_the_values_it_saw(store_url: str) -> None:
    report = one([record(n, type="pick") for n in range(25)], store_url, **only("Pick"))
    assert failed(report) == {SCOPE: "none of 25 records; dropped for filter type = 'pick' (25)"}
    assert report.verdict is Verdict.INCOMPLETE


def test_a_value_that_published_windows_have_seen_explains_an_empty_window(store_url: str) -> None:
    assert one([record(1, type="pick"), record(2, type="count")], store_url, "first", **only("pick"))
    later = Window(DAY.start + timedelta(hours=2), DAY.end)
    quiet = one([record(8000, type="count")], store_url, "second", span=later, **only("pick"))
    assert failed(quiet) == {}
    renamed = one([record(8000, type="PICK")], store_url, "third", span=later, **only("pick"))
    assert "'PICK' (1)" in failed(renamed)[SCOPE]


def test_a_source_may_say_that_an_empty_window_is_normal(store_url: str) -> None:
    parts = {**only("Pick"), "limits": {"empty_is_normal": True}}
    assert failed(one([record(1, type="pick")], store_url, **parts)) == {}


def test_a_filter_by_number_is_named_by_its_bound(store_url: str) -> None:
    below = {"filter": [{"path": "units_moved", "below": 0}]}
    assert "not below 0' (2)" in failed(one([record(1), record(2)], store_url, **below))[SCOPE]


def test_seconds_read_as_milliseconds_publish_no_empty_window(store_url: str) -> None:
    fields = {"movement_id": "id", "timestamp_utc": {"path": "at", "format": "epoch_ms"}}
    report = one([record(n, at=1772352000 + n) for n in range(25)], store_url, fields=fields)
    assert "fields.timestamp_utc at = '1970-01-21T" in failed(report)[SCOPE]


def test_a_quiet_hour_of_a_source_that_is_asked_by_day_is_published(store_url: str) -> None:
    report = one([record(7200 + n) for n in range(25)], store_url, span=HOUR, **BY_DAY)
    assert failed(report) == {} and report.trimmed == 25


def test_an_unknown_warehouse_of_a_source_that_returns_all_is_named(store_url: str) -> None:
    others = [record(n, warehouse_id="WH-1") for n in range(3)]
    report = one(others, store_url, "first", **ANY_WAREHOUSE)
    assert "fields.warehouse_id warehouse_id = 'WH-1' (3)" in failed(report)[SCOPE]
    assert failed(one([record(9), *others], store_url, "second", **ANY_WAREHOUSE)) == {}
    assert failed(one(others, store_url, "third", accept_shrunk=True, **ANY_WAREHOUSE)) == {}


def test_invalid_records_outside_the_window_or_of_another_warehouse_are_trimmed(store_url: str) -> None:
    other_warehouse = record(2, warehouse_id="WH-02", units_moved=1.5)
    other_day = record(3, units_moved=1.5, timestamp_utc="2026-03-02T00:00:00Z")
    report = one([record(1), other_warehouse, other_day], store_url, **ANY_WAREHOUSE)
    assert (report.loaded, report.rejected, report.trimmed) == (1, 0, 2) and report.published


def test_an_invalid_record_whose_instant_cannot_be_read_is_rejected(store_url: str) -> None:
    report = one([record(n) for n in range(20)] + [record(30, timestamp_utc="soon")], store_url)
    assert (report.rejected, report.trimmed) == (1, 0)


@pytest.mark.parametrize(("bad", "published"), [(10, True), (11, False)])
def test_few_rejects_are_published_whatever_their_share(store_url: str, bad: int, published: bool) -> None:
    records = [record(n, units_moved=-1 if n < bad else 1) for n in range(30)]
    assert one(records, store_url).published is published


def test_few_rejects_are_not_published_if_fewer_records_loaded(store_url: str) -> None:
    report = one([record(n, units_moved=-1 if n < 4 else 1) for n in range(7)], store_url)
    assert failed(report)[REJECTS] == "4 of 7 (57.1%), at most 5.0% or 0 records"


def test_a_spec_sets_its_own_limits_of_rejects(store_url: str) -> None:
    records = [record(n, units_moved=-1 if n < 2 else 1) for n in range(20)]
    assert not one(records, store_url, "strict", limits={"max_rejects": 1}).published
    assert one(records, store_url, "loose", limits={"max_rejects": 1, "max_reject_ratio": 0.1}).published


@pytest.mark.parametrize("how", ["filtered", "rejected", "trimmed"])
def test_a_record_that_is_read_twice_is_noticed_though_it_is_not_loaded(store_url: str, how: str) -> None:
    wrong = {
        "filtered": {"type": "count"},
        "rejected": {"units_moved": -1},
        "trimmed": {"timestamp_utc": "2026-03-02T00:00:00Z"},
    }
    twice = record(5, **{"type": "pick", **wrong[how]})
    rows = [record(n, type="pick") for n in range(40)]
    records = [*rows[:15], twice, *rows[15:30], twice, *rows[30:39]]
    report = one(
        [each for each in records if each["id"] != "m-5" or each is twice], store_url, **only("pick")
    )
    assert "no record id twice" in failed(report) and not published(store_url)


@pytest.mark.parametrize("shift", [2, -3])
def test_times_in_another_zone_than_the_spec_says_prove_no_window(shift: int, store_url: str) -> None:
    """The source returns the window that was requested, and writes its local times without a zone."""
    times = [DAY.start + timedelta(hours=n + shift, minutes=30) for n in range(24)]
    local = [record(n, timestamp_utc=f"{at:%Y-%m-%dT%H:%M:%S}") for n, at in enumerate(times)]
    fields = {"movement_id": "id", "timestamp_utc": {"path": "timestamp_utc", "assume_timezone": "UTC"}}
    report = one(local, store_url, fields=fields)
    assert report.verdict is Verdict.UNPROVEN and report.trimmed == abs(shift)
    (detail,) = (check.detail for check in report.checks if check.name == BOUNDS)
    assert "assume_timezone" in detail and "timestamp_utc = '2026-" in detail
    assert not one(local, store_url, "strict", fields=fields, limits={"require_proof": True}).published


ONE_SIDED: list[dict[str, Any]] = [
    {"window": {"params": {"start": "since"}}},
    {"window": {}, "request": {"params": {"q": "{warehouse} {start}"}}},
    {"window": {}},
    {"window": {"params": {"start": "since", "end": "until"}, "pad_seconds": 3 * 86_400}},
]


@pytest.mark.parametrize("parts", ONE_SIDED)
def test_records_that_a_request_does_not_exclude_prove_nothing_wrong(
    parts: dict[str, Any], store_url: str
) -> None:
    later = record(3, timestamp_utc="2026-03-04T08:00:00Z")
    report = one([record(1), later], store_url, **parts)
    assert (report.verdict, report.loaded, report.trimmed) == (Verdict.COMPLETE, 1, 1)


def test_a_window_with_nothing_but_records_near_it_does_not_speak_of_earlier_ones(store_url: str) -> None:
    report = one([record(7200)], store_url, span=HOUR, **BY_DAY)
    (detail,) = (check.detail for check in report.checks if check.name == SCOPE)
    assert detail == "none of 1 records: the others are near it, as the request allows"


def test_a_field_is_new_only_in_the_first_window_that_has_it(store_url: str) -> None:
    at = [Window(DAY.start + timedelta(hours=n), DAY.start + timedelta(hours=n + 1)) for n in range(3)]
    reports = [
        one([record(3600 * n, lot=1, **more)], store_url, str(n), span=at[n])
        for n, more in enumerate(({}, {"bin": 2}, {"bin": 3}))
    ]
    assert [report.new_fields for report in reports] == [["lot"], ["bin"], []]
    assert reports[2].extra_fields == {"bin": 1, "lot": 1}

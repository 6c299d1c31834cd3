"""What is published is replaced only by a newer reading, by one mapping, that did not lose most of it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from sku_velocity.completeness import SHRUNK
from sku_velocity.model.run import Verdict
from tests.support.served_records import ServedRecords, failed, read, record, serve_records
from tests.support.steps_driver import published

RECORDS = 60
PICKS = {"filter": [{"path": "type", "in": ["pick"]}]}
PICKS_AND_SHIPMENTS = {"filter": [{"path": "type", "in": ["pick", "ship"]}]}


@pytest.fixture
def served() -> Iterator[ServedRecords]:
    rows = [record(number, type=("pick", "ship")[number % 2]) for number in range(RECORDS)]
    with serve_records(rows) as served:
        yield served


def test_a_retry_under_a_changed_filter_reads_the_window_again(served: ServedRecords, store_url: str) -> None:
    served.broken_from = 40
    assert read(served, store_url, **PICKS) is None
    served.broken_from = None
    report = read(served, store_url, **PICKS_AND_SHIPMENTS)
    assert report and report.verdict is Verdict.REPAIRED
    assert published(store_url).total() == RECORDS


def test_a_retry_under_a_changed_request_reads_the_window_again(
    served: ServedRecords, store_url: str
) -> None:
    served.broken_from = 40
    assert read(served, store_url) is None
    served.broken_from = None
    report = read(served, store_url, request={"params": {"warehouse": "{warehouse}", "status": "done"}})
    assert report and report.verdict is Verdict.REPAIRED


def test_a_retry_under_changed_pace_and_limits_reads_only_what_is_left(
    served: ServedRecords, store_url: str
) -> None:
    served.broken_from = 40
    assert read(served, store_url) is None
    served.broken_from = None
    report = read(served, store_url, pace={"requests_per_second": 5000}, limits={"max_rejects": 3})
    assert report and report.verdict is Verdict.COMPLETE


def test_a_retry_of_a_run_planned_before_the_published_one_publishes_no_old_rows(
    served: ServedRecords, store_url: str
) -> None:
    served.broken_from = 40
    assert read(served, store_url, "older") is None
    served.broken_from = None
    served.records = [each | {"units_moved": 7} for each in served.records]
    assert read(served, store_url, "newer")
    report = read(served, store_url, "older")
    assert report and report.verdict is Verdict.REPAIRED
    assert {row[2] for row in published(store_url)} == {7}


@pytest.mark.parametrize("left", [0, 29], ids=["to nothing", "by most"])
def test_a_window_that_shrinks_is_held_until_a_second_reading(
    served: ServedRecords, store_url: str, left: int
) -> None:
    assert read(served, store_url, "first")
    served.records = served.records[:left]
    held = read(served, store_url, "second")
    assert failed(held) == {SHRUNK: f"{left} rows, {RECORDS} published"}
    assert published(store_url).total() == RECORDS
    confirmed = read(served, store_url, "second")
    assert confirmed and confirmed.published and published(store_url).total() == left


def test_a_later_run_confirms_a_held_window_too(served: ServedRecords, store_url: str) -> None:
    assert read(served, store_url, "first")
    served.records = []
    assert failed(read(served, store_url, "second"))
    assert failed(read(served, store_url, "third")) == {} and not published(store_url)


def test_a_second_reading_with_another_result_is_held_too(served: ServedRecords, store_url: str) -> None:
    assert read(served, store_url, "first")
    for run, left in (("second", 5), ("third", 6)):
        served.records = served.records[:left] or served.records
        served.records = [record(number) for number in range(left)]
        assert SHRUNK in failed(read(served, store_url, run))
    assert published(store_url).total() == RECORDS


def test_a_reading_held_before_the_current_publication_confirms_nothing(
    served: ServedRecords, store_url: str
) -> None:
    everything = served.records
    assert read(served, store_url, "first")
    served.records = []
    assert failed(read(served, store_url, "second"))
    served.records = everything
    assert failed(read(served, store_url, "third")) == {}
    served.records = []
    assert SHRUNK in failed(read(served, store_url, "fourth"))


def test_an_operator_may_accept_a_smaller_window(served: ServedRecords, store_url: str) -> None:
    assert read(served, store_url, "first")
    served.records = served.records[:3]
    report = read(served, store_url, "second", accept_shrunk=True)
    assert report and report.published and published(store_url).total() == 3


def test_a_window_that_loses_half_of_its_rows_is_published(served: ServedRecords, store_url: str) -> None:
    assert read(served, store_url, "first")
    served.records = served.records[: RECORDS // 2]
    assert failed(read(served, store_url, "second")) == {}

"""A Retry under a changed spec resumes nothing that it could not have read or cannot prove."""

from __future__ import annotations

from typing import Any

import pytest

from sku_velocity.model.run import Verdict
from tests.support.served_records import ServedRecords, read, record, serve_records
from tests.support.steps_driver import published


def interrupted(served: ServedRecords, store_url: str, **parts: Any) -> None:
    served.broken_from = 20
    assert read(served, store_url, **parts) is None
    served.broken_from = None


def test_a_retry_at_another_address_reads_the_window_again(store_url: str) -> None:
    rows = [record(n) for n in range(30)]
    other = [*rows[:5], record(5, id="m-105"), *rows[6:]]
    with serve_records(rows) as staging, serve_records(other) as production:
        interrupted(staging, store_url)
        report = read(production, store_url)
    assert report and report.verdict is Verdict.REPAIRED
    assert {row[0] for row in published(store_url)} == {row["id"] for row in other}


def test_a_retry_with_a_total_that_was_not_given_before_checks_it(store_url: str) -> None:
    with serve_records([record(n) for n in range(30)]) as served:
        interrupted(served, store_url, total={"from": "body", "path": "total"})
        report = read(served, store_url, total={"from": "none"})
    assert report and report.verdict is Verdict.REPAIRED


def test_a_retry_with_smaller_pages_follows_the_advice_about_a_page_that_is_too_large(store_url: str) -> None:
    rows = [record(n, note="x" * (2000 if n >= 40 else 10)) for n in range(60)]
    limit = {"max_page_bytes": 30_000}
    with serve_records(rows) as served:
        assert read(served, store_url, paging={"page_size": 30}, timeouts=limit) is None
        report = read(served, store_url, paging={"page_size": 10}, timeouts=limit)
    assert report and report.verdict is Verdict.REPAIRED and published(store_url).total() == 60


def test_a_retry_with_larger_pages_reads_only_what_is_left(store_url: str) -> None:
    with serve_records([record(n) for n in range(30)]) as served:
        interrupted(served, store_url, paging={"page_size": 10})
        report = read(served, store_url, paging={"page_size": 12})
    assert report and report.verdict is Verdict.COMPLETE


@pytest.mark.parametrize("fields", [{"movement_id": "id"}, {}], ids=["ids", "no ids"])
def test_a_retry_with_the_overlap_that_a_proof_needs_reads_the_window_again(
    store_url: str, fields: dict[str, str]
) -> None:
    parts: dict[str, Any] = {"order": {"stable": True}, "limits": {"require_proof": True}, "fields": fields}
    with serve_records([record(n) for n in range(30)]) as served:
        report = read(served, store_url, paging={"page_size": 10, "overlap": 0}, **parts)
        assert report and report.verdict is Verdict.INCOMPLETE
        report = read(served, store_url, paging={"page_size": 10, "overlap": 1}, **parts)
    assert report and report.verdict is Verdict.REPAIRED

"""For every paging style: a proven window holds every record that stayed in its place, once."""

from __future__ import annotations

import asyncio
import json
import os
from collections import Counter
from dataclasses import replace
from itertools import count
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import text

from sku_velocity.completeness import IDS, PROOF, SEAMS, TOTAL
from sku_velocity.model.run import Check, Verdict
from sku_velocity.store import migrate
from sku_velocity.store.database import Database
from tests.support.changing_source import ChangingSource, Edit
from tests.support.scripted_server import Reply, answering
from tests.support.steps_driver import RunStatus, sync

PROVEN = (Verdict.COMPLETE, Verdict.REPAIRED)
PUBLISHED = text("SELECT sku_id FROM published_movements JOIN sync_runs USING (run_id) WHERE run_id = :run")
REPORT = text("SELECT report FROM sync_runs WHERE run_id = :run")
_names = count()


@pytest.fixture(scope="module")
def store_url(tmp_path_factory: pytest.TempPathFactory) -> str:
    url = f"sqlite:///{tmp_path_factory.mktemp('proofs')}/velocity.db"
    asyncio.run(migrate(url))
    return url


def read(source: ChangingSource, store_url: str, repairs: int = 1, **spec: Any) -> RunStatus:
    """Read a source as one that is new to the store."""
    parts = {**source.spec(), "name": f"source-{next(_names)}", **spec}
    with answering(source.answer) as server:
        return sync(server, store_url, repairs, **parts)


def query(store_url: str, statement: Any, run_id: str) -> list[str]:
    async def look() -> list[str]:
        database = Database(store_url)
        try:
            async with database.reading() as connection:
                return [row[0] for row in await connection.execute(statement, {"run": run_id})]
        finally:
            await database.close()

    return asyncio.run(look())


def published(store_url: str, run: RunStatus) -> Counter[str]:
    return Counter(query(store_url, PUBLISHED, run.run_id))


def check_of(store_url: str, run: RunStatus, name: str) -> Check:
    (report,) = query(store_url, REPORT, run.run_id)
    return next(Check(**each) for each in json.loads(report)["checks"] if each["name"] == name)


def assert_nothing_is_lost(source: ChangingSource, found: Counter[str]) -> None:
    assert Counter(row.value for row in source.stayed) <= found <= source.ever
    assert not source.ids or max(found.values(), default=1) == 1


def distinct(size: int) -> list[str]:
    return [f"V-{number}" for number in range(size)]


def with_twins(runs: list[int]) -> list[str]:
    return [f"V-{number}" for number, length in enumerate(runs) for _ in range(length)]


STYLES = st.sampled_from(["offset", "page", "fixed page", "cursor", "next_link"])
KINDS = ("insert", "twin", "delete", "replace", "move")


def schedules(*kinds: str) -> st.SearchStrategy[list[Edit]]:
    places = st.integers(0, 15)
    return st.lists(st.builds(Edit, st.integers(1, 15), st.sampled_from(kinds), places, places), max_size=5)


def sources(edits: st.SearchStrategy[list[Edit]]) -> st.SearchStrategy[ChangingSource]:
    ids = st.fixed_dictionaries(
        {"ids": st.just(True), "values": st.builds(distinct, st.integers(0, 15))}
    ) | st.fixed_dictionaries(
        {"ids": st.just(False), "values": st.builds(with_twins, st.lists(st.integers(1, 3), max_size=8))}
    )
    rest = {
        "style": STYLES,
        "edits": edits,
        "total": st.booleans(),
        "stable": st.booleans(),
        "page_size": st.integers(1, 6),
        "clamp": st.sampled_from([1000, 1000, 2, 3]),
    }
    return st.builds(lambda a, b: ChangingSource(**a, **b), ids, st.fixed_dictionaries(rest))


thorough = settings(
    deadline=None,
    max_examples=int(os.environ.get("PROOF_EXAMPLES", "12")),
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


@thorough
@given(sources(schedules(*KINDS)), st.sampled_from([None, "seams", "ends"]), st.booleans())
def test_a_proven_window_holds_every_record_that_stayed(
    store_url: str, source: ChangingSource, proof: str | None, order: bool
) -> None:
    """All styles but the second reading, which assumes more."""
    if source.style == "fixed page":
        source = replace(source, style="page")
    run = read(source, store_url, **source.spec(proof, order))
    if run.verdict in PROVEN:
        assert_nothing_is_lost(source, published(store_url, run))


@thorough
@given(sources(schedules("insert", "twin") | schedules("delete")), st.sampled_from(["page", "fixed page"]))
def test_a_second_reading_proves_a_window_if_no_record_both_comes_and_leaves(
    store_url: str, source: ChangingSource, style: Any
) -> None:
    source = replace(source, style=style)
    run = read(source, store_url, **source.spec("reread"))
    if run.verdict in PROVEN:
        assert_nothing_is_lost(source, published(store_url, run))


@thorough
@given(sources(st.just([])), st.sampled_from([None, "seams", "reread", "ends"]), st.booleans())
def test_a_quiet_source_is_always_published_whole(
    store_url: str, source: ChangingSource, proof: str | None, order: bool
) -> None:
    source = replace(source, total=True)
    if source.style == "fixed page" and proof == "seams":
        proof = None
    run = read(source, store_url, **source.spec(proof, order))
    assert run.verdict in (Verdict.COMPLETE, Verdict.UNPROVEN)
    assert published(store_url, run) == Counter(source.values)


# A record of the first page is replaced by one in the middle, so that neither the total nor the ends change.
REPLACED = (Edit(2, "delete", 3), Edit(2, "insert", 500))


def many(style: Any, **parts: Any) -> ChangingSource:
    defaults = {"values": distinct(1115), "edits": REPLACED, "page_size": 100}
    return ChangingSource(style, **{**defaults, **parts})


@pytest.mark.parametrize("style", ["page", "fixed page"])
def test_a_record_that_moves_to_a_page_already_read_is_found(store_url: str, style: Any) -> None:
    source = many(style)
    run = read(source, store_url, repairs=0)
    assert run.verdict is Verdict.INCOMPLETE and not check_of(store_url, run, SEAMS).passed
    source = many(style)
    assert (run := read(source, store_url)).verdict is Verdict.REPAIRED
    assert_nothing_is_lost(source, published(store_url, run))


@pytest.mark.parametrize(
    ("source", "proof", "named"),
    [
        (many("page"), "ends", "paging.proof"),
        (many("cursor", total=False), None, "paging.stable"),
        (many("next_link"), None, "paging.stable"),
    ],
    ids=["page", "cursor", "next_link"],
)
def test_a_style_without_a_proof_is_published_as_unproven(
    store_url: str, source: ChangingSource, proof: str | None, named: str
) -> None:
    run = read(source, store_url, **source.spec(proof))
    assert run.verdict is Verdict.UNPROVEN and published(store_url, run).total() == 1115
    assert named in check_of(store_url, run, PROOF).detail


def test_a_required_proof_refuses_what_cannot_be_proven(store_url: str) -> None:
    run = read(many("next_link"), store_url, limits={"require_proof": True})
    assert run.verdict is Verdict.INCOMPLETE and not published(store_url, run)
    assert "paging.stable" in check_of(store_url, run, PROOF).detail


@pytest.mark.parametrize("style", ["cursor", "next_link"])
def test_a_stable_cursor_loses_no_record(store_url: str, style: Any) -> None:
    source = many(style, stable=True, edits=[replace(edit, request=3) for edit in REPLACED])
    assert (run := read(source, store_url)).verdict in PROVEN
    assert_nothing_is_lost(source, published(store_url, run))


def test_without_ids_and_without_a_declared_order_offsets_are_unproven(store_url: str) -> None:
    source = many("offset", ids=False, edits=())
    run = read(source, store_url, **source.spec(order=False))
    assert run.verdict is Verdict.UNPROVEN
    assert "fields.movement_id" in check_of(store_url, run, PROOF).detail


def test_a_shift_among_equal_records_is_not_proven(store_url: str) -> None:
    """Three equal records at each seam hide it when one is deleted before them and one is inserted behind."""
    twins = with_twins([8, 3, 7, 3, 7, 3, 7, 3])
    source = ChangingSource(
        "offset", twins, [Edit(2, "delete", 0), Edit(2, "insert", 39)], ids=False, page_size=10
    )
    run = read(source, store_url, paging={"page_size": 10, "overlap": 1})
    assert run.verdict in (Verdict.REPAIRED, Verdict.UNPROVEN)
    if run.verdict is Verdict.REPAIRED:
        assert_nothing_is_lost(source, published(store_url, run))


def test_equal_records_at_a_seam_name_the_overlap_to_set(store_url: str) -> None:
    source = ChangingSource("offset", with_twins([12, 1, 1, 1]), ids=False, page_size=9)
    run = read(source, store_url)
    assert run.verdict is Verdict.UNPROVEN
    detail = check_of(store_url, run, SEAMS).detail
    assert "map fields.movement_id" in detail
    twins = with_twins([4, 6, 3, 1, 1, 1, 1, 1, 1, 1])
    run = read(ChangingSource("offset", twins, ids=False, page_size=9), store_url)
    assert "set paging.overlap to 6 or more" in check_of(store_url, run, SEAMS).detail
    run = read(
        ChangingSource("offset", twins, ids=False, page_size=9),
        store_url,
        paging={"page_size": 9, "overlap": 7},
    )
    assert run.verdict is Verdict.COMPLETE


@pytest.mark.parametrize("style", ["offset", "page", "cursor"])
def test_a_page_that_reports_another_total_fails_the_proof(store_url: str, style: Any) -> None:
    """Such as one of a replica that lags."""
    source = ChangingSource(style, distinct(30), page_size=10, stable=style == "cursor")

    def answer(url: str) -> Reply:
        reply = source.answer(url)
        return replace(
            reply,
            body=reply.body.replace(
                b'"total": 30', b'"total": 29' if source.requests == 2 else b'"total": 30'
            ),
        )

    with answering(answer) as server:
        run = sync(server, store_url, 0, **source.spec(), name=f"source-{next(_names)}")
    assert run.verdict is Verdict.INCOMPLETE
    assert "some pages reported 29" in check_of(store_url, run, TOTAL).detail


def test_a_round_total_is_a_warning(store_url: str) -> None:
    run = read(ChangingSource("offset", distinct(1000), page_size=1000), store_url)
    (report,) = query(store_url, REPORT, run.run_id)
    assert run.verdict is Verdict.COMPLETE and "exactly 1000 records" in json.loads(report)["warnings"][0]


def test_seam_pages_cost_a_small_page_for_each_border(store_url: str) -> None:
    run = read(many("page", edits=()), store_url)
    assert run.verdict is Verdict.COMPLETE and run.requests == 12 + 11 + 2


def test_more_than_200_pages_are_proven_only_if_the_spec_asks_for_it(store_url: str) -> None:
    source = ChangingSource("page", distinct(402), page_size=2)
    run = read(source, store_url)
    assert run.verdict is Verdict.UNPROVEN
    assert "paging.proof: seams" in check_of(store_url, run, PROOF).detail
    assert read(source, store_url, **source.spec("seams")).verdict is Verdict.COMPLETE


def test_a_source_that_refuses_small_pages_is_unproven(store_url: str) -> None:
    source = ChangingSource("page", distinct(30), page_size=10)

    def answer(url: str) -> Reply:
        return source.answer(url) if "limit=10" in url else Reply(400, b'{"error": "limit must be 10"}')

    with answering(answer) as server:
        run = sync(server, store_url, 0, **source.spec(), name=f"source-{next(_names)}")
    assert run.verdict is Verdict.UNPROVEN
    assert "paging.proof: reread" in check_of(store_url, run, SEAMS).detail


def test_repeated_records_of_a_stable_cursor_without_ids_are_unproven(store_url: str) -> None:
    source = ChangingSource("cursor", with_twins([4, 4]), ids=False, total=False, stable=True, page_size=5)
    run = read(source, store_url)
    assert run.verdict is Verdict.UNPROVEN


def test_one_page_needs_no_other_proof(store_url: str) -> None:
    for style in ("offset", "page", "fixed page", "cursor", "next_link"):
        source = ChangingSource(style, distinct(5), ids=False, page_size=10)  # type: ignore[arg-type]
        assert read(source, store_url, **source.spec(order=False)).verdict is Verdict.COMPLETE


@pytest.mark.parametrize("style", ["offset", "page", "cursor"])
def test_records_without_an_id_are_unproven_although_the_path_of_ids_is_mapped(
    store_url: str, style: Any
) -> None:
    source = ChangingSource(style, distinct(30), page_size=10, stable=style == "cursor")

    def answer(url: str) -> Reply:
        reply = source.answer(url)
        return replace(reply, body=reply.body.replace(b'"id": "V-7"', b'"id": null'))

    with answering(answer) as server:
        run = sync(server, store_url, 0, **source.spec(), name=f"source-{next(_names)}")
    check = check_of(store_url, run, IDS)
    assert run.verdict is Verdict.UNPROVEN and check.is_gap
    assert check.detail.startswith("1 records have no id: check the path at fields.movement_id")

"""A wrong window is never published, no matter what the source does during the read."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from simulator.faults import Fault
from simulator.records import load_rows
from simulator.scenario import Change, Scenario
from simulator.server import Server, serve
from sku_velocity.model.run import Verdict
from sku_velocity.store import migrate
from tests.support.steps_driver import content, play, remaining_rows


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with serve(Scenario(records=1)) as server:
        yield server


@pytest.fixture(scope="module")
def store_url(tmp_path_factory: pytest.TempPathFactory) -> str:
    url = f"sqlite:///{tmp_path_factory.mktemp('proof')}/velocity.db"
    asyncio.run(migrate(url))
    return url


moments = st.integers(1, 16)
places = st.integers(0, 40)
few = st.integers(1, 3)
inserts = st.builds(Change, request=moments, position=places, insert=few)
deletes = st.builds(Change, request=moments, position=places, delete=few)
changes = st.builds(Change, request=moments, position=places, delete=few, insert=few)
faults = st.builds(Fault, st.sampled_from(["500", "502", "cut", "reset"]), places, times=st.integers(1, 5))
scenarios = st.builds(
    Scenario,
    records=st.integers(0, 40),
    seed=st.integers(0, 5),
    bad_ratio=st.sampled_from([0.0, 0.2]),
    max_page_size=st.sampled_from([None, 1, 2, 3, 7]),
    total_delta=st.sampled_from([0, 0, 0, 1, -1]),
    faults=st.lists(faults, max_size=2).map(tuple),
)
shapes = st.fixed_dictionaries(
    {
        "paging": st.builds(
            lambda size, overlap: {"page_size": size, "overlap": min(overlap, size - 1)},
            st.integers(1, 20),
            st.sampled_from([1, 1, 1, 0, 2]),
        ),
        "fields": st.sampled_from([{"movement_id": "movement_id"}, {}]),
    }
)
thorough = settings(
    deadline=None,
    max_examples=int(os.environ.get("PROOF_EXAMPLES", "12")),
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


LAST = Change(9, position=0, delete=1)  # before the last request, which looks behind the end
SINGLE = {"paging": {"page_size": 1, "overlap": 0}, "fields": {"movement_id": "movement_id"}}


@thorough
@example(Scenario(records=7, seed=0), [LAST], SINGLE)
@given(scenarios, st.one_of(st.lists(inserts, max_size=6), st.lists(deletes, max_size=6)), shapes)
def test_what_is_published_is_what_the_source_holds(
    server: Server, store_url: str, scenario: Scenario, moves: list[Change], shape: dict[str, Any]
) -> None:
    """Rows inserted or deleted anywhere before any request; clamps, wrong totals and faults."""
    ending, before, after = play(server, store_url, replace(scenario, changes=tuple(moves)), **shape)
    if ending.verdict in (None, Verdict.INCOMPLETE):
        assert after == before
    else:
        assert after == content(server.simulator.dataset.rows("WH-01"), bool(shape["fields"]))


@thorough
@given(scenarios, st.lists(changes, max_size=6), shapes)
def test_a_row_that_stays_is_published_once_no_matter_what_else_changes(
    server: Server, store_url: str, scenario: Scenario, moves: list[Change], shape: dict[str, Any]
) -> None:
    """Rows replaced by others anywhere before any request, so that no total reveals it."""
    shape = {**shape, "fields": {"movement_id": "movement_id"}}
    scenario = replace(scenario, changes=tuple(moves))
    ending, before, after = play(server, store_url, scenario, **shape)
    if ending.verdict in (None, Verdict.INCOMPLETE):
        assert after == before
        return
    stayed = content(remaining_rows(load_rows(scenario)["WH-01"], server.simulator.dataset.rows("WH-01")))
    assert stayed <= after and max(after.values(), default=1) == 1


@thorough
@given(scenarios, st.integers(1, 20))
def test_record_ids_reveal_an_unstable_order(
    server: Server, store_url: str, scenario: Scenario, page_size: int
) -> None:
    scenario = replace(scenario, shuffled=True)
    ending, before, after = play(
        server, store_url, scenario, paging={"page_size": page_size}, fields={"movement_id": "movement_id"}
    )
    if ending.verdict in (None, Verdict.INCOMPLETE):
        assert after == before
    else:
        assert after == content(server.simulator.dataset.rows("WH-01"))


BIG = Scenario(records=20_000)
IDS = {"movement_id": "movement_id"}


def test_a_silent_clamp_from_1000_to_500_is_handled(server: Server, store_url: str) -> None:
    ending, _, after = play(server, store_url, replace(BIG, max_page_size=500), fields=IDS)
    assert ending.verdict is Verdict.COMPLETE
    assert after == content(server.simulator.dataset.rows("WH-01")) and after.total() == 20_000


@pytest.mark.parametrize("move", [{"delete": 25}, {"insert": 25}], ids=["deleted", "inserted"])
def test_25_changed_rows_at_the_head_per_request_publish_nothing(
    server: Server, store_url: str, move: dict[str, int]
) -> None:
    moves = tuple(Change(request, position=0, **move) for request in range(2, 200))
    ending, before, after = play(server, store_url, replace(BIG, changes=moves), fields=IDS)
    assert ending.verdict is Verdict.INCOMPLETE and after == before


@pytest.mark.parametrize("move", [{"delete": 25}, {"insert": 25}], ids=["deleted", "inserted"])
def test_25_changed_rows_at_the_head_are_repaired_once_the_source_is_quiet(
    server: Server, store_url: str, move: dict[str, int]
) -> None:
    moves = tuple(Change(request, position=0, **move) for request in range(2, 21))
    ending, _, after = play(server, store_url, replace(BIG, changes=moves), fields=IDS)
    assert ending.verdict is Verdict.REPAIRED
    assert after == content(server.simulator.dataset.rows("WH-01"))


def test_a_clean_window_costs_two_requests_and_one_percent_at_most(server: Server, store_url: str) -> None:
    ending, _, after = play(server, store_url, BIG, fields=IDS)
    assert ending.verdict is Verdict.COMPLETE and after.total() == 20_000
    assert ending.requests <= 20 + 2 and ending.fetched <= 20_000 * 1.01


def test_a_rejected_record_that_is_read_twice_publishes_nothing(server: Server, store_url: str) -> None:
    scenario = Scenario(records=4, seed=2, bad_ratio=0.2, shuffled=True)
    ending, before, after = play(server, store_url, scenario, paging={"page_size": 1}, fields=IDS)
    assert ending.verdict is Verdict.INCOMPLETE and after == before

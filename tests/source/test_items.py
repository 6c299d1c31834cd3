"""A master is published completely or not at all, and readers see a single version."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping
from dataclasses import replace
from operator import attrgetter
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import text

from simulator.faults import Fault
from simulator.items import ITEMS, make_items
from simulator.scenario import Change, Scenario
from simulator.server import Server, serve
from sku_velocity.errors import ConfigurationError
from sku_velocity.model.master import Names
from sku_velocity.model.run import NO_WAREHOUSE, MasterVersion, Verdict
from sku_velocity.store import Store, migrate
from sku_velocity.store.database import Database
from tests.support.steps_driver import RunStatus, sync

CATALOGUE = Scenario(records=0, items=make_items(60, retired_ratio=0.1, bad_ratio=0.05))


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with serve(CATALOGUE) as server:
        yield server


@pytest.fixture(scope="module")
def republished_url(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A store whose master is published again by each example."""
    url = f"sqlite:///{tmp_path_factory.mktemp('republished')}/velocity.db"
    asyncio.run(migrate(url))
    return url


def sync_items(server: Server, url: str, scenario: Scenario, **parts: Any) -> RunStatus:
    server.play(scenario)
    parts = {"paging": {"page_size": 11}, **parts}
    erp = {"name": "erp", "request": {"path": "/items"}, "items": {"aliases": "aliases"}}
    return sync(server, url, warehouse=NO_WAREHOUSE, **erp | parts)


def select(url: str, sql: str) -> list[tuple[Any, ...]]:
    async def look() -> list[tuple[Any, ...]]:
        database = Database(url)
        try:
            async with database.reading() as connection:
                return [tuple(row) for row in await connection.execute(text(sql))]
        finally:
            await database.close()

    return asyncio.run(look())


def published(url: str) -> set[tuple[str, str, str]]:
    """Return the published items: id, status, run."""
    return set(select(url, "SELECT sku_id, status, run_id FROM published_items"))


def call_store(url: str, question: str, *values: Any) -> Any:
    async def look() -> Any:
        async with Store.open(url) as store:
            return await attrgetter(question)(store)(*values)

    return asyncio.run(look())


def items(*named: tuple[str, list[str]]) -> tuple[Mapping[str, Any], ...]:
    return tuple({"sku_id": sku, "aliases": aliases, "status": "active"} for sku, aliases in named)


def test_a_master_is_published_and_its_bad_items_become_dead_letters(server: Server, store_url: str) -> None:
    status = sync_items(server, store_url, CATALOGUE, order={"stable": True})
    truth = server.ground_truth(ITEMS)
    assert status.verdict is Verdict.COMPLETE
    assert {sku for sku, _, _ in published(store_url)} == {movement[1] for movement in truth.movements}
    assert len(call_store(store_url, "dead_letters.of", status.run_id)) == truth.bad == 3
    assert select(store_url, "SELECT count(*) FROM published_aliases") == [(2 * truth.valid,)]


def test_published_items_have_the_measures_that_the_spec_maps(server: Server, store_url: str) -> None:
    measured = {"kg": "0.25", "pack": {"case": 12, "pallet": "480"}}
    catalogue = tuple(item | measured for item in items(("A-1", [])))
    mapped = {"weight": "kg", "units_per_case": "pack.case", "units_per_pallet": "pack.pallet"}
    query = "SELECT weight, units_per_case, units_per_pallet FROM published_items"
    for fields, row in (({}, (None, None, None)), (mapped, (0.25, 12, 480))):
        sync_items(server, store_url, Scenario(records=0, items=catalogue), items=fields)
        assert select(store_url, query) == [row]


moments, places, few = st.integers(1, 12), st.integers(0, 40), st.integers(1, 3)
inserts = st.builds(Change, request=moments, position=places, insert=few, warehouse=st.just(ITEMS))
deletes = st.builds(Change, request=moments, position=places, delete=few, warehouse=st.just(ITEMS))


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.integers(1, 40),
    st.lists(inserts, max_size=4) | st.lists(deletes, max_size=4),
    st.sampled_from([None, 1, 3, 7]),
    st.integers(2, 20),
)
def test_the_published_items_are_those_of_the_source(
    server: Server, republished_url: str, count: int, moves: list[Change], clamp: int | None, page: int
) -> None:
    before = published(republished_url)
    scenario = Scenario(records=0, items=make_items(count), changes=tuple(moves), max_page_size=clamp)
    status = sync_items(server, republished_url, scenario, paging={"page_size": page})
    expected = {row.sku_id for row in server.simulator.dataset.rows(ITEMS)}
    if status.verdict is Verdict.INCOMPLETE:
        assert published(republished_url) == before
    else:
        assert {sku for sku, _, _ in published(republished_url)} == expected


def test_a_newer_version_replaces_the_previous_one(server: Server, store_url: str) -> None:
    first = sync_items(server, store_url, CATALOGUE)
    second = sync_items(server, store_url, replace(CATALOGUE, items=make_items(30)))
    assert {run for _, _, run in published(store_url)} == {second.run_id} and len(published(store_url)) == 30
    assert call_store(store_url, "masters.newest", "erp") == second.run_id
    assert call_store(store_url, "masters.version_before", second.run_id) == first.run_id
    assert call_store(store_url, "masters.version_before", first.run_id) is None
    assert len(call_store(store_url, "masters.names_of", first.run_id).active) == 3 * 51


@pytest.mark.parametrize(
    "changes",
    [
        tuple(Change(n, position=0, delete=1, warehouse=ITEMS) for n in range(2, 99)),
        tuple(Change(n, position=3, insert=1, warehouse=ITEMS) for n in range(2, 99)),
    ],
    ids=["shrinks", "grows"],
)
def test_a_master_that_changes_while_it_is_read_is_not_published(
    server: Server, store_url: str, changes: tuple[Change, ...]
) -> None:
    sync_items(server, store_url, CATALOGUE)
    before = published(store_url)
    status = sync_items(server, store_url, replace(CATALOGUE, changes=changes))
    assert status.verdict is Verdict.INCOMPLETE and published(store_url) == before


def test_a_master_that_shrinks_once_is_read_again(server: Server, store_url: str) -> None:
    once = (Change(4, position=0, delete=3, warehouse=ITEMS),)
    status = sync_items(server, store_url, replace(CATALOGUE, changes=once), order={"stable": True})
    assert status.verdict is Verdict.REPAIRED
    assert len(published(store_url)) == server.ground_truth(ITEMS).valid


def test_a_page_that_fails_publishes_nothing(server: Server, sqlite_url: str) -> None:
    failing = replace(CATALOGUE, faults=(Fault("401", 29),))
    assert sync_items(server, sqlite_url, failing).verdict is None and not published(sqlite_url)


@pytest.mark.parametrize(
    "claims",
    [
        (("A", ["ean 1"]), ("B", ["ean 1"])),
        (("A", ["B"]), ("B", [])),
        (("A", []), ("B", []), ("A", [])),
    ],
    ids=["an alias of two", "an alias that is another's id", "an id twice"],
)
def test_a_master_with_an_ambiguous_name_is_not_published(
    server: Server, store_url: str, claims: tuple[tuple[str, list[str]], ...]
) -> None:
    status = sync_items(server, store_url, Scenario(records=0, items=items(*claims)))
    assert status.verdict is Verdict.INCOMPLETE and not published(store_url)


def test_an_item_that_is_read_twice_is_noticed_though_it_is_rejected(server: Server, store_url: str) -> None:
    twice = {"sku_id": "B", "status": "unknown"}
    records = (*items(("A", [])), twice, twice)
    status = sync_items(server, store_url, Scenario(records=0, items=records))
    assert status.verdict is Verdict.INCOMPLETE and not published(store_url)


def test_a_master_that_loses_most_of_its_items_is_held(server: Server, store_url: str) -> None:
    sync_items(server, store_url, CATALOGUE)
    before = published(store_url)
    few = Scenario(records=0, items=items(("A", []), ("B", [])))
    assert sync_items(server, store_url, few).verdict is Verdict.INCOMPLETE
    assert published(store_url) == before
    assert sync_items(server, store_url, few).verdict is Verdict.COMPLETE and len(published(store_url)) == 2


def test_an_empty_master_does_not_replace_one_with_items(server: Server, store_url: str) -> None:
    sync_items(server, store_url, CATALOGUE)
    before = published(store_url)
    status = sync_items(server, store_url, CATALOGUE, filter=[{"path": "status", "in": ["gone"]}])
    assert status.verdict is Verdict.INCOMPLETE and published(store_url) == before


def test_the_contested_names_are_reported(server: Server, store_url: str) -> None:
    claims = (("A", ["x", "y"]), ("B", ["y", "x", "C"]), ("C", ["C", "z"]), ("D", []), ("D", []))
    status = sync_items(server, store_url, Scenario(records=0, items=items(*claims)))
    assert call_store(store_url, "masters.contested_names", status.run_id) == ["C", "D", "x", "y"]


def test_a_version_is_loaded_with_all_its_names(server: Server, store_url: str) -> None:
    records = (*items(("A", ["a 1", "a 2"])), {"sku_id": "B", "aliases": ["b"], "status": "retired"})
    version = sync_items(server, store_url, Scenario(records=0, items=records)).run_id
    assert call_store(store_url, "masters.names_of", version) == Names(
        {"A": "A", "a 1": "A", "a 2": "A"}, {"B": "B", "b": "B"}
    )


def test_an_unpublished_master_is_named_with_the_fix(server: Server, store_url: str) -> None:
    sync_items(server, store_url, Scenario(records=0, items=items(("A", ["B"]), ("B", []))))
    with pytest.raises(ConfigurationError, match=r"no published master erp: .*sync-master"):
        call_store(store_url, "masters.newest", "erp")


def test_a_pruned_version_is_an_error_with_the_fix(server: Server, sqlite_url: str) -> None:
    version = sync_items(server, sqlite_url, CATALOGUE).run_id

    async def prune() -> None:
        database = Database(sqlite_url)
        async with database.writing() as connection:
            await connection.execute(text("DELETE FROM item_aliases"))
            await connection.execute(text("DELETE FROM items"))
        await database.close()

    asyncio.run(prune())
    with pytest.raises(ConfigurationError, match=r"is no longer in this store: start a new run"):
        call_store(sqlite_url, "masters.load", MasterVersion(source="erp", version=version))

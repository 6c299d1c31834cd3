"""The simulated systems, asked over real HTTP: each has the traps of the one that it stands for."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from simulator.scenario import Scenario
from simulator.server import Server, serve
from simulator.systems import SYSTEMS

RECORDS = 60
TRACK = "/api/stock/track/"
QUANTITIES = "/cyclecount/qtyrecorviewset/"


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with serve() as running:
        yield running


@pytest.fixture
def ask(server: Server) -> Iterator[Any]:
    """Ask a system of 60 movements, which others stand among."""

    def send(name: str, path: str, method: str = "GET", **request: Any) -> httpx.Response:
        if server.simulator.scenario.system is not SYSTEMS[name]:
            server.play(Scenario(records=RECORDS, warehouses=("7",), system=SYSTEMS[name]))
        return http.request(method, path, **request)

    with httpx.Client(base_url=server.url, timeout=10) as http:
        yield send


def test_inventree_tells_the_newest_first_and_heeds_no_order_but_that_of_the_date(ask: Any) -> None:
    def days(**params: Any) -> list[str]:
        return [row["date"] for row in ask("inventree", TRACK, params=params).json()]

    assert (
        days() == days(ordering="pk") == sorted(days(ordering="date"), reverse=True) != days(ordering="date")
    )


def test_inventree_knows_days_only_and_leaves_both_borders_out(ask: Any) -> None:
    assert ask("inventree", TRACK, params={"min_date": "2026-03-02T00:00"}).status_code == 400
    params = {"min_date": "2026-03-01", "max_date": "2026-03-02", "limit": 100}
    assert {row["date"][:10] for row in ask("inventree", TRACK, params=params).json()["results"]} == {
        "2026-03-01"
    }


def test_inventree_answers_a_bare_array_without_a_limit(ask: Any) -> None:
    assert isinstance(ask("inventree", TRACK).json(), list)
    assert ask("inventree", TRACK, params={"limit": 1}).json().keys() >= {"count", "next", "results"}


def test_greaterwms_answers_everything_with_success(server: Server, ask: Any) -> None:
    system = SYSTEMS["greaterwms"]
    assert ask("greaterwms", QUANTITIES, params={"page": 99}).json()["status_code"] == 404
    server.play(Scenario(records=3, system=system, token="s3cret", requests_per_second=1))
    answers = [ask("greaterwms", QUANTITIES) for _ in range(2)]
    assert [answer.status_code for answer in answers] == [200, 200]
    assert [answer.json()["status_code"] for answer in answers] == [500, 429]


def test_greaterwms_gives_no_more_than_1000_whatever_is_asked(server: Server, ask: Any) -> None:
    server.play(Scenario(records=1200, system=SYSTEMS["greaterwms"]))
    body = ask("greaterwms", QUANTITIES, params={"max_page": 5000}).json()
    assert len(body["results"]) == 1000 < body["count"]


def test_fusion_tells_its_total_only_when_it_is_asked_for(ask: Any) -> None:
    path = "/fscmRestApi/resources/11.13.18.05/inventoryCompletedTransactions"
    assert "totalResults" not in ask("oracle-fusion", path).json()
    assert ask("oracle-fusion", path, params={"totalResults": "true"}).json()["totalResults"] == 80


def test_json_server_compares_texts(ask: Any) -> None:
    first = ask("json-server", "/movements", params={"_sort": "timestamp_utc"}).json()[0]["timestamp_utc"]
    late = {"timestamp_utc_gte": first.replace(".000Z", "Z")}
    assert len(ask("json-server", "/movements", params=late).json()) == RECORDS - 1


def test_netsuite_wants_an_offset_that_is_a_multiple_of_the_limit(ask: Any) -> None:
    query = {"q": "SELECT tl.uniquekey FROM transactionline tl WHERE tl.quantity < 0"}
    headers = {"Prefer": "transient"}

    def status(offset: int) -> int:
        where = f"/services/rest/query/v1/suiteql?offset={offset}&limit=10"
        answer: httpx.Response = ask("netsuite-suiteql", where, "POST", json=query, headers=headers)
        return answer.status_code

    assert [status(offset) for offset in (0, 9, 10)] == [200, 400, 200]


def test_dynamics_tells_of_one_company_unless_it_is_asked_for_all(ask: Any) -> None:
    def count(**params: str) -> int:
        answer = ask("dynamics365", "/data/InventTransactions", params={"$count": "true", **params})
        return int(answer.json()["@odata.count"])

    assert (count(), count(**{"cross-company": "true"})) == (40, 80)


@pytest.mark.parametrize(
    ("name", "path", "params"),
    [
        ("erpnext", "/api/resource/Stock Ledger Entry", {"filters": '[["warehose","=","WH"]]'}),
        ("sap-odata-v4", "/MaterialDocumentItem", {"$filter": "PostingDate ge 2026-03-01T00:00:00Z"}),
        ("postgrest", "/movements", {"warehouse_id": "WH"}),
        ("oracle-fusion", "/fscmRestApi/resources/11.13.18.05/inventoryCompletedTransactions", {"Q": "x"}),
        ("drf", "/movements", {"ordering": "timestmp"}),
        ("erpnext", "/api/resource/Stock Ledger Entry", {"filters": '[["warehouse"]]'}),
    ],
)
def test_what_is_asked_wrongly_is_refused_and_not_passed_over(
    ask: Any, name: str, path: str, params: dict[str, str]
) -> None:
    assert ask(name, path, params=params).status_code == 400


def test_a_warehouse_that_a_system_cannot_have_is_refused(server: Server) -> None:
    with pytest.raises(ValueError, match="locations are numbers: not WH-01"):
        server.play(Scenario(system=SYSTEMS["inventree"]))


def test_a_system_tells_its_rows_as_they_are() -> None:
    with pytest.raises(ValueError, match="no other fault or trick"):
        Scenario(system=SYSTEMS["drf"], bad_ratio=0.1)

"""The simulated systems over real HTTP: each has the traps of the real one."""

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
    """Ask a system with 60 movements among other rows."""

    def send(name: str, path: str, method: str = "GET", **request: Any) -> httpx.Response:
        if server.simulator.scenario.system is not SYSTEMS[name]:
            server.play(Scenario(records=RECORDS, warehouses=("7",), system=SYSTEMS[name]))
        return http.request(method, path, **request)

    with httpx.Client(base_url=server.url, timeout=10) as http:
        yield send


def test_inventree_returns_the_newest_first_and_supports_only_ordering_by_date(ask: Any) -> None:
    def days(**params: Any) -> list[str]:
        return [row["date"] for row in ask("inventree", TRACK, params=params).json()]

    assert (
        days() == days(ordering="pk") == sorted(days(ordering="date"), reverse=True) != days(ordering="date")
    )


def test_inventree_filters_by_whole_days_and_excludes_both_bounds(ask: Any) -> None:
    assert ask("inventree", TRACK, params={"min_date": "2026-03-02T00:00"}).status_code == 400
    params = {"min_date": "2026-03-01", "max_date": "2026-03-02", "limit": 100}
    assert {row["date"][:10] for row in ask("inventree", TRACK, params=params).json()["results"]} == {
        "2026-03-01"
    }


def test_inventree_answers_with_a_bare_array_without_a_limit(ask: Any) -> None:
    assert isinstance(ask("inventree", TRACK).json(), list)
    assert ask("inventree", TRACK, params={"limit": 1}).json().keys() >= {"count", "next", "results"}


def test_greaterwms_answers_everything_with_status_200(server: Server, ask: Any) -> None:
    system = SYSTEMS["greaterwms"]
    assert ask("greaterwms", QUANTITIES, params={"page": 99}).json()["status_code"] == 404
    server.play(Scenario(records=3, system=system, token="s3cret", requests_per_second=1))
    answers = [ask("greaterwms", QUANTITIES) for _ in range(2)]
    assert [answer.status_code for answer in answers] == [200, 200]
    assert [answer.json()["status_code"] for answer in answers] == [500, 429]


def test_greaterwms_returns_at_most_1000_rows(server: Server, ask: Any) -> None:
    server.play(Scenario(records=1200, system=SYSTEMS["greaterwms"]))
    body = ask("greaterwms", QUANTITIES, params={"max_page": 5000}).json()
    assert len(body["results"]) == 1000 < body["count"]


def test_fusion_returns_its_total_only_on_request(ask: Any) -> None:
    path = "/fscmRestApi/resources/11.13.18.05/inventoryCompletedTransactions"
    assert "totalResults" not in ask("oracle-fusion", path).json()
    assert ask("oracle-fusion", path, params={"totalResults": "true"}).json()["totalResults"] == 80


def test_json_server_compares_times_as_text(ask: Any) -> None:
    first = ask("json-server", "/movements", params={"_sort": "timestamp_utc"}).json()[0]["timestamp_utc"]
    late = {"timestamp_utc_gte": first.replace(".000Z", "Z")}
    assert len(ask("json-server", "/movements", params=late).json()) == RECORDS - 1


def test_json_server_1_returns_the_last_page_for_pages_past_the_end(ask: Any) -> None:
    def page(number: int) -> Any:
        return ask("json-server-1", "/movements", params={"_page": number, "_per_page": 20}).json()

    assert page(4)["data"] == page(3)["data"] != page(2)["data"] and page(3)["items"] == RECORDS


def test_tryton_answers_without_an_envelope_unless_the_call_has_an_id(ask: Any) -> None:
    call = {"method": "model.stock.move.search_count", "params": [[["state", "=", "done"]], {}]}
    bare = ask("tryton", "/tryton/", "POST", json=call).json()
    assert ask("tryton", "/tryton/", "POST", json=call | {"id": 1}).json() == {"id": 1, "result": bare}


def test_odoo_returns_units_and_sku_of_the_product_beside_those_of_the_line(ask: Any) -> None:
    fields = {"product_id": {"fields": {"default_code": {}}}, "quantity": {}, "quantity_product_uom": {}}
    call = {"domain": [], "specification": fields, "order": "id", "limit": 3}
    body = ask("odoo-json2", "/json/2/stock.move.line/web_search_read", "POST", json=call).json()
    dozen = body["records"][2]
    assert body["length"] == 80 and dozen["quantity"] * 12 == dozen["quantity_product_uom"]
    assert dozen["product_id"]["default_code"] != str(dozen["product_id"]["id"])


def test_netsuite_requires_an_offset_that_is_a_multiple_of_the_limit(ask: Any) -> None:
    query = {"q": "SELECT tl.uniquekey FROM transactionline tl WHERE tl.quantity < 0"}
    headers = {"Prefer": "transient"}

    def status(offset: int) -> int:
        where = f"/services/rest/query/v1/suiteql?offset={offset}&limit=10"
        answer: httpx.Response = ask("netsuite-suiteql", where, "POST", json=query, headers=headers)
        return answer.status_code

    assert [status(offset) for offset in (0, 9, 10)] == [200, 400, 200]


def test_dynamics_returns_one_company_unless_asked_for_all(ask: Any) -> None:
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
def test_invalid_parameters_are_refused_and_not_ignored(
    ask: Any, name: str, path: str, params: dict[str, str]
) -> None:
    assert ask(name, path, params=params).status_code == 400


def test_an_impossible_warehouse_is_refused(server: Server) -> None:
    with pytest.raises(ValueError, match="locations are numbers: not WH-01"):
        server.play(Scenario(system=SYSTEMS["tryton"]))
    with pytest.raises(ValueError, match="does not name warehouses: give one"):
        server.play(Scenario(system=SYSTEMS["inventree"], warehouses=("A", "B")))


def test_a_system_does_not_support_bad_rows() -> None:
    with pytest.raises(ValueError, match="no other fault or change"):
        Scenario(system=SYSTEMS["drf"], bad_ratio=0.1)

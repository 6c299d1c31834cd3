"""The simulated WMS over real HTTP: a test double must be tested before others rely on it."""

from __future__ import annotations

import csv
import gzip
import json
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from simulator import (
    DIALECTS,
    ITEMS,
    Change,
    Dialect,
    Fault,
    JsonAnswer,
    OffsetQuery,
    Scenario,
    Server,
    make_items,
    serve,
)
from simulator.stats import count_busiest_second
from simulator.traffic import Ceiling
from tests.support.checkout import CHECKOUT

BARE = Scenario(records=10, dialect=DIALECTS["bare"])


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with serve() as running:
        yield running


@pytest.fixture(scope="module")
def http(server: Server) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=server.url, timeout=10) as client:
        yield client


def ask(http: httpx.Client, **params: Any) -> httpx.Response:
    return http.get("/movements", params=params)


def dig(body: Any, path: str) -> Any:
    for key in path.split("."):
        body = body[key]
    return body


# Rows


@settings(max_examples=60, deadline=None)
@given(records=st.integers(0, 60), size=st.integers(1, 70), clamp=st.none() | st.integers(1, 70))
def test_pages_of_any_size_cover_the_data_set_exactly(
    server: Server, http: httpx.Client, records: int, size: int, clamp: int | None
) -> None:
    server.play(replace(BARE, records=records, bad_ratio=0.3, max_page_size=clamp))
    step = min(size, clamp or size)
    pages = [ask(http, offset=offset, limit=size).json() for offset in range(0, records + step, step)]
    assert [len(page) for page in pages[:-2]] == [step] * len(pages[:-2])
    assert [record for page in pages for record in page] == [
        json.loads(row.body) for row in server.simulator.dataset.rows("WH-01")
    ]


def test_the_same_seed_yields_the_same_bytes(server: Server, http: httpx.Client) -> None:
    bodies = []
    for seed in (1, 1, 2):
        server.play(Scenario(seed=seed, bad_ratio=0.1))
        bodies.append(ask(http, limit=1000).content)
    assert bodies[0] == bodies[1] != bodies[2]


def test_records_ascend_in_time_and_few_skus_have_most_movements(server: Server, http: httpx.Client) -> None:
    server.play(replace(BARE, records=5000))
    records = ask(http, limit=5000).json()
    assert [record["timestamp_utc"] for record in records] == sorted(r["timestamp_utc"] for r in records)
    assert len({record["movement_id"] for record in records}) == 5000
    top = {f"SKU-{rank:05d}" for rank in range(1, 51)}
    assert 0.6 < sum(record["sku_id"] in top for record in records) / 5000 < 0.75


def test_a_record_may_have_additional_fields(server: Server, http: httpx.Client) -> None:
    server.play(replace(BARE, extra_fields=("operator",)))
    assert ask(http, limit=1).json()[0]["operator"] == "operator-0"


def test_bad_records_have_the_requested_number_and_all_kinds(server: Server, http: httpx.Client) -> None:
    server.play(replace(BARE, records=800, bad_ratio=0.02))
    records, truth = ask(http, limit=800).json(), server.ground_truth("WH-01")
    assert (truth.records, truth.valid, truth.bad) == (800, 784, 16)
    assert set(truth.defects.values()) == {2} and len(truth.defects) == 8
    valid = [record for n, record in enumerate(records) if n not in truth.bad_positions]
    assert sum(record["units_moved"] for record in valid) == truth.units
    assert [(r["movement_id"], r["sku_id"], r["units_moved"]) for r in valid] == [
        (movement_id, sku, units) for movement_id, sku, _, units, _ in truth.movements
    ]


def test_a_window_includes_its_start_and_excludes_its_end(server: Server, http: httpx.Client) -> None:
    server.play(BARE)
    times = [record["timestamp_utc"] for record in ask(http).json()]
    found = ask(http, start=times[3], end=times[6]).json()
    assert [record["timestamp_utc"] for record in found] == times[3:6]
    instants = [datetime.fromisoformat(text) for text in (times[3], times[6])]
    assert server.ground_truth("WH-01", *instants).records == 3


def test_adjacent_windows_cover_the_data_set_exactly(server: Server, http: httpx.Client) -> None:
    server.play(Scenario(records=500, bad_ratio=0.1))
    start, day = datetime(2026, 3, 1, tzinfo=UTC), timedelta(days=1)
    days = [(start + n * day, start + (n + 1) * day) for n in range(7)]
    totals = [ask(http, start=a.isoformat(), end=b.isoformat()).json()["total"] for a, b in days]
    assert sum(totals) == 500 and min(totals) > 0


def test_warehouses_are_separate_and_an_unknown_one_is_empty(server: Server, http: httpx.Client) -> None:
    server.play(Scenario(records=20, warehouses=("A", "B")))
    for name, count in (("A", 20), ("B", 20), ("C", 0)):
        body = ask(http, warehouse=name).json()
        assert body["total"] == count and {r["warehouse_id"] for r in body["records"]} <= {name}
    assert ask(http).json()["total"] == 40


def test_a_csv_file_is_served_line_by_line(server: Server, http: httpx.Client, tmp_path: Path) -> None:
    path = tmp_path / "moves.csv.gz"
    lines = [
        ["movement_id", "sku_id", "warehouse_id", "units_moved", "timestamp_utc", "document"],
        ["1", "A-1", "GB-01", "6", "2026-03-01T08:00:00Z", "X"],
        ["2", "a-1", "GB-01", "6", "2026-03-01T08:00:00Z", "X"],
        ["3", "A-1", "GB-01", "-6", "2026-03-01T08:01:00Z", "X"],
        ["4", "A-1", "GB-01", "1.5", "2026-02-30T08:00:00Z", "X"],
    ]
    with gzip.open(path, "wt", newline="") as text:
        csv.writer(text).writerows(lines)
    server.play(Scenario(csv=path))
    records, truth = ask(http, warehouse="GB-01").json()["records"], server.ground_truth("GB-01")
    assert [record["units_moved"] for record in records] == [6, 6, -6, "1.5"]
    assert records[0]["document"] == "X" and (truth.valid, truth.bad, truth.units) == (1, 3, 6)


# Changes during a read


def test_a_row_deleted_between_two_reads_is_skipped(server: Server, http: httpx.Client) -> None:
    server.play(replace(BARE, changes=(Change(request=2, position=0, delete=1),)))
    first, second = ask(http, limit=5).json(), ask(http, offset=5, limit=5).json()
    assert [r["movement_id"][-1] for r in first + second] == list("01234") + list("6789")


def test_a_row_inserted_between_two_reads_duplicates_one(server: Server, http: httpx.Client) -> None:
    server.play(replace(BARE, changes=(Change(request=2, position=0, insert=1),)))
    first, second = ask(http, limit=5).json(), ask(http, offset=5, limit=5).json()
    assert first[-1] == second[0]
    assert server.ground_truth("WH-01").movements[0][1] == "NEW-000000"


def test_requests_that_read_no_rows_trigger_no_change(server: Server, http: httpx.Client) -> None:
    fault = Fault("500", offset=0, times=3)
    server.play(replace(BARE, faults=(fault,), changes=(Change(request=2, position=0, delete=1),)))
    assert [ask(http).status_code for _ in range(4)] == [500, 500, 500, 200]
    assert server.simulator.dataset.reads == 1 and server.ground_truth().records == 10


# Dialects


@pytest.mark.parametrize(
    ("shape", "records", "total"),
    [
        ("plain", "records", "total"),
        ("envelope", "data", "total"),
        ("nested", "data.movements", "meta.page.total"),
    ],
)
def test_an_envelope_holds_records_and_total(
    server: Server, http: httpx.Client, shape: str, records: str, total: str
) -> None:
    server.play(Scenario(records=10, dialect=DIALECTS[shape]))
    body = ask(http, offset=2, limit=3).json()
    assert len(dig(body, records)) == 3 and dig(body, total) == 10


def test_a_root_array_may_have_its_total_in_a_header(server: Server, http: httpx.Client) -> None:
    server.play(Scenario(records=10, dialect=DIALECTS["header"]))
    response = ask(http, limit=3)
    assert len(response.json()) == 3 and response.headers["X-Total-Count"] == "10"


def test_a_bare_array_has_no_total(server: Server, http: httpx.Client) -> None:
    server.play(BARE)
    response = ask(http)
    assert len(response.json()) == 10 and "X-Total-Count" not in response.headers


def test_fields_may_be_nested(server: Server, http: httpx.Client) -> None:
    server.play(Scenario(records=1, dialect=DIALECTS["nested"]))
    (record,) = ask(http).json()["data"]["movements"]
    assert record["item"]["sku"].startswith("SKU-") and record["site"]["code"] == "WH-01"
    assert record["quantity"]["units"] >= 1 and record["moved"]["at"].endswith("Z")


def test_parameter_names_and_the_first_offset_are_configurable(server: Server, http: httpx.Client) -> None:
    query = OffsetQuery(offset_param="$skip", limit_param="$top", first=1, warehouse_param="site")
    dialect = Dialect(query, JsonAnswer(), path="/odata/moves")
    server.play(Scenario(records=10, dialect=dialect))
    response = http.get("/odata/moves", params={"$skip": 1, "$top": 2, "site": "WH-01"})
    assert [record["movement_id"] for record in response.json()] == ["WH-01-00000000", "WH-01-00000001"]
    assert http.get("/odata/moves", params={"$skip": 0}).status_code == 400


def test_without_a_limit_a_page_has_its_default_size(server: Server, http: httpx.Client) -> None:
    server.play(replace(BARE, page_size=4))
    assert len(ask(http).json()) == 4


def test_a_page_is_clamped_silently(server: Server, http: httpx.Client) -> None:
    server.play(Scenario(records=10, max_page_size=4))
    body = ask(http, limit=9).json()
    assert len(body["records"]) == 4 and body["total"] == 10


def test_a_total_may_be_wrong(server: Server, http: httpx.Client) -> None:
    server.play(Scenario(records=10, total_delta=-1))
    assert ask(http).json()["total"] == 9


@pytest.mark.parametrize("params", [{"offset": "x"}, {"limit": -1}, {"start": "yesterday"}])
def test_invalid_parameters_are_refused(server: Server, http: httpx.Client, params: dict[str, Any]) -> None:
    server.play(BARE)
    assert ask(http, **params).status_code == 400


def test_a_wrong_path_or_method_is_refused(server: Server, http: httpx.Client) -> None:
    server.play(BARE)
    assert http.get("/movement").status_code == 404
    assert http.post("/movements").status_code == 405


# Traffic


@pytest.mark.parametrize(
    ("header", "right"), [(None, {"Authorization": "Bearer s3cret"}), ("X-API-Key", {"X-API-Key": "s3cret"})]
)
def test_only_the_right_token_is_accepted(
    server: Server, http: httpx.Client, header: str | None, right: dict[str, str]
) -> None:
    server.play(replace(BARE, token="s3cret", token_header=header))
    for headers, status in (({}, 401), ({name: "Bearer no" for name in right}, 401), (right, 200)):
        assert http.get("/movements", headers=headers).status_code == status


def test_requests_over_the_ceiling_are_answered_with_429_and_a_wait(
    server: Server, http: httpx.Client
) -> None:
    server.play(replace(BARE, requests_per_second=2, retry_after_header="X-Retry-After"))
    answers = [ask(http) for _ in range(3)]
    assert [answer.status_code for answer in answers] == [200, 200, 429]
    assert answers[-1].headers["X-Retry-After"] == "1" and server.stats().throttled == 1


def test_the_ceiling_applies_to_every_second_and_counts_only_admitted_requests() -> None:
    ceiling = Ceiling(2)
    assert [ceiling.admit(now) for now in (0.0, 0.9, 0.95, 1.0, 1.5, 2.0)] == [0, 0, 1, 0, 1, 0]


def test_the_ceiling_may_be_lowered_at_any_time() -> None:
    ceiling = Ceiling(4)
    admitted = [ceiling.admit(now) for now in (0.0, 0.1, 0.2, 0.3)]
    ceiling.limit = 2
    assert admitted == [0] * 4 and [ceiling.admit(now) for now in (0.4, 1.2, 1.3)] == [1, 0, 0]


def test_every_answer_takes_its_latency(server: Server, http: httpx.Client) -> None:
    server.play(replace(BARE, latency=0.05))
    started = time.monotonic()
    ask(http)
    assert 0.05 <= time.monotonic() - started < 1


def test_an_answer_is_not_delayed_by_the_kernel(server: Server, http: httpx.Client) -> None:
    server.play(BARE)
    assert min(ask(http).elapsed for _ in range(10)) < timedelta(milliseconds=30)


# Faults


@pytest.mark.parametrize(
    ("kind", "status", "headers"),
    [
        ("500", 500, {"content-type": "application/json"}),
        ("502", 502, {"content-type": "text/html; charset=utf-8"}),
        ("503", 503, {"retry-after": "2"}),
        ("429", 429, {"retry-after": "2"}),
        ("401", 401, {}),
        ("html", 200, {"content-type": "text/html; charset=utf-8"}),
        ("redirect", 302, {"location": "/login"}),
    ],
)
def test_a_fault_affects_only_its_offset(
    server: Server, http: httpx.Client, kind: str, status: int, headers: dict[str, str]
) -> None:
    server.play(replace(BARE, faults=(Fault(kind, offset=5, times=1, seconds=2),)))
    answers = [ask(http, offset=offset, limit=5) for offset in (0, 5, 5)]
    assert [answer.status_code for answer in answers] == [200, status, 200]
    assert headers.items() <= answers[1].headers.items()
    assert server.stats().faults == {kind: 1} and server.stats().read_again == []


def test_a_cut_body_is_invalid_json(server: Server, http: httpx.Client) -> None:
    server.play(replace(BARE, faults=(Fault("cut", times=1),)))
    with pytest.raises(json.JSONDecodeError):
        ask(http).json()
    assert len(ask(http).json()) == 10


def test_a_reset_ends_the_connection_in_the_middle_of_an_answer(server: Server) -> None:
    server.play(replace(BARE, faults=(Fault("reset", times=1),)))
    with httpx.Client(base_url=server.url) as http:
        with pytest.raises((httpx.ReadError, httpx.RemoteProtocolError)):
            ask(http)
        assert len(ask(http).json()) == 10
    assert server.stats().connections == 2


def test_a_hangup_closes_without_an_answer(server: Server) -> None:
    server.play(replace(BARE, faults=(Fault("hangup", offset=5, times=1),)))
    with httpx.Client(base_url=server.url) as http:
        ask(http)
        with pytest.raises(httpx.RemoteProtocolError, match="without sending a response"):
            ask(http, offset=5)
        assert len(ask(http, offset=5).json()) > 0
    assert server.stats().connections == 2


def test_a_black_hole_never_answers_and_blocks_no_other_request() -> None:
    with serve(replace(BARE, faults=(Fault("blackhole", times=1),))) as server:
        with httpx.Client(base_url=server.url, timeout=0.05) as http, pytest.raises(httpx.ReadTimeout):
            ask(http)
        with httpx.Client(base_url=server.url) as http:
            assert len(ask(http).json()) == 10


@pytest.mark.parametrize("kind", ["slow", "drip"])
def test_a_slow_answer_is_complete(server: Server, http: httpx.Client, kind: str) -> None:
    server.play(replace(BARE, faults=(Fault(kind, times=1, seconds=0.1),)))
    started = time.monotonic()
    assert len(ask(http).json()) == 10
    assert time.monotonic() - started >= 0.1 and server.stats().records == 10


def test_a_client_that_gave_up_does_not_delay_the_shutdown() -> None:
    started = time.monotonic()
    with (
        serve(replace(BARE, faults=(Fault("slow", seconds=60),))) as server,
        pytest.raises(httpx.ReadTimeout),
    ):
        httpx.get(f"{server.url}/movements", timeout=0.05)
    assert time.monotonic() - started < 5


def test_a_call_clears_a_fault_that_lasts_until_cleared(server: Server, http: httpx.Client) -> None:
    server.play(replace(BARE, faults=(Fault("500", offset=0),)))
    assert [ask(http).status_code for _ in range(3)] == [500] * 3
    assert http.post("/_control/clear").status_code == 200
    assert ask(http).status_code == 200


def test_faults_by_ratio_depend_on_the_offset_and_not_on_the_order(
    server: Server, http: httpx.Client
) -> None:
    affected = []
    for offsets in (range(200), reversed(range(200))):
        server.play(replace(BARE, faults=(Fault("500", ratio=0.1, times=1),)))
        affected.append({n for n in offsets if ask(http, offset=n, limit=1).status_code == 500})
        assert all(ask(http, offset=n, limit=1).status_code == 200 for n in affected[-1])
    assert affected[0] == affected[1] and 10 <= len(affected[0]) <= 30


def test_a_fault_may_be_limited_to_one_warehouse(server: Server, http: httpx.Client) -> None:
    server.play(Scenario(records=10, warehouses=("A", "B"), faults=(Fault("500", 0, "A"),)))
    assert [ask(http, warehouse=name).status_code for name in "AB"] == [500, 200]


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("500@3000", Fault("500", 3000)),
        ("503:2.5@WH-01/3000x2", Fault("503", 3000, "WH-01", times=2, seconds=2.5)),
        ("429:0@*", Fault("429", seconds=0)),
    ],
)
def test_faults_have_a_short_notation(text: str, fault: Fault) -> None:
    assert Fault.parse(text) == fault
    assert Fault.parse_ratio("cut@0.01") == Fault("cut", ratio=0.01, times=1)


@pytest.mark.parametrize("text", ["500", "500@", "nix@1", "500@1xy", "500@1.5"])
def test_an_invalid_fault_is_refused(text: str) -> None:
    with pytest.raises(ValueError):
        Fault.parse(text)


# Statistics


def test_stats_count_how_often_each_page_was_served(server: Server, http: httpx.Client) -> None:
    server.play(replace(BARE, faults=(Fault("reset", 5, times=0), Fault("500", 5, times=1))))
    for offset in (0, 5, 5, 0):
        ask(http, offset=offset, limit=5, warehouse="WH-01")
    stats = http.get("/stats").json()
    page = {"warehouse": "WH-01", "limit": 5}
    assert stats["pages"] == [page | {"offset": 0, "count": 2}, page | {"offset": 5, "count": 1}]
    assert (stats["requests"], stats["by_status"], stats["records"]) == (4, {"200": 3, "500": 1}, 15)
    assert (stats["max_in_flight"], stats["connections"]) == (1, 1)
    assert stats["first_request"] <= stats["last_request"]
    assert [again.offset for again in server.stats().read_again] == [0]


def test_stats_can_be_reset(server: Server, http: httpx.Client) -> None:
    server.play(BARE)
    ask(http)
    http.post("/_control/reset-stats")
    stats = http.get("/stats").json()
    assert (stats["requests"], stats["pages"], stats["first_request"]) == (0, [], None)


def test_the_busiest_second_may_begin_at_any_time() -> None:
    assert count_busiest_second([]) == 0
    assert count_busiest_second([0.0, 0.5, 0.9, 1.2, 1.4, 3.0]) == 4
    assert count_busiest_second([0.0, 1.0, 2.0]) == 1


# As a process


@contextmanager
def started(*flags: str) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-m", "simulator", *flags]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, cwd=CHECKOUT, stdout=pipe, stderr=pipe, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_the_first_line_holds_the_url_and_a_signal_ends_it_cleanly(number: signal.Signals) -> None:
    flags = [
        "--records",
        "50",
        "--bad-ratio",
        "0.1",
        "--warehouse",
        "A",
        "--warehouse",
        "B",
        "--shape",
        "envelope",
    ]
    with started(*flags, "--fault", "500@10x1") as process:
        assert process.stdout and process.stderr
        described = json.loads(process.stdout.readline())
        with httpx.Client(base_url=described["url"]) as http:
            assert ask(http, warehouse="A").json()["total"] == described["warehouses"]["A"]["records"] == 50
            assert ask(http, warehouse="B", offset=10).status_code == 500
            process.send_signal(number)
            assert (process.wait(10), process.stderr.read()) == (0, "")


def test_a_shape_may_be_a_whole_system() -> None:
    with started("--shape", "inventree", "--warehouse", "7", "--token", "s3cret") as process:
        assert process.stdout
        url = json.loads(process.stdout.readline())["url"]
        answer = httpx.get(f"{url}/api/stock/track/?limit=1", headers={"Authorization": "Token s3cret"})
        process.send_signal(signal.SIGTERM)
        assert answer.json().keys() == {"count", "next", "previous", "results"} and process.wait(10) == 0


def test_an_unknown_shape_is_reported_with_the_known_ones() -> None:
    with started("--shape", "odo") as process:
        _, error = process.communicate(timeout=10)
    assert process.returncode == 2 and "unknown shape odo: expected one of plain, envelope" in error


def test_an_invalid_flag_exits_with_2_and_one_line() -> None:
    with started("--fault", "nix@1") as process:
        _, error = process.communicate(timeout=10)
    assert process.returncode == 2 and error.startswith("simulator: unknown fault 'nix'")


# Items


def test_items_are_paged_and_changed_like_movements(server: Server, http: httpx.Client) -> None:
    change = Change(2, position=1, delete=2, insert=1, warehouse=ITEMS)
    server.play(Scenario(records=7, items=make_items(10, bad_ratio=0.2), changes=(change,)))
    first = http.get("/items", params={"limit": 4}).json()
    second = http.get("/items", params={"limit": 4, "offset": 4}).json()
    assert (first["total"], second["total"]) == (10, 9)
    assert first["records"][0]["sku_id"].upper() == "SKU-00001" and len(second["records"]) == 4
    assert ask(http).json()["total"] == 7 and "/items" not in server.simulator.dataset.warehouses


def test_without_items_there_is_no_such_path(server: Server, http: httpx.Client) -> None:
    server.play(Scenario(records=1))
    assert http.get("/items").status_code == 404


def test_items_have_the_requested_shares_of_bad_and_retired_ones(server: Server) -> None:
    server.play(Scenario(items=make_items(200, retired_ratio=0.1, bad_ratio=0.04)))
    truth = server.ground_truth(ITEMS)
    assert (truth.valid, truth.bad, set(truth.defects.values())) == (192, 8, {2})


def test_a_share_of_the_movements_refers_to_the_sku_by_an_alias(server: Server, http: httpx.Client) -> None:
    server.play(Scenario(records=100, aliased_ratio=0.3))
    skus = [record["sku_id"] for record in ask(http, limit=100).json()["records"]]
    assert sum(sku.startswith("ean:") for sku in skus) == 30
    assert all(movement[1].startswith("SKU-") for movement in server.ground_truth().movements)

"""The replay flow and command against the real simulator, and what a window reports about its rejects."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from demo.prefect_client import prefect_client
from flows.__main__ import main
from flows.replay_dead_letters import replay_dead_letters
from simulator.scenario import Scenario
from simulator.server import Server, serve
from sku_velocity.errors import ConfigurationError
from sku_velocity.model.dead_letter import DeadLetterFilter, DeadLetterState, StoredDeadLetter
from sku_velocity.store import Store
from tests.support.acme import WHOLE, published, spec_file, wms
from tests.support.acme_flow import sync
from tests.support.dead_letters import ledger_of
from tests.support.prefect_api import ask
from tests.support.prefect_server import PrefectServer
from tests.support.waiting import until

pytestmark = pytest.mark.usefixtures("prefect_server", "token")

# With these fields negative units are valid, and a time without a zone is UTC.
FIXED = {
    "movement_id": "movement_id",
    "units_moved": {"path": "units_moved", "sign": "abs"},
    "timestamp_utc": {"path": "timestamp_utc", "assume_timezone": "UTC"},
}
FIXED_DEFECTS = ("negative_units", "no_zone")
HOSTILE = "[click](javascript:alert(1))<script>alert(1)</script>\x1b[31m"


def replay(source: str, store: str, **parameters: Any) -> Any:
    """Run the flow. Return its state and its result: a report or an exception."""

    async def run() -> Any:
        state = await replay_dead_letters(source=source, store=store, **parameters, return_state=True)
        return state, await state.aresult(raise_on_failure=False)

    return asyncio.run(run())


def letters(url: str, **criteria: Any) -> list[StoredDeadLetter]:
    async def read() -> list[StoredDeadLetter]:
        async with Store.open(url) as store:
            return await store.dead_letters.read(DeadLetterFilter(**criteria))

    return asyncio.run(read())


def fix_spec(server: Server, tmp_path: Path) -> tuple[str, int]:
    """Return the path of a spec that accepts more records, and how many more."""
    defects = server.ground_truth("WH-01").defects
    return spec_file(server, tmp_path, fields=FIXED), sum(defects[name] for name in FIXED_DEFECTS)


def events(server: PrefectServer, name: str, run: str) -> list[dict[str, Any]]:
    """Return the events of a name about a sync run. They arrive a few seconds late."""

    def look() -> list[dict[str, Any]] | None:
        query = {"filter": {"event": {"name": [name]}}}
        answer = api.post("/events/filter", json=query)
        found = answer.raise_for_status().json()["events"]
        return [each for each in found if each["payload"]["run_id"] == run] or None

    with prefect_client(server.api_url) as api:
        return until(look)


def shown(server: PrefectServer, run: str, key: str, enough: Callable[[Any], object] = bool) -> str:
    (found,) = [each["data"] for each in ask(server, "artifacts", run, enough) if each["key"] == key]
    return str(found)


def test_a_replay_publishes_the_rejects_that_a_fixed_spec_accepts(tmp_path: Path, store_url: str) -> None:
    with wms(tmp_path) as (server, source):
        report = sync(source, store_url, **WHOLE)[1]
        truth, (source, more) = server.ground_truth("WH-01"), fix_spec(server, tmp_path)
        state, replayed = replay(source, store_url)
    assert (
        more > 1 and state.name == "Replayed" and f"{more} loaded ({more} of them published)" in state.message
    )
    assert published(store_url)[0] == truth.valid + more
    assert asyncio.run(ledger_of(store_url, report.run_id)) == (
        (1000, truth.valid + more, truth.bad - more, 0, 0)
    )
    closed = letters(store_url, state=DeadLetterState.REPLAYED)
    run = str(state.state_details.flow_run_id)
    assert len(closed) == more and all(run in each.change.by for each in closed if each.change)
    assert replay(source, store_url)[1].total("loaded") == 0
    assert replayed.total("rejected") == truth.bad - more


def test_a_window_with_too_many_rejects_is_published_by_a_replay_and_a_retry(
    tmp_path: Path, sqlite_url: str
) -> None:
    with wms(tmp_path) as (server, source):
        state, report = sync(source, sqlite_url, **WHOLE, max_reject_ratio=0.015)
        assert state.name == "Incomplete"
        source, more = fix_spec(server, tmp_path)
        state, _ = replay(source, sqlite_url, run=report.run_id, by="jane")
        assert f"{more} loaded (0 of them published)" in state.message and published(sqlite_url)[0] == 0
        server.reset_stats()
        state, _ = sync(source, sqlite_url, **WHOLE, max_reject_ratio=0.015, resume=report.run_id)
        truth = server.ground_truth("WH-01")
        assert server.stats().requests > 10  # rows of two mappings never meet: it was read by the fixed spec
    assert state.name == "Repaired" and published(sqlite_url)[0] == truth.valid + more


def test_a_replay_is_limited_to_matching_letters(tmp_path: Path, sqlite_url: str) -> None:
    with wms(tmp_path) as (server, source):
        sync(source, sqlite_url, **WHOLE)
        source, more = fix_spec(server, tmp_path)
        no_zone = server.ground_truth("WH-01").defects["no_zone"]
        for nothing in ({"warehouse": "WH-02"}, {"end": "2026-02-01T00:00:00Z"}, {"reason": "no such"}):
            assert replay(source, sqlite_url, **nothing)[1].runs == []
        assert replay(source, sqlite_url, reason="timestamp_utc")[1].total("loaded") == no_zone
        assert replay(source, sqlite_url, start=WHOLE["start"])[1].total("loaded") == more - no_zone


def test_a_master_is_not_replayed(tmp_path: Path, sqlite_url: str) -> None:
    path = tmp_path / "erp.yaml"
    items = {"sku_id": "code", "aliases": "barcodes", "status": {"const": "active"}}
    path.write_text(yaml.safe_dump({"name": "erp", "base_url": "http://127.0.0.1:1", "items": items}))
    state, error = replay(str(path), sqlite_url)
    assert state.is_failed() and isinstance(error, ConfigurationError) and "sync-master" in str(error)


def test_the_command_prints_what_stays_open_and_why(
    tmp_path: Path, sqlite_url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with wms(tmp_path) as (server, source):
        sync(source, sqlite_url, **WHOLE)
        source, more = fix_spec(server, tmp_path)
    words = ["replay", "--source", source, "--store", sqlite_url, "--by", "jane"]
    assert main(words) == 0
    output = capsys.readouterr().out
    assert f"{more} loaded ({more} of them published)" in output and "stay open in WH-01" in output
    assert {each.change.by for each in letters(sqlite_url) if each.change} == {"jane"}
    assert main([*words, "--json"]) == 0
    report = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert report["source"] == "acme" and report["runs"][0]["loaded"] == 0


def test_a_window_and_a_replay_show_rejects_by_reason_with_a_sample_and_its_location(
    prefect_server: PrefectServer, tmp_path: Path, sqlite_url: str
) -> None:
    with wms(tmp_path) as (server, source):
        report = sync(source, sqlite_url, **WHOLE)[1]
        truth, (source, more) = server.ground_truth("WH-01"), fix_spec(server, tmp_path)
        state, _ = replay(source, sqlite_url)
    artifact = shown(prefect_server, report.flow_run_id, "acme--rejects")
    assert f"# {truth.bad} rejects of WH\\-01 from acme" in artifact
    first = truth.bad_positions[0]
    assert f"position {first}, run `{report.run_id}`" in artifact and "2026-03-01T00:00:00Z/" in artifact
    counted = sum(int(line.split("|")[1]) for line in artifact.splitlines()[6:])
    assert counted == truth.bad
    artifact = shown(prefect_server, str(state.state_details.flow_run_id), "acme--rejects")
    assert f"# {truth.bad - more} open dead letters of acme" in artifact


def test_rejects_and_incomplete_windows_emit_events(
    prefect_server: PrefectServer, tmp_path: Path, sqlite_url: str
) -> None:
    with wms(tmp_path) as (_, source):
        report = sync(source, sqlite_url, **WHOLE, max_reject_ratio=0.001)[1]
    (event,) = events(prefect_server, "sku-velocity.window.rejects", report.run_id)
    assert event["resource"]["sku-velocity.source"] == "acme" and event["payload"]["rejected"] == 20
    ids = event["payload"]["run_id"], event["payload"]["flow_run_id"]
    assert ids == (report.run_id, report.flow_run_id) and report.run_id != report.flow_run_id
    (event,) = events(prefect_server, "sku-velocity.window.incomplete", report.run_id)
    assert event["payload"]["broken"] == ["rejects within the limit"]
    assert event["resource"]["prefect.resource.id"] == "sku-velocity.window.acme.WH-01"


def test_hostile_text_is_escaped_in_the_artifact(
    prefect_server: PrefectServer, tmp_path: Path, sqlite_url: str
) -> None:
    rows = tmp_path / "rows.csv"
    header = "sku_id,warehouse_id,units_moved,timestamp_utc,movement_id"
    rows.write_text(f"{header}\n{HOSTILE},{HOSTILE},1,2026-03-01T00:00:00Z,m-0\n")
    with serve(Scenario(csv=rows)) as server:
        source = spec_file(server, tmp_path, auth={"kind": "none"})
        report = sync(source, sqlite_url, warehouse=HOSTILE, token_env=None, max_reject_ratio=1)[1]
    artifact = shown(prefect_server, report.flow_run_id, "acme--rejects")
    assert report.rejected == 1 and "click" in artifact
    assert not any(markup in artifact for markup in ("](", "<script>", "\x1b"))

"""What Prefect shows of rejects: artifacts with samples, and events."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from flows.replay_dead_letters import replay_dead_letters
from simulator.scenario import Scenario
from simulator.server import serve
from tests.support.acme import WHOLE, spec_file, wms
from tests.support.acme_flow import sync
from tests.support.fixed_spec import fix_spec
from tests.support.prefect_api import ask, events
from tests.support.prefect_server import PrefectServer

pytestmark = pytest.mark.usefixtures("prefect_server", "token")

HOSTILE = "[click](javascript:alert(1))<script>alert(1)</script>\x1b[31m"


def replay(source: str, store: str, **parameters: Any) -> Any:
    """Run the flow. Return its state and its result: a report or an exception."""

    async def run() -> Any:
        state = await replay_dead_letters(source=source, store=store, **parameters, return_state=True)
        return state, await state.aresult(raise_on_failure=False)

    return asyncio.run(run())


def shown(server: PrefectServer, run: str, key: str, enough: Callable[[Any], object] = bool) -> str:
    (found,) = [each["data"] for each in ask(server, "artifacts", run, enough) if each["key"] == key]
    return str(found)


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

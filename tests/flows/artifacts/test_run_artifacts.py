"""The artifacts that a run leaves on the Prefect server for operators."""

from __future__ import annotations

from pathlib import Path

import pytest

from simulator.faults import Fault
from simulator.scenario import Scenario
from simulator.server import serve
from tests.support.acme import WHOLE, spec_file, wms
from tests.support.acme_flow import sync
from tests.support.prefect_api import ask
from tests.support.prefect_server import PrefectServer

pytestmark = pytest.mark.usefixtures("token")

KEYED = {
    "acme--wh-01--chunks": "table",
    "acme--wh-01--summary": "markdown",
    "acme--wh-01--progress": "progress",
    "acme--rejects": "markdown",
}
HOSTILE = "[click](javascript:alert(1))<script>alert(1)</script>"


def test_each_chunk_has_an_artifact_and_each_run_a_table_a_summary_and_a_progress_bar(
    prefect_server: PrefectServer, tmp_path: Path, sqlite_url: str
) -> None:
    with wms(tmp_path) as (_, source):
        report = sync(source, sqlite_url, **WHOLE)[1]
    artifacts = ask(prefect_server, "artifacts", report.flow_run_id)
    chunks = [each for each in artifacts if each["key"] is None]
    assert len({each["task_run_id"] for each in chunks}) == len(chunks) == report.chunks
    assert {each["key"]: each["type"] for each in artifacts if each["key"]} == KEYED
    assert next(each["data"] for each in artifacts if each["type"] == "progress") == 100.0


def test_a_failed_run_shows_which_chunk_failed_and_why(
    prefect_server: PrefectServer, tmp_path: Path, sqlite_url: str
) -> None:
    with wms(tmp_path, faults=(Fault("401", 299),)) as (_, source):
        report = sync(source, sqlite_url, **WHOLE)[1]
    artifacts = ask(prefect_server, "artifacts", report.flow_run_id)
    assert len([each for each in artifacts if each["key"] is None]) == 9
    shown = {each["key"]: each["data"] for each in artifacts}
    assert shown["acme--wh-01--progress"] == 90.0 and "nothing published" in shown["acme--wh-01--summary"]
    assert '"state": "failed"' in shown["acme--wh-01--chunks"] and "HTTP 401" in shown["acme--wh-01--chunks"]


def test_text_from_the_api_is_escaped(prefect_server: PrefectServer, tmp_path: Path, sqlite_url: str) -> None:
    rows = tmp_path / "rows.csv"
    rows.write_text(
        "sku_id,warehouse_id,units_moved,timestamp_utc,movement_id\n"
        f"{HOSTILE},<b>WH</b>,1,2026-03-01T00:00:00Z,m-0\n"
    )
    with serve(Scenario(csv=rows)) as server:
        source = spec_file(server, tmp_path, auth={"kind": "none"})
        report = sync(source, sqlite_url, warehouse="<b>WH</b>", token_env=None, max_reject_ratio=1)[1]
    artifacts = ask(prefect_server, "artifacts", report.flow_run_id)
    shown = "".join(f"{each['data']}{each['description']}" for each in artifacts)
    assert report.rejected == 1 and "click" in shown
    assert not any(markup in shown for markup in ("](", "<script>", "<b>"))

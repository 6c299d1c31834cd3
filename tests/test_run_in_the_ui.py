"""What a run leaves in the Prefect API: its artifacts, and no secret."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import httpx
import pytest

from simulator.faults import Fault
from tests.acme import TOKEN, WHOLE, sync, wms
from tests.prefect_fixtures import PrefectServer
from tests.waiting import until

pytestmark = pytest.mark.usefixtures("token")


def ask(server: PrefectServer, kind: str, **filters: Any) -> list[dict[str, Any]]:
    """What the API has of a kind; some of it comes a few seconds late."""

    def look() -> list[dict[str, Any]]:
        answer = httpx.post(f"{server.api_url}/{kind}/filter", json=filters, timeout=60)
        found: list[dict[str, Any]] = answer.raise_for_status().json()
        return found

    return until(look)


def of_run(run: str) -> dict[str, Any]:
    return {"flow_runs": {"id": {"any_": [run]}}}


def test_each_batch_has_an_artifact_and_each_run_a_table_a_summary_and_a_bar(
    prefect_server: PrefectServer, tmp_path: Path, sqlite_url: str
) -> None:
    with wms(tmp_path) as (_, source):
        report = sync(source, sqlite_url, **WHOLE)[1]
    artifacts = ask(prefect_server, "artifacts", **of_run(report.flow_run_id))
    batches = [each for each in artifacts if each["key"] is None]
    assert len(batches) == report.chunks and all(each["task_run_id"] for each in batches)
    keyed = {each["key"]: each["type"] for each in artifacts if each["key"]}
    assert keyed == {"acme-batches": "table", "acme-summary": "markdown", "acme-progress": "progress"}


def test_no_secret_is_told(prefect_server: PrefectServer, tmp_path: Path, sqlite_url: str) -> None:
    with wms(tmp_path, faults=(Fault("401", 299),)) as (_, source):
        report = sync(source, sqlite_url, **WHOLE)[1]
    assert report.failed_chunks == [3]
    run = of_run(report.flow_run_id)
    told = [ask(prefect_server, kind, **run) for kind in ("flow_runs", "task_runs", "artifacts")]
    told.append(ask(prefect_server, "logs", logs={"flow_run_id": {"any_": [report.flow_run_id]}}))
    assert TOKEN not in str(told)
    with closing(sqlite3.connect(sqlite_url.removeprefix("sqlite:///"))) as connection:
        assert TOKEN not in "\n".join(connection.iterdump())

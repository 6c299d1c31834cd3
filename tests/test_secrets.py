"""A secret stands where it was entered, and nowhere else: not in what Prefect tells, nor in the store."""

from __future__ import annotations

import asyncio
import sqlite3
from contextlib import closing
from pathlib import Path

import httpx
import pytest
from pydantic import SecretStr
from sqlalchemy import make_url

from blocks import VelocityStore
from flows.__main__ import main
from simulator.faults import Fault
from sku_velocity.models import RunReport
from tests.acme import TOKEN, WHOLE, spec_file, sync, wms
from tests.prefect_api import Found, ask
from tests.prefect_fixtures import PrefectServer, free_port
from tests.scripted_server import Reply, scripted

PASSWORD = "hunter2-hunter2"

pytestmark = pytest.mark.usefixtures("prefect_server", "token")


def with_password(url: str) -> str:
    return make_url(url).set(password=PASSWORD).render_as_string(hide_password=False)


def save_store(url: str) -> str:
    """The name of a block that holds a store's address."""
    asyncio.run(VelocityStore(url=SecretStr(url)).asave("guarded", overwrite=True))
    return "guarded"


def has_ended(logs: Found) -> bool:
    return any("Finished in state" in each["message"] and each["task_run_id"] is None for each in logs)


def all_have_ended(task_runs: Found) -> bool:
    return bool(task_runs) and all(each["state_type"] in ("COMPLETED", "FAILED") for each in task_runs)


def anything(found: Found) -> bool:
    return True


def told(server: PrefectServer, run: object) -> str:
    """All that the Prefect API tells of a run that has ended: parameters, states, logs and artifacts."""
    kinds = {"flow_runs": bool, "task_runs": all_have_ended, "logs": has_ended, "artifacts": anything}
    return "\n".join(str(ask(server, kind, str(run), enough)) for kind, enough in kinds.items())


def test_prefect_tells_neither_the_token_nor_the_stores_password(
    prefect_server: PrefectServer, tmp_path: Path, postgresql_url: str
) -> None:
    store = save_store(with_password(postgresql_url))
    with wms(tmp_path, faults=(Fault("401", 299),)) as (_, source):
        report = sync(source, store, **WHOLE)[1]
    assert report.failed_chunks == [3] and report.rejected
    everything = told(prefect_server, report.flow_run_id)
    assert "HTTP 401" in everything and "rejects" in everything
    assert TOKEN not in everything and PASSWORD not in everything


def test_a_store_holds_no_token(tmp_path: Path, sqlite_url: str) -> None:
    with wms(tmp_path, faults=(Fault("401", 299),)) as (_, source):
        report = sync(source, sqlite_url, **WHOLE)[1]
    with closing(sqlite3.connect(sqlite_url.removeprefix("sqlite:///"))) as connection:
        dump = "\n".join(connection.iterdump())
    assert report.flow_run_id in dump and "HTTP 401" in dump and TOKEN not in dump


def test_a_refusal_that_repeats_the_token_is_told_without_it(
    prefect_server: PrefectServer, tmp_path: Path, sqlite_url: str
) -> None:
    with scripted(Reply(401, f"no such token: {TOKEN}".encode())) as server:
        state, error = sync(spec_file(server, tmp_path), sqlite_url, **WHOLE)
    everything = told(prefect_server, state.state_details.flow_run_id)
    assert "no such token: ***" in everything and "no such token: ***" in str(error)
    assert TOKEN not in everything


def test_a_store_that_is_away_is_told_without_its_password(
    prefect_server: PrefectServer, tmp_path: Path
) -> None:
    store = save_store(f"postgresql://me:{PASSWORD}@127.0.0.1:{free_port()}/velocity")
    with wms(tmp_path) as (_, source):
        state, error = sync(source, store, **WHOLE)
    everything = told(prefect_server, state.state_details.flow_run_id)
    assert "me:***@127.0.0.1" in everything and "me:***@127.0.0.1" in str(error)
    assert PASSWORD not in everything


def test_a_password_given_to_the_command_line_is_no_parameter(
    prefect_server: PrefectServer, tmp_path: Path, postgresql_url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    store = with_password(postgresql_url)
    with wms(tmp_path) as (_, source):
        words = ["sync", "--source", source, "--store", store, "--warehouse", "WH-01", "--json"]
        assert main([*words, "--token-env", "WMS_TOKEN"]) == 0
    shown = capsys.readouterr()
    report = RunReport.model_validate_json(shown.out.splitlines()[-1])
    assert PASSWORD not in told(prefect_server, report.flow_run_id) + shown.out + shown.err


def test_a_block_is_told_without_its_secret(prefect_server: PrefectServer) -> None:
    save_store(f"postgresql://me:{PASSWORD}@db.example.com/velocity")
    blocks = httpx.post(f"{prefect_server.api_url}/block_documents/filter", json={}, timeout=60)
    assert "guarded" in blocks.raise_for_status().text and PASSWORD not in blocks.text

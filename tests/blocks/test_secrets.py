"""A secret stands where it was entered, and nowhere else: not in what Prefect tells, nor in the store."""

from __future__ import annotations

import asyncio
import base64
import json
import sqlite3
import traceback
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr
from sqlalchemy import make_url

from blocks import VelocityStore, WmsSource
from demo.prefect_client import prefect_client
from flows.__main__ import main
from simulator.faults import Fault
from sku_velocity.model.run import RunReport
from sku_velocity.source.spec import parse_spec
from tests.support.acme import TOKEN, WHOLE, spec_file, wms
from tests.support.acme_flow import sync
from tests.support.ports import free_port
from tests.support.prefect_api import Found, ask
from tests.support.prefect_server import PrefectServer
from tests.support.scripted_server import Reply, scripted

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
    held = dump(sqlite_url)
    assert report.flow_run_id in held and "HTTP 401" in held and TOKEN not in held


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
    spec = parse_spec({"name": "acme", "base_url": "https://wms.example.com"}, "test")
    asyncio.run(WmsSource(spec=spec, token=SecretStr(TOKEN)).asave("guarded", overwrite=True))
    with prefect_client(prefect_server.api_url) as api:
        told = api.post("/block_documents/filter", json={}).raise_for_status().text
        for kind in ("velocity-store", "wms-source"):
            told += api.get(f"/block_types/slug/{kind}/block_documents/name/guarded").raise_for_status().text
    assert told.count("guarded") >= 4 and "wms.example.com" in told
    assert PASSWORD not in told and TOKEN not in told


CLIENT = {"client_id": "me", "token_url": "{url}/token"}
KINDS: dict[str, tuple[dict[str, Any], str]] = {
    "header": ({"kind": "header", "header": "X-Key", "prefix": "key "}, TOKEN),
    "user and password": ({"kind": "basic"}, f"me:{TOKEN}"),
    "oauth2": ({"kind": "oauth2_client_credentials", **CLIENT}, TOKEN),
}
FETCHED = ("fetched-token-1", "fetched-token-2")


@pytest.mark.parametrize("kind", KINDS)
def test_what_a_source_repeats_of_its_secret_is_shown_nowhere(
    prefect_server: PrefectServer,
    tmp_path: Path,
    sqlite_url: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    kind: str,
) -> None:
    """It answers with all that it was sent: headers, body, and each token that it gave before."""
    auth, secret = KINDS[kind]
    monkeypatch.setenv("WMS_TOKEN", secret)
    refusal = Reply(401, b"no: ", echo=True)
    tokens = [Reply(body=json.dumps({"access_token": token}).encode()) for token in FETCHED]
    renewals = [tokens[0], refusal, tokens[1], Reply(401, f"{FETCHED[0]} no: ".encode(), echo=True)]
    with scripted(*(renewals if "oauth2" in kind else [refusal])) as server:
        auth = {name: value.replace("{url}", server.url) for name, value in auth.items()}
        state, error = sync(spec_file(server, tmp_path, auth=auth), sqlite_url, **WHOLE)
    everything = told(prefect_server, state.state_details.flow_run_id) + dump(sqlite_url)
    everything += "".join(traceback.format_exception(error)) + repr(error) + "".join(capsys.readouterr())
    assert "HTTP 401" in everything and "no: " in everything and "***" in everything
    encoded = base64.b64encode(f"me:{TOKEN}".encode()).decode()
    assert not any(word in everything for word in (TOKEN, encoded, *FETCHED))


def dump(sqlite_url: str) -> str:
    with closing(sqlite3.connect(sqlite_url.removeprefix("sqlite:///"))) as connection:
        return "\n".join(connection.iterdump())

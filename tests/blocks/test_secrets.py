"""A secret is stored only where it was entered: no Prefect API response or store contains it."""

from __future__ import annotations

import asyncio
import json
import sqlite3
import subprocess
from contextlib import closing
from pathlib import Path

import pytest
from pydantic import SecretStr
from sqlalchemy import make_url, text

from blocks import VelocityStore, WmsSource
from demo.prefect_client import prefect_client
from flows.command_line import main
from flows.refresh_velocity import refresh_velocity
from simulator.faults import Fault
from sku_velocity.model.run import RunReport
from sku_velocity.source.spec import parse_spec
from sku_velocity.store.database import Database
from tests.support.acme import TOKEN, WHOLE, spec_file, wms
from tests.support.acme_flow import sync
from tests.support.hidden_secrets import (
    HIDDEN,
    KINDS,
    basic,
    everything_in,
    hostile_engine,
    hostile_pages,
    hostile_source,
    leaks_in,
    repeated,
)
from tests.support.ports import free_port
from tests.support.prefect_api import Found, ask
from tests.support.prefect_server import PrefectServer
from tests.support.scripted_server import Reply, answering, scripted

PASSWORD = "hunter2-hunter2"

pytestmark = pytest.mark.usefixtures("prefect_server", "token")


def with_password(url: str) -> str:
    return make_url(url).set(password=PASSWORD).render_as_string(hide_password=False)


def save_store(url: str) -> str:
    """Save a store's address in a block and return the block's name."""
    asyncio.run(VelocityStore(url=SecretStr(url)).asave("guarded", overwrite=True))
    return "guarded"


def has_ended(logs: Found) -> bool:
    return any("Finished in state" in each["message"] and each["task_run_id"] is None for each in logs)


def all_have_ended(task_runs: Found) -> bool:
    return bool(task_runs) and all(each["state_type"] in ("COMPLETED", "FAILED") for each in task_runs)


def anything(found: Found) -> bool:
    return True


def reported(server: PrefectServer, run: object) -> str:
    """Return all that the Prefect API reports of an ended run: parameters, states, logs and artifacts."""
    kinds = {"flow_runs": bool, "task_runs": all_have_ended, "logs": has_ended, "artifacts": anything}
    return "\n".join(str(ask(server, kind, str(run), enough)) for kind, enough in kinds.items())


def test_prefect_reports_neither_the_token_nor_the_stores_password(
    prefect_server: PrefectServer, tmp_path: Path, postgresql_url: str
) -> None:
    store = save_store(with_password(postgresql_url))
    with wms(tmp_path, faults=(Fault("401", 299),)) as (_, source):
        report = sync(source, store, **WHOLE)[1]
    assert report.failed_chunks == [3] and report.rejected
    everything = reported(prefect_server, report.flow_run_id)
    assert "HTTP 401" in everything and "rejects" in everything
    assert TOKEN not in everything and PASSWORD not in everything


def test_a_store_contains_no_token(tmp_path: Path, sqlite_url: str) -> None:
    with wms(tmp_path, faults=(Fault("401", 299),)) as (_, source):
        report = sync(source, sqlite_url, **WHOLE)[1]
    content = dump(sqlite_url)
    assert report.run_id in content and "HTTP 401" in content and TOKEN not in content


def test_a_rejection_that_repeats_the_token_is_reported_without_it(
    prefect_server: PrefectServer, tmp_path: Path, sqlite_url: str
) -> None:
    with scripted(Reply(401, f"no such token: {TOKEN}".encode())) as server:
        state, error = sync(spec_file(server, tmp_path), sqlite_url, **WHOLE)
    everything = reported(prefect_server, state.state_details.flow_run_id)
    assert "no such token: ***" in everything and "no such token: ***" in str(error)
    assert TOKEN not in everything


def test_an_unavailable_store_is_reported_without_its_password(
    prefect_server: PrefectServer, tmp_path: Path
) -> None:
    store = save_store(f"postgresql://me:{PASSWORD}@127.0.0.1:{free_port()}/velocity")
    with wms(tmp_path) as (_, source):
        state, error = sync(source, store, **WHOLE)
    everything = reported(prefect_server, state.state_details.flow_run_id)
    assert "me:***@127.0.0.1" in everything and "me:***@127.0.0.1" in str(error)
    assert PASSWORD not in everything


def test_a_password_given_to_the_command_line_is_not_a_parameter(
    prefect_server: PrefectServer, tmp_path: Path, postgresql_url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    store = with_password(postgresql_url)
    with wms(tmp_path) as (_, source):
        words = ["sync", "--source", source, "--store", store, "--warehouse", "WH-01", "--json"]
        assert main([*words, "--token-env", "WMS_TOKEN"]) == 0
    shown = capsys.readouterr()
    report = RunReport.model_validate_json(shown.out.splitlines()[-1])
    assert PASSWORD not in reported(prefect_server, report.flow_run_id) + shown.out + shown.err


def test_the_api_returns_a_block_without_its_secret(prefect_server: PrefectServer) -> None:
    save_store(f"postgresql://me:{PASSWORD}@db.example.com/velocity")
    spec = parse_spec({"name": "acme", "base_url": "https://wms.example.com"}, "test")
    asyncio.run(WmsSource(spec=spec, token=SecretStr(TOKEN)).asave("guarded", overwrite=True))
    with prefect_client(prefect_server.api_url) as api:
        documents = api.post("/block_documents/filter", json={}).raise_for_status().text
        for kind in ("velocity-store", "wms-source"):
            documents += (
                api.get(f"/block_types/slug/{kind}/block_documents/name/guarded").raise_for_status().text
            )
    assert documents.count("guarded") >= 4 and "wms.example.com" in documents
    assert PASSWORD not in documents and TOKEN not in documents


def all_rows(url: str) -> str:
    """Return every row of every table of a PostgreSQL store."""

    async def look() -> str:
        database = Database(url)
        try:
            async with database.reading() as connection:
                names = await connection.execute(
                    text("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")
                )
                tables = [
                    await connection.execute(text(f'SELECT t::text FROM "{name}" t')) for (name,) in names
                ]
                return "\n".join(str(row) for rows in tables for row in rows)
        finally:
            await database.close()

    return asyncio.run(look())


def refresh(kind: str, reports: Path, engine: str) -> str:
    """Refresh the velocity of a source's warehouses with reports in a directory. Return the run's id."""

    async def run() -> str:
        request = {"source": f"acme-{kind}", "store": "guarded", "as_of": "2026-03-07", "push": engine}
        state = await refresh_velocity(**request, reports=str(reports), return_state=True)
        return str(state.state_details.flow_run_id)

    return asyncio.run(run())


def environment_of_a_child() -> str:
    """Return the environment of a process that is started now, without the variables that a test has set."""
    content = subprocess.run(["env"], capture_output=True, text=True, check=True).stdout
    ours = ("WMS_TOKEN=", "SKU_VELOCITY_ENGINE_TOKEN=")
    return "\n".join(line for line in content.splitlines() if not line.startswith(ours))


@pytest.mark.parametrize("kind", KINDS)
def test_no_secret_appears_anywhere_though_source_and_engine_repeat_them(
    prefect_server: PrefectServer,
    tmp_path: Path,
    postgresql_url: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    kind: str,
) -> None:
    """One window is published with a reject, exported, pushed in vain and refreshed; the next one fails."""
    token, fetched, password, engine_token = HIDDEN.values()
    monkeypatch.setenv("WMS_TOKEN", token)
    monkeypatch.setenv("SKU_VELOCITY_ENGINE_TOKEN", engine_token)
    store = save_store(make_url(postgresql_url).set(password=password).render_as_string(hide_password=False))
    sent = [fetched] if kind == "oauth2" else [token, basic(token)] if kind == "basic" else [token]
    first, second = hostile_pages(*sent)
    refusal = Reply(422, repeated(engine_token).encode(), echo=True)
    routes = {
        "/token": Reply(body=json.dumps({"access_token": fetched}).encode()),
        "/first": first,
        "/second": second,
        "/movements": refusal,
        "/classes": refusal,
    }
    environments: list[str] = []

    def answer(path: str) -> Reply:
        environments.append(environment_of_a_child())
        return routes[path.partition("?")[0]]

    with answering(answer) as server:
        source, engine = (
            hostile_source(server.url, tmp_path, kind),
            hostile_engine(server.url, tmp_path, kind),
        )
        report = sync(source, store, **WHOLE, export_to=str(tmp_path / "export"), push=engine)[1]
        refreshed = refresh(kind, tmp_path / "reports", engine)
        routes["/second"] = Reply(401, b"no: " + repeated(*sent).encode(), echo=True)
        state, error = sync(source, store, start="2026-03-08T00:00:00Z", end="2026-03-09T00:00:00Z")
    monkeypatch.setenv("SKU_VELOCITY_STORE", postgresql_url)
    assert main(["dead-letters", "export", "--to", str(tmp_path / "letters.csv")]) == 0
    assert main(["dead-letters", "list"]) == 0
    runs = (report.flow_run_id, refreshed, state.state_details.flow_run_id)
    shown = "".join(reported(prefect_server, run) for run in runs) + "".join(environments)
    shown += "".join(capsys.readouterr()) + repr(report) + repr(error) + all_rows(postgresql_url)
    shown += everything_in(tmp_path)
    assert "HTTP 401" in shown and "HTTP 422" in shown and "~secret." in shown and "PATH=" in shown
    files = {path.suffix for name in ("export", "reports") for path in (tmp_path / name).rglob("*.*")}
    assert files == {".parquet", ".csv", ".html"}
    assert leaks_in(shown + everything_in(prefect_server.home)) == []


def dump(sqlite_url: str) -> str:
    with closing(sqlite3.connect(sqlite_url.removeprefix("sqlite:///"))) as connection:
        return "\n".join(connection.iterdump())

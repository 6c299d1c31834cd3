"""A secret is stored only where it was entered: no Prefect API response or store contains it."""

from __future__ import annotations

import asyncio
import base64
import html
import json
import re
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any
from urllib.parse import quote as percent_encode

import pytest
import yaml
from pydantic import SecretStr
from sqlalchemy import make_url, text

from blocks import VelocityStore, WmsSource
from demo.prefect_client import prefect_client
from flows.__main__ import main
from simulator.faults import Fault
from sku_velocity.model.run import RunReport
from sku_velocity.source.spec import parse_spec
from sku_velocity.store.database import Database
from tests.support.acme import TOKEN, WHOLE, spec_file, wms
from tests.support.acme_flow import sync
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


HIDDEN = {  # JSON, PHP, forms and URLs escape them differently
    "the source's token": "Zq7x/Xw9k+Kp3m=Lm5p",
    "the fetched token": "Ft4w/Gu8e+Hv6r=Jx2t",
    "the store's password": "Pc5n/Qd9b+Re3v=Sf7c",
    "the engine's token": "Ua6l/Vb2k+Wc8j=Yd4h",
}
SPELLINGS: tuple[Callable[[str], str], ...] = (
    str,
    lambda secret: secret.replace("/", "\\/"),
    lambda secret: "".join(f"\\u{ord(each):04x}" for each in secret),
    lambda secret: percent_encode(secret, ""),
    lambda secret: "".join(f"%{ord(each):02x}" for each in secret),
    lambda secret: "".join(f"&#{ord(each)};" for each in secret),
    lambda secret: html.escape(secret).replace("/", "&#x2F;"),
    lambda secret: f"https://me:{percent_encode(secret, '')}@wms.example.com",
)
KINDS: dict[str, dict[str, Any]] = {
    "bearer": {"kind": "bearer"},
    "header": {"kind": "header", "header": "X-Key", "prefix": "key "},
    "basic": {"kind": "basic", "username": "me"},
    "oauth2": {"kind": "oauth2_client_credentials", "client_id": "me", "token_url": "{url}/token"},
    "json-body": {"kind": "json_body", "values": {"key": "{token}"}},
}
RECORD = {"warehouse_id": "WH-01", "units_moved": 1, "timestamp_utc": "2026-03-02T00:00:00Z"}


def basic(password: str) -> str:
    return base64.b64encode(f"me:{password}".encode()).decode()


def repeated(*secrets: str) -> str:
    """Return the text in which a hostile server repeats secrets, in all spellings."""
    return " ".join(spell(secret) for secret in secrets for spell in SPELLINGS)


def leaks_in(content: str) -> list[str]:
    """Return where a content holds a part of a secret, in any spelling."""
    found = []
    for name, secret in HIDDEN.items():
        parts = [*re.split("[/+=]", secret), *(spell(secret)[4:28] for spell in SPELLINGS[1:-1])]
        parts.append(basic(secret)[4:])
        for part in parts:
            found += [
                f"{name}: {content[at.start() - 60 : at.end() + 20]!r}"
                for at in re.finditer(re.escape(part), content)
            ]
    return found


def hostile_pages(*sent: str) -> tuple[Reply, Reply]:
    """Return two pages; the link and the rejected record of the first repeat secrets."""
    good = [{"sku_id": f"SKU-{number}", **RECORD} for number in range(3)]
    bad = {"sku_id": "?", "url": repeated(*sent), "name": sent[0][:12], **RECORD}
    link = f"/second?access_token={percent_encode(sent[0], '')}&page=2"
    first = Reply(body=json.dumps({"data": [*good, bad], "next": link}).encode())
    return first, Reply(body=json.dumps({"data": good}).encode())


def hostile_source(url: str, directory: Path, kind: str) -> str:
    path = directory / f"{kind}.yaml"
    parts = {
        "name": f"acme-{kind}",
        "base_url": url,
        "request": {"path": "/first", "method": "POST", "body": {"key": "the secret"}},
        "records": {"path": "data"},
        "paging": {"style": "next_link", "next_path": "next", "limit_param": None, "stable": True},
        "auth": {
            name: value.replace("{url}", url) if name == "token_url" else value
            for name, value in KINDS[kind].items()
        },
        "pace": {"requests_per_second": 200},
    }
    path.write_text(yaml.safe_dump(parts))
    return str(path)


def hostile_engine(url: str, directory: Path, kind: str) -> str:
    path = directory / "slots.yaml"
    path.write_text(yaml.safe_dump({"name": f"slots-{kind}", "base_url": url}))
    return str(path)


def everything_in(directory: Path) -> str:
    """Return the content of all files below a directory, also those of databases."""
    files = [path for path in directory.rglob("*") if path.is_file()]
    return "\n".join(path.read_bytes().decode("latin-1") for path in files)


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


@pytest.mark.parametrize("kind", KINDS)
def test_no_secret_appears_anywhere_though_source_and_engine_repeat_them(
    prefect_server: PrefectServer,
    tmp_path: Path,
    postgresql_url: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    kind: str,
) -> None:
    """One window is published with a reject, exported and refused by the engine; the next one fails."""
    token, fetched, password, engine_token = HIDDEN.values()
    monkeypatch.setenv("WMS_TOKEN", token)
    monkeypatch.setenv("SKU_VELOCITY_ENGINE_TOKEN", engine_token)
    store = save_store(make_url(postgresql_url).set(password=password).render_as_string(hide_password=False))
    sent = [fetched] if kind == "oauth2" else [token, basic(token)] if kind == "basic" else [token]
    first, second = hostile_pages(*sent)
    routes = {
        "/token": Reply(body=json.dumps({"access_token": fetched}).encode()),
        "/first": first,
        "/second": second,
        "/movements": Reply(422, repeated(engine_token).encode(), echo=True),
    }
    with answering(lambda path: routes[path.partition("?")[0]]) as server:
        source, engine = (
            hostile_source(server.url, tmp_path, kind),
            hostile_engine(server.url, tmp_path, kind),
        )
        report = sync(source, store, **WHOLE, export_to=str(tmp_path / "export"), push=engine)[1]
        routes["/second"] = Reply(401, b"no: " + repeated(*sent).encode(), echo=True)
        state, error = sync(source, store, start="2026-03-08T00:00:00Z", end="2026-03-09T00:00:00Z")
    monkeypatch.setenv("SKU_VELOCITY_STORE", postgresql_url)
    assert main(["dead-letters", "export", "--to", str(tmp_path / "letters.csv")]) == 0
    assert main(["dead-letters", "list"]) == 0
    shown = reported(prefect_server, report.flow_run_id)
    shown += reported(prefect_server, state.state_details.flow_run_id)
    shown += "".join(capsys.readouterr()) + repr(report) + repr(error) + all_rows(postgresql_url)
    shown += everything_in(tmp_path)
    assert "HTTP 401" in shown and "HTTP 422" in shown and "~secret." in shown
    assert list((tmp_path / "export").rglob("*.parquet"))
    assert leaks_in(shown + everything_in(prefect_server.home)) == []


def dump(sqlite_url: str) -> str:
    with closing(sqlite3.connect(sqlite_url.removeprefix("sqlite:///"))) as connection:
        return "\n".join(connection.iterdump())

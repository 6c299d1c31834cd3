"""A wrong setting of any kind exits with 2 and one line that names it."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.acme import spec_file
from tests.support.commands import run
from tests.support.scripted_server import Reply, ScriptedServer, scripted

HOUR = ["--start", "2026-03-01T00:00:00Z", "--end", "2026-03-01T01:00:00Z"]
STORE = ["--store", "sqlite:///s.db"]
ACME = ["--source", "acme.yaml", "--warehouse", "W"]
SYNC = ["sync", *ACME, *STORE]
ELSEWHERE = ["--warehouse", "W", *STORE, *HOUR]
OPEN = "name: acme\nbase_url: http://127.0.0.1:9\nauth: {kind: none}\n"
CHECK = ["check-source", *HOUR, "--warehouse", "W", "--source"]
FILES = {
    "acme.yaml": "name: acme\nbase_url: http://127.0.0.1:9\nauth: {kind: none}\n",
    "signed.yaml": "name: acme\nbase_url: http://127.0.0.1:9\n",
    "host.yaml": "name: acme\nbase_url: http://no-such-host.invalid\nauth: {kind: none}\n",
    "ca.yaml": "name: acme\nbase_url: https://127.0.0.1:9\nauth: {kind: none}\ntls: {ca_file: nowhere.pem}\n",
    "days.yaml": "name: acme\nbase_url: http://127.0.0.1:9\nauth: {kind: none}\nwindow: {grain: day}\n",
    "erp.yaml": "name: erp\nbase_url: http://127.0.0.1:9\nauth: {kind: none}\nitems: {sku_id: sku}\n",
    "typo.yaml": "name: acme\nbase_url: http://127.0.0.1:9\nrecord: {path: a}\n",
    "tabs.yaml": "name: acme\n\tbase_url: http://127.0.0.1:9\n",
    "engine.yaml": "name: slots\nbase_url: http://127.0.0.1:9\nbatchsize: 1\n",
}
WRONG = {
    "a command": (["synk"], 'Unknown command "synk"'),
    "an option": ([*SYNC, "--sorce", "x"], "--sorce"),
    "a missing option": (["sync", *STORE], "--source"),
    "a bound without a zone": ([*SYNC, "--start", "2026-03-01T00:00:00", *HOUR[2:]], "--start"),
    "a bound that is no time": ([*SYNC, "--start", "yesterday", *HOUR[2:]], "--start"),
    "bounds in the wrong order": ([*SYNC, "--start", HOUR[3], "--end", HOUR[1]], "must be after its start"),
    "a number out of range": ([*SYNC, "--max-reject-ratio", "2"], "--max-reject-ratio"),
    "a length of windows": ([*SYNC, "--window-minutes", "7"], "--window-minutes"),
    "a zone": ([*SYNC, "--window-zone", "Mars/Base"], "unknown time zone 'Mars/Base'"),
    "a choice": ([*SYNC, "--unknown-sku", "guess"], "--unknown-sku"),
    "an empty warehouse": (["sync", "--source", "acme.yaml", "--warehouse", "", *STORE], "--warehouse"),
    "a source that is no file": (["sync", "--source", "wms", *ELSEWHERE], "wms is not the path of a spec"),
    "a file that is missing": (["sync", "--source", "x.yaml", *ELSEWHERE], "x.yaml cannot be read"),
    "a key of a spec": (["sync", "--source", "typo.yaml", *ELSEWHERE], "line 3: record: unknown key"),
    "YAML": (["sync", "--source", "tabs.yaml", *ELSEWHERE], "tabs.yaml is not YAML: line 2"),
    "a token's variable": (["sync", "--source", "signed.yaml", "--token-env", "NONE", *ELSEWHERE], "NONE is"),
    "a missing token": (["sync", "--source", "signed.yaml", *ELSEWHERE], "there is no token"),
    "an empty token": (["sync", "--source", "signed.yaml", "--token-env", "EMPTY", *ELSEWHERE], "no token"),
    "a token of two lines": ([*CHECK, "signed.yaml", "--token-env", "LINES"], "HTTP header"),
    "an unknown host": ([*CHECK, "host.yaml"], "there is no host"),
    "an authority's file": (["sync", "--source", "ca.yaml", *ELSEWHERE], "tls.ca_file nowhere.pem"),
    "a grain": (["sync", "--source", "days.yaml", *ELSEWHERE], "window.grain"),
    "items as movements": (["sync", "--source", "erp.yaml", *ELSEWHERE], "sync-master"),
    "movements as items": (["sync-master", "--source", "acme.yaml", *STORE], "needs `items`"),
    "a store's name": (["status", "--store", "velocity"], "velocity is not a URL"),
    "a store's system": (["status", "--store", "mysql://db/x"], "mysql"),
    "a store's directory": (["sync", *ACME, *HOUR, "--store", "sqlite:////no/such/s.db"], "/no/such"),
    "a store's URL": (["status", "--store", "postgresql://u@h:port/db"], "cannot be parsed"),
    "a store's host": (["status", "--store", "postgresql://u@no-such-host.invalid/db"], "correct the host"),
    "a run to resume": ([*SYNC, "--resume", "nope"], "no run nope"),
    "a master": ([*SYNC, *HOUR, "--master", "erp"], "no published master erp"),
    "an engine's file": ([*SYNC, *HOUR, "--push", "engine.yaml"], "did you mean batch_size?"),
    "an engine's name": ([*SYNC, *HOUR, "--push", "slots"], "push: slots is not"),
    "a system to export to": ([*SYNC, *HOUR, "--export-to", "zzz://x"], "export_to zzz://x"),
    "a file to export to": ([*SYNC, *HOUR, "--export-to", "acme.yaml"], "export_to acme.yaml is a file"),
    "a source without windows": (["backfill", *ACME, *STORE, *HOUR], "cannot be backfilled"),
    "a run to replay": (["replay", *ACME, *STORE, "--run", "nope"], "no run nope"),
    "a warehouse of reports": (["refresh-velocity", *STORE, "--warehouse", "ZZ"], "published for ZZ"),
    "a date": (["refresh-velocity", *STORE, "--as-of", "today"], "--as-of"),
    "a letter": (["dead-letters", "show", "nope", "1", *STORE], "nope"),
    "letters to discard": (["dead-letters", "discard", "--note", "x", *STORE], "no filter is given"),
    "a kind of schema": (["schema", "engines"], "engines"),
}  # fmt: skip


@pytest.mark.parametrize("what", WRONG)
def test_a_wrong_setting_exits_with_2_and_names_it(
    what: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("EMPTY", "")
    monkeypatch.setenv("LINES", "a\nb")
    for name, text in FILES.items():
        (tmp_path / name).write_text(text)
    words, message = WRONG[what]
    assert run(*words) == 2
    error = capsys.readouterr().err
    assert message in error and error.startswith("error: ") and error.count("\n") == 1


REFUSALS = {
    "a token": Reply(401),
    "a right": Reply(403),
    "a path": Reply(404),
    "a method": Reply(405),
    "a moved address": Reply(301, headers={"Location": "https://wms.example.com/login"}),
    "a parameter": Reply(400, b'{"error": "no such parameter"}'),
    "the place of the records": Reply(body=b'{"data": []}'),
    "the place of the total": Reply(body=b'{"records": []}'),
    "the fields": Reply(body=b'{"records": [{"a": 1}], "total": 1}'),
}


@pytest.mark.usefixtures("token")
@pytest.mark.parametrize("what", REFUSALS)
def test_a_setting_that_only_the_source_reveals_as_wrong_exits_with_2(
    what: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with scripted(REFUSALS[what]) as server:
        assert run(*_sync(server, tmp_path)) == 2
    assert capsys.readouterr().err.startswith("error: acme: ")


def _sync(server: ScriptedServer, directory: Path) -> list[str]:
    source = spec_file(server, directory)
    return ["sync", "--source", source, "--token-env", "WMS_TOKEN", "--warehouse", "WH-01", *HOUR, "--store",
            f"sqlite:///{directory}/s.db"]  # fmt: skip

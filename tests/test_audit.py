"""`make audit`: a finding fails it; an unavailable service does not, but is reported."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.checkout import CHECKOUT
from tests.support.ports import free_port
from tests.support.scripted_server import Reply, scripted

SCRIPT = CHECKOUT / ".ci" / "audit.py"
ADVISORY = {
    "id": "GHSA-0000",
    "summary": "bad",
    "details": "bad",
    "aliases": [],
    "affected": [
        {
            "package": {"ecosystem": "PyPI", "name": "pip"},
            "ranges": [{"type": "ECOSYSTEM", "events": [{"introduced": "0"}, {"fixed": "99"}]}],
        }
    ],
}
FOUND, NOTHING = Reply(body=json.dumps({"vulns": [ADVISORY]}).encode()), Reply(body=b"{}")


def audit(url: str, directory: Path) -> subprocess.CompletedProcess[str]:
    pins = directory / "requirements.txt"
    pins.write_text("pip==9.0.0\n")
    command = [sys.executable, str(SCRIPT), url, str(pins)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


def test_a_finding_fails_the_audit(tmp_path: Path) -> None:
    with scripted(FOUND) as service:
        done = audit(service.url, tmp_path)
    assert done.returncode == 1 and "GHSA-0000" in done.stdout


def test_pins_without_a_finding_pass(tmp_path: Path) -> None:
    with scripted(FOUND, NOTHING) as service:
        done = audit(service.url, tmp_path)
    assert done.returncode == 0 and "No known vulnerabilities found" in done.stderr


@pytest.mark.parametrize("reply", [None, Reply(404), Reply(body=b"<html>"), NOTHING, Reply(body=b"[]")])
def test_an_unavailable_service_is_reported_on_one_line(tmp_path: Path, reply: Reply | None) -> None:
    with scripted(reply or NOTHING) as service:
        done = audit(service.url if reply else f"http://127.0.0.1:{free_port()}", tmp_path)
    assert done.returncode == 0 and done.stdout.startswith("audit: skipped, http://127.0.0.1")
    assert done.stdout.count("\n") == 1 and not done.stderr


def test_a_service_that_fails_midway_fails_the_audit(tmp_path: Path) -> None:
    with scripted(FOUND, Reply(500)) as service:
        assert audit(service.url, tmp_path).returncode != 0

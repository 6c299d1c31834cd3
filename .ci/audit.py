"""Check the pins against the known advisories (OSV) with pip-audit; print one line if OSV is unavailable.

Exits with 0 if there is no advisory or OSV is unavailable, otherwise with pip-audit's exit code.
"""

from __future__ import annotations

import subprocess
import sys
from threading import Thread

import httpx

OSV = "https://api.osv.dev/v1/query"
TIMEOUT = 4.0  # seconds; a failing name lookup may take longer
KNOWN = {"package": {"name": "pip", "ecosystem": "PyPI"}, "version": "9.0.0"}  # which has advisories


def main(url: str = OSV, pins: str = "requirements.txt") -> int:
    if reason := why_unavailable(url):
        print(f"audit: skipped, {url} is unavailable: {reason}")
        return 0
    command = [sys.executable, "-m", "pip_audit", "--requirement", pins, "--no-deps", "--disable-pip"]
    command += ["--vulnerability-service", "osv", "--osv-url", url, "--progress-spinner", "off"]
    return subprocess.run(command, check=False).returncode


def why_unavailable(url: str) -> str | None:
    """Return why the service is unavailable, or None if it reports a well-known advisory."""
    found = [f"no response within {TIMEOUT:g} s"]

    def query() -> None:
        try:
            response = httpx.post(url, json=KNOWN, timeout=TIMEOUT)
            is_genuine = response.status_code == 200 and response.json().get("vulns")
            found[:] = [] if is_genuine else [f"HTTP {response.status_code} without advisories"]
        except (httpx.HTTPError, ValueError, AttributeError) as error:
            found[:] = [str(error) or type(error).__name__]

    thread = Thread(target=query, daemon=True)
    thread.start()
    thread.join(TIMEOUT)
    return found[0] if found else None


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))

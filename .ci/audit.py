"""The pins against the known advisories (OSV), by pip-audit; one line says so where nobody can be asked.

Ends with 0 where nothing is known, or nobody could be asked; else as pip-audit does.
"""

from __future__ import annotations

import subprocess
import sys
from threading import Thread

import httpx

OSV = "https://api.osv.dev/v1/query"
PATIENCE = 4.0  # seconds; a name that is looked up in vain may take longer
KNOWN = {"package": {"name": "pip", "ecosystem": "PyPI"}, "version": "9.0.0"}  # which has advisories


def main(url: str = OSV, pins: str = "requirements.txt") -> int:
    if reason := why_not(url):
        print(f"audit: not done, for {url} cannot be asked: {reason}")
        return 0
    command = [sys.executable, "-m", "pip_audit", "--requirement", pins, "--no-deps", "--disable-pip"]
    command += ["--vulnerability-service", "osv", "--osv-url", url, "--progress-spinner", "off"]
    return subprocess.run(command, check=False).returncode


def why_not(url: str) -> str | None:
    """Why the service cannot be asked; None where it knows what everybody knows."""
    found = [f"no answer within {PATIENCE:g} s"]

    def ask() -> None:
        try:
            answer = httpx.post(url, json=KNOWN, timeout=PATIENCE)
            is_theirs = answer.status_code == 200 and answer.json().get("vulns")
            found[:] = [] if is_theirs else [f"it answers HTTP {answer.status_code}, and no advisories"]
        except (httpx.HTTPError, ValueError, AttributeError) as error:
            found[:] = [str(error) or type(error).__name__]

    asking = Thread(target=ask, daemon=True)
    asking.start()
    asking.join(PATIENCE)
    return found[0] if found else None


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))

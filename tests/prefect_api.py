"""What the Prefect API tells everybody who asks."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import httpx

from tests.prefect_fixtures import PrefectServer
from tests.waiting import until

Found = list[dict[str, Any]]


def ask(server: PrefectServer, kind: str, run: str, enough: Callable[[Found], object] = bool) -> Found:
    """What there is of a kind, of one flow run, once it is enough; some of it comes a few seconds late."""
    filters = {"flow_runs": {"id": {"any_": [run]}}}
    if kind == "logs":
        filters = {"logs": {"flow_run_id": {"any_": [run]}}}

    def look() -> tuple[Found] | None:
        answer = httpx.post(f"{server.api_url}/{kind}/filter", json=filters, timeout=60)
        found: Found = answer.raise_for_status().json()
        return (found,) if enough(found) else None

    return until(look)[0]
